"""Who drives a Ray job: a lease of its own, held by one worker at a time, and what becomes of a lost one's trials.

A driver holds the job by its name in the job's row. Whatever it writes says so: to take a trial the name has to stand
there (nas.store.claims), and what is written to a trial repeats its attempt, which grows when the trial changes hands.
"""

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from nas.errors import LeaseLost
from nas.store import metrics, setbacks
from nas.store.claims import Claim
from nas.store.moves import end, touch
from nas.store.session import CLOCK, Store, now
from nas.store.states import JobState, Reason, TrialState
from nas.store.tables import Job, Setback, Trial
from nas.store.trials import MAX_LOSSES, held, release

log = logging.getLogger(__name__)

BLAMELESS: Final = 3
"""So often in a row, with nothing done in between, a driver or a node is lost before its trials are held to blame.

From then on each of them counts as `lost`, which is bounded: one of them may well be what kills whatever it runs on.
"""


def take(session: Session, job_id: str, worker: str, lease_s: float) -> int | None:
    """Makes a worker the driver of a Ray job; the trials of a driver that was not heard of are queued again at once.

    Returns:
        The term: how often the job has got a driver so far. None if it has one, is gone, or is not for Ray.
    """
    job = session.get(Job, job_id, with_for_update=True, populate_existing=True)
    if job is None or job.engine != "ray":
        return None
    moment = now(session)
    if job.driver is not None and job.driver_until is not None and job.driver_until > moment:
        return None
    _vacate(session, job)
    job.driver, job.driver_until = worker, moment + timedelta(seconds=lease_s)
    job.driver_term += 1
    touch(job, itself=True)
    return job.driver_term


def renew(session: Session, job_id: str, worker: str, term: int, lease_s: float) -> None:
    """Keeps the job for another lease. Raises LeaseLost."""
    later = (
        update(Job).where(*_mine(job_id, worker, term)).values(driver_until=now(session) + timedelta(seconds=lease_s))
    )
    if session.connection().execute(later.returning(Job.id)).first() is None:
        raise LeaseLost(f"job {job_id} is no longer driven by this worker (term {term})")


def release_job(session: Session, job_id: str, worker: str, term: int) -> None:
    """Lets another worker drive the job; nothing happens if one does already."""
    job = session.scalars(select(Job).where(*_mine(job_id, worker, term)).with_for_update()).first()
    if job is not None:
        job.driver = job.driver_until = None
        touch(job, itself=True)


@dataclass(frozen=True, slots=True)
class Drive:
    """How a job stands with its driver.

    Attributes:
        state: of the job.
        search_over: whether nothing more is trained in its search.
        lost: drivers that were lost in a row, without a trial that came to an end.
        running: (trial_id, attempt) of its running trials.
    """

    state: JobState
    search_over: bool
    lost: int
    running: frozenset[tuple[int, int]]


def look(session: Session, job_id: str, worker: str, term: int) -> Drive | None:
    """How a job stands; None if this worker does not drive it any more, or it is gone."""
    job = session.execute(
        select(Job.state, Job.search_over, Job.drivers_lost).where(*_mine(job_id, worker, term))
    ).first()
    if job is None:
        return None
    running = session.execute(
        select(Trial.id, Trial.attempt).where(Trial.job_id == job_id, Trial.state == TrialState.RUNNING)
    )
    return Drive(job.state, job.search_over, job.drivers_lost, frozenset((one.id, one.attempt) for one in running))


def progressed(session: Session, job_id: str) -> None:
    """Notes that a trial came to its end: whatever lost the drivers before, it was not for ever."""
    session.connection().execute(update(Job).where(Job.id == job_id).values(drivers_lost=0))


def reap(store: Store) -> int:
    """Queues the trials of all drivers that were not heard of for a lease; returns how many jobs had one.

    Any worker does, one without Ray too, so that nobody takes them for running until a new driver comes.
    """
    gone = (Job.engine == "ray", Job.driver.is_not(None), Job.driver_until < CLOCK)
    with store.read() as session:
        jobs = session.scalars(select(Job.id).where(*gone)).all()
    for job_id in jobs:
        with store.write() as session:
            job = session.scalars(select(Job).where(Job.id == job_id, *gone).with_for_update()).first()
            if job is not None:
                _vacate(session, job)
    return len(jobs)


def place(session: Session, claim: Claim, device: str) -> None:
    """Writes where a trial runs. Raises LeaseLost."""
    _, trial = held(session, claim)
    trial.device = device[:100]


def lose_node(session: Session, claim: Claim, why: str) -> None:
    """Gives a trial back whose node or process was lost under it: as `preempted` at first, which is free.

    Where that happens again and again after the same epoch, it counts as `lost`. Raises LeaseLost.
    """
    job, trial = held(session, claim)
    text = f"{why} (after epoch {trial.epoch})"
    before = select(Setback.id).where(Setback.trial_id == trial.id, Setback.error == setbacks.tidy(text))
    blameless = len(session.scalars(before.limit(BLAMELESS)).all()) < BLAMELESS - 1
    _hand_back(session, job, trial, text, blameless=blameless)


def _vacate(session: Session, job: Job) -> None:
    """Takes a job whose row is locked from a driver that was not heard of, if it has one, and its running trials."""
    if job.driver is not None:
        job.drivers_lost += 1
        log.warning("job %s: its driver %s was not heard of; %d in a row", job.id, job.driver, job.drivers_lost)
        metrics.count(session, "leases_lost", "")
    text = f"its driver {job.driver} was not heard of" if job.driver is not None else "it had no driver"
    running = select(Trial).where(Trial.job_id == job.id, Trial.state == TrialState.RUNNING)
    for trial in session.scalars(running.order_by(Trial.id).with_for_update()).all():
        _hand_back(session, job, trial, text, blameless=job.drivers_lost < BLAMELESS)
        if job.state == JobState.FAILED:  # that was one failure too many, and has ended all the others
            break
    job.driver = job.driver_until = None
    touch(job, itself=True)


def _hand_back(session: Session, job: Job, trial: Trial, text: str, *, blameless: bool) -> None:
    """Queues a running trial again, or fails one that was lost too often; the rows of both are locked."""
    if blameless:
        release(session, job, trial, Reason.PREEMPTED, text)
        return
    trial.losses += 1
    if trial.losses < MAX_LOSSES:
        release(session, job, trial, Reason.LOST, text)
    else:
        end(session, job, trial, TrialState.FAILED, Reason.LOST, f"{text}, {MAX_LOSSES} times without an epoch between")


def _mine(job_id: str, worker: str, term: int) -> tuple[ColumnElement[bool], ...]:
    return Job.id == job_id, Job.driver == worker, Job.driver_term == term
