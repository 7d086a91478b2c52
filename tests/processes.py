"""Real processes for tests: workers and services that are started, watched, killed and awaited."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from nas.complete import complete
from nas.settings import Settings
from nas.store import datasets, jobs
from nas.store.artifacts import ArtifactStore
from nas.store.migrate import migrate
from nas.store.session import Store
from tests.support import own_postgresql, usual_backend

T = TypeVar("T")

TINY: dict[str, Any] = {
    "dataset": "digits",
    "space": {"ops": ["skip_connect", "max_pool_3x3", "sep_conv_3x3"], "nodes": 2, "channels": 4, "cells": 3},
    "strategy": "random",
    "pruning": "none",
    "budget": {"trials": 3, "epochs": 2},
    "final": {"finalists": 1, "controls": 1, "epochs": 2, "seeds": 2},
}
"""A job that takes seconds."""

SLOW: dict[str, Any] = TINY | {"budget": {"trials": 1, "epochs": 24}}
"""A job with one trial that is long enough to be interrupted."""


def settings_in(home: Path, lease_s: float = 30.0, database_url: str = "") -> Settings:
    if not database_url and usual_backend() != "sqlite":
        database_url = own_postgresql(home)
    variables = {"NAS_HOME": str(home), "NAS_LEASE_SECONDS": str(lease_s), "NAS_DATABASE_URL": database_url}
    return Settings.read(variables)


def open_store(settings: Settings) -> Store:
    store = Store(settings.database_url)
    migrate(store)
    return store


def add_job(settings: Settings, store: Store, spec: dict[str, Any]) -> str:
    dataset = datasets.ensure(store, ArtifactStore(settings.artifacts_url), spec["dataset"])
    image = (dataset.channels, dataset.height, dataset.width)
    whole = complete(spec, image=image, images=dataset.train, outputs=len(dataset.classes), task=dataset.task)
    with store.write() as session:
        return jobs.create(session, whole, dataset).id


def until(condition: Callable[[], T], what: str, seconds: float = 90.0) -> T:
    """Waits for something true and returns it; fails with `what` if it does not come."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)


def environment(settings: Settings) -> dict[str, str]:
    return dict(os.environ) | settings.to_environ() | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


@contextmanager
def process(arguments: list[str], settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`python ARGUMENTS` in a process group of its own, its output in a file; killed at the end if it still runs."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            [sys.executable, *arguments],
            env=environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def worker(settings: Settings, log: Path) -> Any:
    return process(["-m", "worker.main", "--device", "cpu"], settings, log)


def serve(settings: Settings, log: Path, workers: int = 1) -> Any:
    return process(["-m", "cli", "serve", "--port", "0", "--workers", str(workers)], settings, log)


def url_in(log: Path) -> str:
    """The URL that a service printed."""

    def printed() -> str:
        words = log.read_text().split() if log.exists() else []
        return next((word for word in words if word.startswith("http://127.0.0.1:")), "")

    return until(printed, "the service's URL")


def children_of(pid: int) -> list[int]:
    """Process ids of the direct children that are alive."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
