"""A worker in this process, and jobs for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from sqlalchemy import select

from nas.complete import complete
from nas.data.builtin import BUILTIN
from nas.data.images import ImageSet
from nas.settings import Settings
from nas.store import datasets, jobs
from nas.store.artifacts import ArtifactStore
from nas.store.session import Store
from nas.store.states import FINISHED_TRIAL, JobState, Phase
from nas.store.tables import Job, Trial
from tests.processes import TINY
from tests.shapes import unchecked
from worker.context import Context
from worker.lease import Heartbeat
from worker.step import step


@contextmanager
def a_worker(
    store: Store, folder: Path, stopping: Callable[[], bool] = lambda: False, *, plugins: tuple[str, ...] = ()
) -> Iterator[Context]:
    """A worker on a store, with its files in a folder."""
    settings = Settings.read({"NAS_HOME": str(folder), "NAS_PLUGINS": ",".join(plugins)})
    with Heartbeat(store, "w", settings.lease_s) as heartbeat:
        artifacts = ArtifactStore(settings.artifacts_url)
        yield Context(store, artifacts, settings, "w", torch.device("cpu"), heartbeat.grip(), stopping)


@cache
def few_digits() -> ImageSet:
    """A fifth of the digits, for tests that have no use for more."""
    data = BUILTIN["digits"].load()
    return replace(data, train=data.train[:216], validation=data.validation[:72], test=data.test[:72])


def add(context: Context, data: ImageSet | None = None, **changes: Any) -> str:
    """A small job on a few of the digits, or on other data."""
    if data is None:
        dataset = datasets.add(context.store, context.artifacts, "digits", few_digits())
        changes = {"recipe": {"batch_size": 72}} | changes  # three steps an epoch, where its own choice takes thirteen
    else:
        dataset = datasets.add(context.store, context.artifacts, "others", data)
    spec = complete(
        TINY | {"dataset": dataset.name} | changes,
        image=(dataset.channels, dataset.height, dataset.width),
        images=dataset.train,
        outputs=len(dataset.classes),
        task=dataset.task,
    )
    with context.store.write() as session:
        return jobs.create(session, spec, dataset).id


def job_of(context: Context, job_id: str) -> Job:
    with context.store.read() as session:
        return jobs.get(session, job_id)


def trials_of(context: Context, job_id: str) -> list[Trial]:
    with context.store.read() as session:
        return list(session.scalars(select(Trial).where(Trial.job_id == job_id).order_by(Trial.number)))


def run_while(context: Context, job_id: str, *states: JobState) -> None:
    """Steps until the job is in none of the states."""
    for _ in range(200):
        if job_of(context, job_id).state not in states:
            return
        step_on(context, job_id)
    raise AssertionError(f"the job is {job_of(context, job_id).state} after 200 steps")


def run_until_report(context: Context, job_id: str) -> None:
    """Steps until all that a job trains is trained; its report takes longer than all of that."""
    for _ in range(200):
        if any(trial.phase == Phase.REPORT for trial in trials_of(context, job_id)):
            return
        step_on(context, job_id)
    raise AssertionError(f"the job is {job_of(context, job_id).state} after 200 steps, and has no report")


def step_on(context: Context, job_id: str) -> bool:
    """A step, in which shapes are checked (see tests/conftest.py) if some phase that trains has shown nothing yet."""
    found = [trial for trial in trials_of(context, job_id) if trial.phase != Phase.REPORT]
    seen = {trial.phase for trial in found if trial.epoch or trial.state in FINISHED_TRIAL}
    known = bool(found) and all(trial.phase in seen for trial in found)
    with unchecked(known):
        return step(context)


SEARCHING = (JobState.QUEUED, JobState.RUNNING)
ALL = (*SEARCHING, JobState.FINALIZING)
