"""Figures of the whole service, for /metrics: gauges from the rows, and counters that outlive the rows they count."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import exists, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from nas.store import workers
from nas.store.session import now
from nas.store.states import JobState, TrialState
from nas.store.tables import Artifact, Counter, Dataset, Job, Tally

Counts = Mapping[tuple[str, str], float]
"""(name, label) → how much."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A service at one moment.

    Attributes:
        jobs: state → how many.
        trials: (phase, state) → how many.
        waiting_jobs: that could run, and of which nothing is running.
        waiting_s: how long the one of them has waited that has waited longest; 0 if there is none.
        workers: device → how many are alive.
        stored_bytes: artifacts and data sets, each file once for everything that refers to it.
        counters: (name, label) → total.
    """

    jobs: Mapping[str, int]
    trials: Mapping[tuple[str, str], int]
    waiting_jobs: int
    waiting_s: float
    workers: Mapping[str, int]
    stored_bytes: int
    counters: Counts


def count(session: Session, name: str, label: str, by: float = 1.0) -> None:
    """Adds to a counter. Its row stays locked until the transaction ends; of several, take them in one count_all."""
    count_all(session, {(name, label): by})


def count_all(session: Session, counts: Counts) -> None:
    """Adds to counters, in one order of locks for all transactions."""
    if not counts:
        return
    rows = [{"name": name, "label": label[:40], "value": by} for (name, label), by in sorted(counts.items())]
    insert: Any = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    added = insert(Counter).values(rows)
    session.execute(
        added.on_conflict_do_update(
            index_elements=[Counter.name, Counter.label], set_={"value": Counter.value + added.excluded.value}
        )
    )


def figures(session: Session, lease_s: float) -> Figures:
    """Reads all figures, at a cost that grows with the jobs and files, not with the trials.

    Args:
        session: to read with.
        lease_s: workers that were seen within it are alive.
    """
    of_jobs = session.execute(select(Job.state, func.count()).group_by(Job.state))
    of_trials = session.execute(
        select(Tally.phase, Tally.state, func.sum(Tally.count))
        .where(Tally.count > 0)
        .group_by(Tally.phase, Tally.state)
        .order_by(Tally.phase, Tally.state)
    )
    waiting_jobs, since = _waiting(session)
    devices: dict[str, int] = {}
    for worker in workers.alive(session, lease_s):
        device = worker.device.split(":")[0]  # cuda:0 and cuda:1 are one kind
        devices[device] = devices.get(device, 0) + 1
    stored = (
        select(Artifact.sha256, Artifact.size_bytes.label("size"))
        .union(select(Dataset.sha256, func.coalesce(Dataset.size_bytes, 0).label("size")))
        .subquery()
    )
    return Figures(
        jobs={str(state): number for state, number in of_jobs},
        trials={(str(phase), str(state)): int(number) for phase, state, number in of_trials},
        waiting_jobs=waiting_jobs,
        waiting_s=0.0 if since is None else max(0.0, (now(session) - since).total_seconds()),
        workers=devices,
        stored_bytes=int(session.scalar(select(func.coalesce(func.sum(stored.c.size), 0))) or 0),
        counters={(row.name, row.label): row.value for row in session.scalars(select(Counter))},
    )


def _waiting(session: Session) -> tuple[int, datetime | None]:
    """(jobs of which nothing is running though it could, since when the first of them is)."""
    running = exists().where(Tally.job_id == Job.id, Tally.state == TrialState.RUNNING, Tally.count > 0)
    could = Job.state.in_((JobState.QUEUED, JobState.RUNNING, JobState.FINALIZING))
    since = func.coalesce(Job.served_at, Job.created_at)
    oldest = func.min(since, type_=Job.created_at.type)
    number, first = session.execute(select(func.count(), oldest).where(could, ~running)).one()
    return number, first
