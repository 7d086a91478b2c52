"""A driver in this process, on a cluster of this machine, and jobs for it."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from sqlalchemy import select

from nas.store.migrate import migrate
from nas.store.session import Store
from nas.store.states import Phase
from nas.store.tables import Epoch, Trial
from tests.processes import until
from tests.worker.running import a_worker, trials_of
from worker.cluster.driver import drive
from worker.context import Context

LONG: dict[str, Any] = {"budget": {"trials": 2, "epochs": 500}}
"""A search that is not over before a test is."""


@contextmanager
def open_store_in(folder: Path) -> Iterator[Store]:
    """A database in a folder that is made for it."""
    folder.mkdir(exist_ok=True)
    store = Store(f"sqlite:///{folder / 'nas.db'}")
    migrate(store)
    yield store
    store.close()


@contextmanager
def a_driver(folder: Path, address: str, stopping: Callable[[], bool] = lambda: False) -> Iterator[Context]:
    """A worker that can drive jobs on the cluster of that address, with a database and files of its own."""
    with open_store_in(folder) as store, a_worker(store, folder, stopping) as context:
        yield replace(context, settings=replace(context.settings, ray_address=address), ray=True)


@contextmanager
def driven(context: Context, job_id: str) -> Iterator[threading.Thread]:
    """Drives a job in a thread meanwhile."""
    thread = threading.Thread(target=drive, args=(context, job_id), name="drive")
    thread.start()
    try:
        yield thread
    finally:
        thread.join(90)
    assert not thread.is_alive(), "the drive has not come to its end"


def trained(context: Context, job_id: str, epochs: int = 1, count: int = 1) -> list[Trial]:
    """The trials with so many epochs, once there are so many of them."""

    def found() -> list[Trial]:
        return [trial for trial in trials_of(context, job_id) if trial.epoch >= epochs]

    return until(lambda: found() if len(found()) >= count else [], f"{count} trials with {epochs} epochs")


def placed(context: Context, job_id: str) -> list[Trial]:
    """The trials that a node has begun."""
    return [trial for trial in trials_of(context, job_id) if (trial.device or "").startswith("cpu@")]


def epochs_of(context: Context, trial_id: int) -> list[int]:
    """The numbers of a trial's epochs, as they were written."""
    with context.store.read() as session:
        return list(session.scalars(select(Epoch.epoch).where(Epoch.trial_id == trial_id).order_by(Epoch.epoch)))


def searched(context: Context, job_id: str) -> list[tuple[int, str | None, int, str]]:
    """(number, digest, epochs, state) of the search trials of a job."""
    found = [trial for trial in trials_of(context, job_id) if trial.phase == Phase.SEARCH]
    return [(trial.number, trial.digest, trial.epoch, trial.state) for trial in found]


def assert_all_free(address: str) -> None:
    """Fails unless all that the cluster has is free, and no actor is alive."""
    ray.init(address, namespace="nas", log_to_driver=False, logging_level=logging.ERROR)
    try:
        has: Any = ray
        until(lambda: has.available_resources() == has.cluster_resources(), "the resources to be free", 10.0)
        actors = ray._private.state.actors().values()
        assert [actor for actor in actors if actor["State"] not in ("DEAD",)] == []
    finally:
        ray.shutdown()
