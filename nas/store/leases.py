"""How a trial comes under a worker's lease: a queued one, or a new one.

Workers do little else in a search of short trials, so all of it is statements that are made once.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.orm import Session

from nas.store.moves import count
from nas.store.states import Phase, TrialState
from nas.store.tables import Job, Trial


@dataclass(frozen=True, slots=True)
class Lease:
    """What a worker asks for a trial with: who it is, the device that it trains on, and for how long at first."""

    worker: str
    device: str
    seconds: float


def take(session: Session, job: Any, lease: Lease) -> Any:
    """Lets a worker run the oldest queued trial of a job; None if there is none.

    Args:
        session, lease: of the worker.
        job: its locked row, with the `moment` of it.

    Returns:
        The columns of the trial that make a claim.
    """
    values = {"job": job.id, "begin": job.moment, "version_": job.version + 1, **_leased(job, lease)}
    trial = session.connection().execute(_TAKE, values).first()
    if trial is None:
        return None
    count(session, job.id, trial.phase, TrialState.QUEUED, TrialState.RUNNING)
    _serve(session, job, job.next_number)
    return trial


def add_running(session: Session, job: Any, lease: Lease, *, epochs: int, stage: int) -> Any:
    """Adds a search trial to a job that a worker runs from its beginning.

    Args:
        session, job, lease: see take.
        epochs, stage: of the trial.

    Returns:
        See take.
    """
    values = {
        "job_id": job.id,
        "number": job.next_number,
        "phase": Phase.SEARCH,
        "state": TrialState.RUNNING,
        "epochs": epochs,
        "stage": stage,
        "attempt": 1,
        "changed": job.version + 1,
        "created_at": job.moment,
        "started_at": job.moment,
        **_leased(job, lease),
    }
    trial = session.connection().execute(_ADD, values).one()
    count(session, job.id, Phase.SEARCH, None, TrialState.RUNNING)
    _serve(session, job, job.next_number + 1)
    return trial


def _leased(job: Any, lease: Lease) -> dict[str, Any]:
    until = job.moment + timedelta(seconds=lease.seconds)
    return {"owner": lease.worker, "device": lease.device, "lease_until": until, "began_at": job.moment}


def _serve(session: Session, job: Any, next_number: int) -> None:
    values = {"job": job.id, "version": job.version + 1, "served_at": job.moment, "next_number": next_number}
    session.connection().execute(_SERVE, values)


_CLAIMED = (
    Trial.id,
    Trial.attempt,
    Trial.number,
    Trial.phase,
    Trial.seed_index,
    Trial.epochs,
    Trial.epoch,
    Trial.stage,
    Trial.candidate,
    Trial.halvings,
    Trial.alone,
)
_TAKE = (
    update(Trial)
    .where(
        Trial.id
        == select(Trial.id)
        .where(Trial.job_id == bindparam("job"), Trial.state == TrialState.QUEUED)
        .order_by(Trial.id)
        .limit(1)
        .scalar_subquery()
    )
    .values(
        state=TrialState.RUNNING,
        attempt=Trial.attempt + 1,
        owner=bindparam("owner"),
        device=bindparam("device"),
        lease_until=bindparam("lease_until"),
        began_at=bindparam("began_at"),
        started_at=func.coalesce(Trial.started_at, bindparam("begin")),
        changed=bindparam("version_"),
    )
    .returning(*_CLAIMED)
)
_ADD = insert(Trial).returning(*_CLAIMED)
_SERVE = (
    update(Job)
    .where(Job.id == bindparam("job"))
    .values(version=bindparam("version"), served_at=bindparam("served_at"), next_number=bindparam("next_number"))
)
