"""How workers come by a trial: a queued one, a paused one that may go on, or a new one, under a lease of their own."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from nas.search.pruning import make_pruner
from nas.space import Candidate
from nas.spec import JobSpec
from nas.store import budget
from nas.store.leases import Lease, add_running, take
from nas.store.moves import close_search, locked, move, touch
from nas.store.numbering import index_of, number_of
from nas.store.queue import Standing
from nas.store.session import CLOCK, now
from nas.store.specs import spec_of
from nas.store.states import BUSY_TRIAL, SEARCHING, JobState, Phase, TrialState, advance
from nas.store.tables import Job, Tally, Trial


@dataclass(frozen=True, slots=True)
class Claim:
    """A trial that a worker owns until its lease ends, as of the claim.

    Attributes:
        trial_id, attempt: name the claim; every later write repeats both.
        index: number among the trials of the search, from 0; of other phases without a meaning.
        epochs: of a whole training.
        epoch: epochs done by earlier attempts.
        stage: the epoch at which it is compared with others next; `epochs` if it is not, and `epoch` if it has come to
            where it is compared, and what becomes of it is not yet decided.
        deadline: when the job's search ends, whatever is running; None without a limit.
        halvings: how often its batch was halved, for want of memory.
        alone: whether it has to have its device to itself.
    """

    trial_id: int
    attempt: int
    job_id: str
    number: int
    index: int
    phase: Phase
    seed_index: int
    epochs: int
    epoch: int
    stage: int
    candidate: Candidate | None
    spec: JobSpec
    dataset_id: int
    deadline: datetime | None
    halvings: int = 0
    alone: bool = False


def claim(session: Session, seen: Standing, lease: Lease, *, exact: bool = False) -> Claim | None:
    """Takes the oldest queued trial of a job; None if it has none any more, or no room for one.

    Args:
        session: to write in.
        seen: the job, as nas.store.queue has it.
        lease: of the worker that asks.
        exact: whether another worker may not have been served by the job since it was seen: then None as well.
    """
    job = _open(session, seen, lease, exact)
    if job is None:
        return None
    job = _begun(session, job)
    trial = take(session, job, lease)
    return _claim(session, job, trial, lease) if trial is not None else None


def reserve(session: Session, seen: Standing, lease: Lease, *, exact: bool = False) -> Claim | None:
    """Adds a search trial without a candidate to a job; None if its budget has no room for one.

    The budget and the parallelism hold because the job's row is locked while the number is taken. A search begins when
    what is prepared for it is there.

    Args:
        session, seen, lease, exact: see claim.
    """
    job = _open(session, seen, lease, exact)
    if job is None or job.search_over or job.next_number >= job.trials_planned:
        return None
    if job.state not in (JobState.QUEUED, JobState.RUNNING):
        return None
    spec = spec_of(job)
    stage = make_pruner(spec.pruning).stages(index_of(job, job.next_number), spec.budget.epochs)[0]
    if note := budget.spent(session, job, spec, 0, stage, lease.seconds):
        close_search(locked(session, job.id), note.text, over=note.over)
        return None
    job = _begun(session, job)
    trial = add_running(session, job, lease, epochs=spec.budget.epochs, stage=stage)
    return _claim(session, job, trial, lease)


@dataclass(frozen=True, slots=True)
class Rungs:
    """A search with paused trials, for the pruner to look at.

    Attributes:
        closing: whether nothing is running, and no trial will be added.
    """

    job_id: str
    spec: JobSpec
    closing: bool


def paused(session: Session, job_id: str) -> Rungs | None:
    """The search of a job, if it has paused trials that may go on."""
    job = session.get(Job, job_id)
    waiting = select(func.sum(Tally.count)).where(Tally.job_id == job_id, Tally.state == TrialState.PAUSED)
    if job is None or job.state != JobState.RUNNING or job.search_over or not session.scalar(waiting):
        return None
    closing = job.next_number >= job.trials_planned and not _busy(session, job_id)
    return Rungs(job_id, spec_of(job), closing)


def promote(session: Session, seen: Rungs, index: int, lease: Lease) -> Claim | None:
    """Takes a paused trial on to its next stage; None if it is no longer paused, or the budget has no room for that."""
    job = locked(session, seen.job_id)
    trial = session.scalars(
        select(Trial).where(Trial.job_id == job.id, Trial.number == number_of(job, index)).with_for_update()
    ).one()
    if job.state != JobState.RUNNING or job.search_over or trial.state != TrialState.PAUSED or _full(session, job):
        return None
    if _others(job, lease):
        return None
    following = next_stage(seen.spec, index, trial.epoch)
    if note := budget.spent(session, job, seen.spec, trial.epoch, following, lease.seconds):
        # What is running was promised its stage; once it is through, nothing fits any more.
        if note.over or not _busy(session, job.id):
            close_search(job, note.text, over=True)
        return None
    moment = now(session)
    trial.stage = following
    trial.attempt += 1
    trial.owner = lease.worker
    trial.began_at = moment
    trial.device = lease.device
    trial.lease_until = moment + timedelta(seconds=lease.seconds)
    job.served_at = moment
    move(session, job, trial, TrialState.RUNNING)
    return _claim(session, job, trial, lease)


def next_stage(spec: JobSpec, index: int, epoch: int) -> int:
    """The epoch at which search trial `index`, which has done `epoch` epochs, is compared next."""
    stages = make_pruner(spec.pruning).stages(index, spec.budget.epochs)
    return next((stage for stage in stages if stage > epoch), spec.budget.epochs)


_JOB = select(Job.__table__, CLOCK.label("moment")).where(Job.id == bindparam("job")).with_for_update()
_RUNNING = select(func.sum(Tally.count)).where(Tally.job_id == bindparam("job"), Tally.state == TrialState.RUNNING)


def _open(session: Session, seen: Standing, lease: Lease, exact: bool) -> Any:
    """The row of a job, locked, with the `moment` of it; None if nothing of it may be taken now."""
    connection = session.connection()
    job = connection.execute(_JOB, {"job": seen.job_id}).first()
    if job is None or job.state == JobState.PAUSED or (exact and job.served_at != seen.served_at):
        return None
    if _others(job, lease):
        return None
    return None if _full(session, job) else job


def _others(job: Any, lease: Lease) -> bool:
    """Whether a job whose row is locked is for Ray, and driven by nobody or by another worker: this one may be late."""
    return bool(job.engine == "ray" and job.driver != lease.worker)


def _full(session: Session, job: Any) -> bool:
    """Whether a job whose row is locked runs all that it may."""
    if job.parallel is None:
        return False
    running = session.connection().execute(_RUNNING, {"job": job.id}).scalar() or 0
    return bool(running >= job.parallel)


def _busy(session: Session, job_id: str) -> bool:
    """Whether a trial before or of the search is queued or running."""
    busy = select(func.sum(Tally.count)).where(
        Tally.job_id == job_id, Tally.phase.in_(SEARCHING), Tally.state.in_(BUSY_TRIAL)
    )
    return bool(session.scalar(busy))


def _begun(session: Session, job: Any) -> Any:
    """The row of a job that runs from now on."""
    if job.state != JobState.QUEUED:
        return job
    beginning = locked(session, job.id)
    advance(beginning, JobState.RUNNING)
    touch(beginning, itself=True)
    beginning.started_at = job.moment
    session.flush()
    return session.connection().execute(_JOB, {"job": job.id}).one()


def _claim(session: Session, job: Any, trial: Any, lease: Lease) -> Claim:
    """Of a job and a trial as rows, or as objects."""
    spec = spec_of(job)
    searching = trial.phase in SEARCHING
    return Claim(
        trial_id=trial.id,
        attempt=trial.attempt,
        job_id=job.id,
        number=trial.number,
        index=index_of(job, trial.number),
        phase=trial.phase,
        seed_index=trial.seed_index,
        epochs=trial.epochs,
        epoch=trial.epoch,
        stage=trial.stage or trial.epochs,
        candidate=Candidate.from_json(trial.candidate, spec.space.shape()) if trial.candidate else None,
        spec=spec,
        dataset_id=job.dataset_id,
        deadline=budget.search_deadline(session, job, spec, lease.seconds, trial.phase) if searching else None,
        halvings=trial.halvings,
        alone=trial.alone,
    )
