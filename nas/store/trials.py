"""The life of a trial in a worker's hands: claimed under a lease, fenced by its attempt, reported, ended, lost."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nas.errors import LeaseLost
from nas.search.pruning import make_pruner
from nas.space import Candidate
from nas.spec import JobSpec
from nas.store import budget
from nas.store.artifacts import Stored
from nas.store.files import forget, record
from nas.store.moves import add, close_search, end, locked, move, note_setback, touch
from nas.store.session import Store, now
from nas.store.states import BUSY_TRIAL, PREPARATION, SEARCHING, JobState, Phase, Reason, TrialState, advance
from nas.store.tables import Epoch, Job, Tally, Trial
from nas.train.epoch import EpochResult

MAX_LOSSES = 3
"""A trial whose worker vanishes so often, without an epoch between, is what kills them."""


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


class Twin(Exception):  # noqa: N818 - not an error: the proposal has to be another one
    """The job has a trial of the same network already."""


def claim(session: Session, worker: str, lease_s: float) -> Claim | None:
    """Takes a queued trial of the oldest job that has one, or None.

    The parallelism holds because the job's row is locked while the trial is taken.
    """
    queued = exists().where(Tally.job_id == Job.id, Tally.state == TrialState.QUEUED, Tally.count > 0)
    job = session.scalars(
        select(Job).where(queued, _has_room()).order_by(Job.created_at).limit(1).with_for_update()
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
    _begin(session, job)
    _lease(session, trial, worker, lease_s)
    move(session, job, trial, TrialState.RUNNING)
    return _claim(session, trial, job, lease_s)


def reserve(session: Session, worker: str, lease_s: float) -> Claim | None:
    """Adds a search trial without a candidate to the oldest job whose budget has room, or None.

    The budget and the parallelism hold because the job's row is locked while the number is taken. A search begins when
    what is prepared for it is there.
    """
    preparing = exists().where(
        Tally.job_id == Job.id, Tally.phase.in_(PREPARATION), Tally.state.in_(BUSY_TRIAL), Tally.count > 0
    )
    job = session.scalars(
        select(Job)
        .where(
            Job.state.in_((JobState.QUEUED, JobState.RUNNING)),
            Job.next_number < Job.trials_planned,
            ~Job.search_over,
            ~preparing,
            _has_room(),
        )
        .order_by(Job.created_at)
        .limit(1)
        .with_for_update()
    ).first()
    if job is None or _full(session, job):
        return None
    spec = JobSpec.model_validate(job.spec)
    first = make_pruner(spec.pruning).stages(job.next_number - job.prepared, spec.budget.epochs)[0]
    if note := budget.spent(session, job, spec, 0, first, lease_s):
        close_search(job, note.text, over=note.over)
        return None
    _begin(session, job)
    trial = add(session, job, Phase.SEARCH, epochs=spec.budget.epochs)
    trial.stage = first
    _lease(session, trial, worker, lease_s)
    move(session, job, trial, TrialState.RUNNING)
    return _claim(session, trial, job, lease_s)


@dataclass(frozen=True, slots=True)
class Rungs:
    """A search with paused trials, for the pruner to look at.

    Attributes:
        closing: whether nothing is running, and no trial will be added.
    """

    job_id: str
    prepared: int
    spec: JobSpec
    closing: bool


def paused(session: Session) -> list[Rungs]:
    """The searches with paused trials and room for a running one, oldest first."""
    waiting = exists().where(Tally.job_id == Job.id, Tally.state == TrialState.PAUSED, Tally.count > 0)
    found = session.scalars(
        select(Job)
        .where(Job.state == JobState.RUNNING, ~Job.search_over, waiting, _has_room())
        .order_by(Job.created_at)
    ).all()
    return [
        Rungs(
            job.id,
            job.prepared,
            JobSpec.model_validate(job.spec),
            job.next_number >= job.trials_planned and not _busy(session, job.id),
        )
        for job in found
    ]


def promote(session: Session, seen: Rungs, index: int, worker: str, lease_s: float) -> Claim | None:
    """Takes a paused trial on to its next stage; None if it is no longer paused, or the budget has no room for that."""
    job = locked(session, seen.job_id)
    trial = session.scalars(
        select(Trial).where(Trial.job_id == job.id, Trial.number == index + job.prepared).with_for_update()
    ).one()
    if job.state != JobState.RUNNING or job.search_over or trial.state != TrialState.PAUSED or _full(session, job):
        return None
    following = next_stage(seen.spec, index, trial.epoch)
    if note := budget.spent(session, job, seen.spec, trial.epoch, following, lease_s):
        # What is running was promised its stage; once it is through, nothing fits any more.
        if note.over or not _busy(session, job.id):
            close_search(job, note.text, over=True)
        return None
    trial.stage = following
    _lease(session, trial, worker, lease_s)
    move(session, job, trial, TrialState.RUNNING)
    return _claim(session, trial, job, lease_s)


def next_stage(spec: JobSpec, index: int, epoch: int) -> int:
    """The epoch at which search trial `index`, which has done `epoch` epochs, is compared next."""
    stages = make_pruner(spec.pruning).stages(index, spec.budget.epochs)
    return next((stage for stage in stages if stage > epoch), spec.budget.epochs)


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
    changes: dict[Any, Any] = {Job.version: Job.version + 1}
    if claim.phase != Phase.RETRAIN:
        counter = Job.search_epochs if claim.phase in SEARCHING else Job.final_epochs
        changes |= {counter: counter + 1, Job.train_seconds: Job.train_seconds + result.seconds}
    version = session.scalars(update(Job).where(Job.id == claim.job_id).values(changes).returning(Job.version)).one()
    values: dict[str, Any] = {"epoch": result.epoch, "accuracy": result.validation_accuracy, "losses": 0}
    values["changed"] = version
    _fenced(session, claim, lease_until=now(session) + timedelta(seconds=lease_s), **values)
    if claim.phase == Phase.SEARCH:
        trial = session.get_one(Trial, claim.trial_id, populate_existing=True)
        if result.epoch == trial.stage:
            trial.rungs = [*(trial.rungs or []), [result.epoch, result.validation_accuracy]]
    session.add(
        Epoch(
            trial_id=claim.trial_id,
            epoch=result.epoch,
            train_loss=result.train_loss,
            validation_loss=result.validation_loss,
            validation_accuracy=result.validation_accuracy,
            lr=result.lr,
            seconds=result.seconds,
            version=version,
            metrics=dict(result.metrics) | ({"genotype": dict(result.genotype)} if result.genotype else {}),
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


def advance_stage(session: Session, claim: Claim, stage: int) -> None:
    """Lets a trial that was compared train on to `stage` without a pause. Raises LeaseLost."""
    _fenced(session, claim, stage=stage)


def pause(session: Session, claim: Claim) -> None:
    """Lets a trial wait at its rung; whoever is free promotes it when it may go on. Raises LeaseLost."""
    job = locked(session, claim.job_id)
    _fenced(session, claim)
    trial = session.get_one(Trial, claim.trial_id, populate_existing=True)
    trial.owner = None
    trial.lease_until = None
    move(session, job, trial, TrialState.PAUSED)


def hand_back(session: Session, claim: Claim) -> None:
    """Gives a running trial back to the queue, without counting it as a loss. Raises LeaseLost."""
    job = locked(session, claim.job_id)  # PostgreSQL asks for it anyway, at the second update of one row: too late
    _fenced(session, claim)
    trial = session.get_one(Trial, claim.trial_id, populate_existing=True)
    release(session, job, trial, Reason.PREEMPTED)


def retry(session: Session, claim: Claim, reason: Reason, error: str, tries: int = MAX_LOSSES) -> bool:
    """Gives a trial back after an error, unless it has used up its tries; whether it did. Raises LeaseLost."""
    job = locked(session, claim.job_id)
    _fenced(session, claim)
    trial = session.get_one(Trial, claim.trial_id, populate_existing=True)
    trial.losses += 1
    trial.error = error
    if trial.losses >= tries:
        return False
    release(session, job, trial, reason, error)
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
                release(session, job, trial, Reason.LOST)
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


def _busy(session: Session, job_id: str) -> bool:
    """Whether a trial before or of the search is queued or running."""
    busy = select(func.sum(Tally.count)).where(
        Tally.job_id == job_id, Tally.phase.in_(SEARCHING), Tally.state.in_(BUSY_TRIAL)
    )
    return bool(session.scalar(busy))


def _begin(session: Session, job: Job) -> None:
    if job.state == JobState.QUEUED:
        advance(job, JobState.RUNNING)
        touch(job, itself=True)
        job.started_at = now(session)


def _claim(session: Session, trial: Trial, job: Job, lease_s: float) -> Claim:
    spec = JobSpec.model_validate(job.spec)
    searching = trial.phase in SEARCHING
    return Claim(
        trial_id=trial.id,
        attempt=trial.attempt,
        job_id=job.id,
        number=trial.number,
        index=trial.number - job.prepared,
        phase=trial.phase,
        seed_index=trial.seed_index,
        epochs=trial.epochs,
        epoch=trial.epoch,
        stage=trial.stage or trial.epochs,
        candidate=Candidate.from_json(trial.candidate, spec.space.shape()) if trial.candidate else None,
        spec=spec,
        dataset_id=job.dataset_id,
        deadline=budget.search_deadline(session, job, spec, lease_s, trial.phase) if searching else None,
    )


def _lease(session: Session, trial: Trial, worker: str, lease_s: float) -> None:
    moment = now(session)
    trial.attempt += 1
    trial.owner = worker
    trial.lease_until = moment + timedelta(seconds=lease_s)
    trial.started_at = trial.started_at or moment


def release(session: Session, job: Job, trial: Trial, reason: Reason, error: str | None = None) -> None:
    """Gives a running trial of a job whose row is locked back to the queue; its worker finds the lease lost."""
    note_setback(session, job, trial, reason, error, again=True)
    trial.owner = None
    trial.lease_until = None
    move(session, job, trial, TrialState.QUEUED)


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
