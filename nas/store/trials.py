"""The life of a trial in a worker's hands: claimed under a lease, fenced by its attempt, reported, ended, lost."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nas.errors import LeaseLost
from nas.space import Candidate
from nas.spec import JobSpec
from nas.store.artifacts import Stored
from nas.store.files import forget, record
from nas.store.moves import add, end, locked, move
from nas.store.session import Store, now
from nas.store.states import JobState, Phase, Reason, TrialState, advance
from nas.store.tables import Epoch, Job, Tally, Trial
from nas.train.epoch import EpochResult

MAX_LOSSES = 3
"""A trial whose worker vanishes so often, without an epoch between, is what kills them."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A trial that a worker owns until its lease ends, as of the claim.

    Attributes:
        trial_id, attempt: name the claim; every later write repeats both.
        epoch: epochs done by earlier attempts.
        deadline: when the job's search ends, whatever is running; None without a limit.
    """

    trial_id: int
    attempt: int
    job_id: str
    number: int
    phase: Phase
    seed_index: int
    epochs: int
    epoch: int
    candidate: Candidate | None
    spec: JobSpec
    dataset_id: int
    deadline: datetime | None


class Twin(Exception):  # noqa: N818 - not an error: the proposal has to be another one
    """The job has a trial of the same network already."""


def claim(session: Session, worker: str, lease_s: float) -> Claim | None:
    """Takes a queued trial of the oldest job that has one, or None.

    The parallelism holds because the job's row is locked while the trial is taken.
    """
    queued = exists().where(Tally.job_id == Job.id, Tally.state == TrialState.QUEUED, Tally.count > 0)
    job = session.scalars(
        select(Job)
        .where(Job.state.in_((JobState.RUNNING, JobState.FINALIZING)), queued, _has_room())
        .order_by(Job.created_at)
        .limit(1)
        .with_for_update()
    ).first()
    if job is None or _full(session, job):
        return None
    trial = session.scalars(
        select(Trial)
        .where(Trial.job_id == job.id, Trial.state == TrialState.QUEUED)
        .order_by(Trial.id)
        .limit(1)
        .with_for_update()
    ).first()
    if trial is None:
        return None
    _lease(session, trial, worker, lease_s)
    move(session, trial, TrialState.RUNNING)
    return _claim(trial, job)


def reserve(session: Session, worker: str, lease_s: float) -> Claim | None:
    """Adds a search trial without a candidate to the oldest job whose budget has room, or None.

    The budget and the parallelism hold because the job's row is locked while the number is taken.
    """
    job = session.scalars(
        select(Job)
        .where(
            Job.state.in_((JobState.QUEUED, JobState.RUNNING)),
            Job.next_number < Job.trials_planned,
            _has_room(),
        )
        .order_by(Job.created_at)
        .limit(1)
        .with_for_update()
    ).first()
    if job is None or _full(session, job):
        return None
    moment = now(session)
    deadline = _deadline(job)
    if deadline is not None and moment >= deadline:
        job.trials_planned = job.next_number
        job.note = f"the search ended after {job.spec['budget']['seconds']:g} s, as its budget says"
        return None
    if job.state == JobState.QUEUED:
        advance(job, JobState.RUNNING)
        job.started_at = moment
    trial = add(session, job, Phase.SEARCH, epochs=job.spec["budget"]["epochs"])
    _lease(session, trial, worker, lease_s)
    move(session, trial, TrialState.RUNNING)
    return _claim(trial, job)


@dataclass(frozen=True, slots=True)
class Costs:
    """What is known of a candidate before it is trained; what was not asked for is None."""

    params: int
    macs: int
    latency_ms: float | None = None
    memory_mb: float | None = None


def set_candidate(session: Session, claim: Claim, candidate: Candidate, digest: str, costs: Costs) -> None:
    """Writes what a reserved trial will train. Raises Twin if the job has it already, LeaseLost."""
    try:
        _fenced(session, claim, candidate=candidate.to_json(), digest=digest, **asdict(costs))
    except IntegrityError as error:
        raise Twin(digest) from error


def refuse(session: Session, claim: Claim, candidate: Candidate, digest: str, costs: Costs, error: str) -> None:
    """Writes what a reserved trial was to train, and ends it as infeasible. Raises Twin, LeaseLost.

    In one transaction: a worker that is killed between the two would leave the candidate to be trained.
    """
    locked(session, claim.job_id)  # before the trial: the order of locks
    set_candidate(session, claim, candidate, digest, costs)
    finish(session, claim, TrialState.INFEASIBLE, reason=Reason.INFEASIBLE, error=error)


def renew(session: Session, claim: Claim, lease_s: float) -> None:
    """Keeps the trial for another lease. Raises LeaseLost."""
    _fenced(session, claim, lease_until=now(session) + timedelta(seconds=lease_s))


def report(session: Session, claim: Claim, result: EpochResult, checkpoint: Stored, lease_s: float) -> str | None:
    """Records an epoch together with the checkpoint that follows it. Raises LeaseLost.

    Returns:
        The sha256 of the checkpoint that this one replaces, to be deleted once the transaction is through.
    """
    counter = Job.search_epochs if claim.phase == Phase.SEARCH else Job.final_epochs
    session.execute(
        update(Job)
        .where(Job.id == claim.job_id)
        .values({counter: counter + 1, Job.train_seconds: Job.train_seconds + result.seconds})
    )
    _fenced(
        session,
        claim,
        epoch=result.epoch,
        accuracy=result.validation_accuracy,
        losses=0,
        lease_until=now(session) + timedelta(seconds=lease_s),
    )
    session.add(
        Epoch(
            trial_id=claim.trial_id,
            epoch=result.epoch,
            train_loss=result.train_loss,
            validation_loss=result.validation_loss,
            validation_accuracy=result.validation_accuracy,
            lr=result.lr,
            seconds=result.seconds,
            metrics=dict(result.metrics),
        )
    )
    return record(session, claim.trial_id, "checkpoint", checkpoint)


def finish(
    session: Session,
    claim: Claim,
    state: TrialState,
    *,
    reason: Reason | None = None,
    error: str | None = None,
    weights: Stored | None = None,
    best_epoch: bool = False,
) -> str | None:
    """Ends a trial in a final state, and fails its job after too many failures in a row. Raises LeaseLost.

    Args:
        session, claim: of the worker that ends it.
        state, reason, error: how it ended, and why.
        weights: what it leaves.
        best_epoch: whether its accuracy is that of its best epoch; of its last one otherwise.

    Returns:
        The sha256 of the trial's checkpoint, which nobody needs any more.
    """
    job = locked(session, claim.job_id)
    _fenced(session, claim)
    trial = session.get_one(Trial, claim.trial_id, populate_existing=True)
    if weights is not None:
        record(session, trial.id, "weights", weights)
    if best_epoch:
        trial.accuracy = session.scalar(select(func.max(Epoch.validation_accuracy)).where(Epoch.trial_id == trial.id))
    end(session, job, trial, state, reason, error)
    return forget(session, trial.id, "checkpoint")


def hand_back(session: Session, claim: Claim) -> None:
    """Gives a running trial back to the queue, without counting it as a loss. Raises LeaseLost."""
    locked(session, claim.job_id)  # PostgreSQL asks for it anyway, at the second update of one row, which is too late
    _fenced(session, claim)
    trial = session.get_one(Trial, claim.trial_id, populate_existing=True)
    _release(session, trial)


def retry(session: Session, claim: Claim, error: str) -> bool:
    """Gives a trial back after an error, unless it has used up its tries; whether it did. Raises LeaseLost."""
    locked(session, claim.job_id)
    _fenced(session, claim)
    trial = session.get_one(Trial, claim.trial_id, populate_existing=True)
    trial.losses += 1
    trial.error = error
    if trial.losses >= MAX_LOSSES:
        return False
    _release(session, trial)
    return True


def reap(store: Store) -> int:
    """Requeues the trials whose leases have run out, or fails those that were lost too often; returns how many."""
    with store.read() as session:
        expired = session.execute(
            select(Trial.id, Trial.job_id)
            .where(Trial.state == TrialState.RUNNING, Trial.lease_until < now(session))
            .limit(100)
        ).all()
    reaped = 0
    for trial_id, job_id in expired:
        with store.write() as session:
            job = locked(session, job_id)
            trial = session.get_one(Trial, trial_id, with_for_update=True, populate_existing=True)
            if trial.state != TrialState.RUNNING or trial.lease_until is None or trial.lease_until >= now(session):
                continue
            reaped += 1
            trial.losses += 1
            if trial.losses < MAX_LOSSES:
                _release(session, trial)
            else:
                text = f"its worker vanished {MAX_LOSSES} times without finishing an epoch"
                end(session, job, trial, TrialState.FAILED, Reason.LOST, text)
    return reaped


def attach(session: Session, claim: Claim, kind: str, stored: Stored) -> str | None:
    """Records a file of a trial; returns the sha256 of the one it replaces. Raises LeaseLost."""
    _fenced(session, claim)
    return record(session, claim.trial_id, kind, stored)


def _has_room() -> Any:
    running = (
        select(func.coalesce(func.sum(Tally.count), 0))
        .where(Tally.job_id == Job.id, Tally.state == TrialState.RUNNING)
        .scalar_subquery()
    )
    return or_(Job.parallel.is_(None), running < Job.parallel)


def _full(session: Session, job: Job) -> bool:
    """Whether a job whose row is locked runs all that it may; where the lock was waited for, _has_room is outdated."""
    if job.parallel is None:
        return False
    running = select(func.sum(Tally.count)).where(Tally.job_id == job.id, Tally.state == TrialState.RUNNING)
    return (session.scalar(running) or 0) >= job.parallel


def _deadline(job: Job) -> datetime | None:
    seconds = job.spec["budget"]["seconds"]
    return job.started_at + timedelta(seconds=seconds) if seconds and job.started_at else None


def _claim(trial: Trial, job: Job) -> Claim:
    spec = JobSpec.model_validate(job.spec)
    return Claim(
        trial_id=trial.id,
        attempt=trial.attempt,
        job_id=job.id,
        number=trial.number,
        phase=trial.phase,
        seed_index=trial.seed_index,
        epochs=trial.epochs,
        epoch=trial.epoch,
        candidate=Candidate.from_json(trial.candidate, spec.space.shape()) if trial.candidate else None,
        spec=spec,
        dataset_id=job.dataset_id,
        deadline=_deadline(job) if trial.phase == Phase.SEARCH else None,
    )


def _lease(session: Session, trial: Trial, worker: str, lease_s: float) -> None:
    moment = now(session)
    trial.attempt += 1
    trial.owner = worker
    trial.lease_until = moment + timedelta(seconds=lease_s)
    trial.started_at = trial.started_at or moment


def _release(session: Session, trial: Trial) -> None:
    trial.owner = None
    trial.lease_until = None
    move(session, trial, TrialState.QUEUED)


def _fenced(session: Session, claim: Claim, **values: Any) -> None:
    """Writes to a trial only as long as the claim holds. Raises LeaseLost."""
    found = session.execute(
        update(Trial)
        .where(Trial.id == claim.trial_id, Trial.attempt == claim.attempt, Trial.state == TrialState.RUNNING)
        # Without values it still locks the row and checks the fence.
        .values(**(values or {"attempt": claim.attempt}))
        .returning(Trial.id)
        .execution_options(synchronize_session=False)
    ).first()
    if found is None:
        raise LeaseLost(
            f"trial {claim.number} of job {claim.job_id} is no longer this worker's (attempt {claim.attempt})"
        )
