"""A disk that is slow, or full, as the processes of bench/chaos.py see it; they load this as one of their plugins.

Whether it is, a file beside the service's home says, so that it can change while they work. Only what the artifact
store writes goes through here: a database writes its files by itself.
"""

import errno
import os
import time
from pathlib import Path

OPERATIONS: dict[str, object] = {}  # what makes it a plugin

FAULTS = Path(os.environ["CHAOS_FAULTS"])
_fsync = os.fsync


def fsync(descriptor: int) -> None:
    """os.fsync on that disk."""
    if (FAULTS / "slow").exists():
        time.sleep(0.5)
    if (FAULTS / "full").exists():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    _fsync(descriptor)


os.fsync = fsync
