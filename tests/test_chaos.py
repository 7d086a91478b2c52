"""bench/chaos.py for a minute: everything goes wrong once at least, and nothing is lost."""

import subprocess
import sys
from pathlib import Path

import pytest

CHAOS = Path(__file__).parent.parent / "bench" / "chaos.py"


@pytest.mark.timeout(600)
def test_a_minute_of_kills_freezes_restarts_and_full_disks_loses_nothing() -> None:
    options = ["--minutes", "0.6", "--workers", "2", "--open-jobs", "2", "--backend", "postgresql", "--seed", "3"]
    ended = subprocess.run([sys.executable, CHAOS, *options], capture_output=True, text=True, check=False)
    printed = ended.stdout + ended.stderr
    assert ended.returncode == 0, printed
    assert "0 violations" in printed
    for action in ("kill -9 api", "kill -9 worker", "SIGSTOP", "crash", "stop", "disk is full", "disk is slow"):
        assert action in printed
