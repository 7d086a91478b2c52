"""Every write to a trial: claimed under a lease, fenced by its attempt, counted in the tallies.

Locks are taken in one order everywhere (job, trial, tallies), so that no two transactions wait for each other.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nas.errors import IllegalTransition, LeaseLost
from nas.search.strategy import Observation
from nas.space import Candidate
from nas.spec import JobSpec
from nas.store.artifacts import Stored
from nas.store.session import Store, now
from nas.store.states import (
    ACTIVE_TRIAL,
    FINISHED_TRIAL,
    TRIAL_NEXT,
    JobState,
    Phase,
    Reason,
    TrialState,
    advance,
)
from nas.store.tables import Artifact, Epoch, Incumbent, Job, Tally, Trial
from nas.train.epoch import EpochResult

MAX_LOSSES = 3
"""A trial whose worker vanishes so often, without an epoch between, is what kills them."""

MAX_FAILURES_IN_ROW = 3
"""So many infrastructure failures in a row fail the job: the next trial would fail as well."""


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
    _move(session, trial, TrialState.RUNNING)
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
    _move(session, trial, TrialState.RUNNING)
    return _claim(trial, job)


def add(
    session: Session,
    job: Job,
    phase: Phase,
    *,
    epochs: int,
    candidate: Candidate | None = None,
    digest: str | None = None,
    seed_index: int = 0,
    params: int | None = None,
    macs: int | None = None,
) -> Trial:
    """Adds a queued trial to a job whose row is locked, under the job's next number."""
    trial = Trial(
        job_id=job.id,
        number=job.next_number,
        phase=phase,
        state=TrialState.QUEUED,
        candidate=candidate.to_json() if candidate else None,
        digest=digest,
        seed_index=seed_index,
        epochs=epochs,
        epoch=0,
        params=params,
        macs=macs,
        attempt=0,
        losses=0,
        created_at=now(session),
    )
    job.next_number += 1
    session.add(trial)
    session.flush()
    _count(session, job.id, phase, {TrialState.QUEUED: 1})
    return trial


def set_candidate(session: Session, claim: Claim, candidate: Candidate, digest: str, params: int, macs: int) -> None:
    """Writes what a reserved trial will train. Raises Twin if the job has it already, LeaseLost."""
    try:
        _fenced(session, claim, candidate=candidate.to_json(), digest=digest, params=params, macs=macs)
    except IntegrityError as error:
        raise Twin(digest) from error


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
        )
    )
    return _attach(session, claim.trial_id, "checkpoint", checkpoint)


def finish(
    session: Session,
    claim: Claim,
    state: TrialState,
    *,
    reason: Reason | None = None,
    error: str | None = None,
    weights: Stored | None = None,
) -> str | None:
    """Ends a trial in a final state, and fails its job after too many failures in a row. Raises LeaseLost.

    Returns:
        The sha256 of the trial's checkpoint, which nobody needs any more.
    """
    job = _locked(session, claim.job_id)
    _fenced(session, claim)
    trial = session.get_one(Trial, claim.trial_id, populate_existing=True)
    if weights is not None:
        _attach(session, trial.id, "weights", weights)
    _end(session, job, trial, state, reason, error)
    return _detach(session, trial.id, "checkpoint")


def hand_back(session: Session, claim: Claim) -> None:
    """Gives a running trial back to the queue, without counting it as a loss. Raises LeaseLost."""
    _locked(session, claim.job_id)  # PostgreSQL asks for it anyway, at the second update of one row, which is too late
    _fenced(session, claim)
    trial = session.get_one(Trial, claim.trial_id, populate_existing=True)
    _release(session, trial)


def retry(session: Session, claim: Claim, error: str) -> bool:
    """Gives a trial back after an error, unless it has used up its tries; whether it did. Raises LeaseLost."""
    _locked(session, claim.job_id)
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
            job = _locked(session, job_id)
            trial = session.get_one(Trial, trial_id, with_for_update=True, populate_existing=True)
            if trial.state != TrialState.RUNNING or trial.lease_until is None or trial.lease_until >= now(session):
                continue
            reaped += 1
            trial.losses += 1
            if trial.losses < MAX_LOSSES:
                _release(session, trial)
            else:
                text = f"its worker vanished {MAX_LOSSES} times without finishing an epoch"
                _end(session, job, trial, TrialState.FAILED, Reason.LOST, text)
    return reaped


def cancel_all(session: Session, job: Job) -> None:
    """Cancels what is queued or running of a job whose row is locked; their workers find their leases lost."""
    active = session.scalars(
        select(Trial).where(Trial.job_id == job.id, Trial.state.in_(ACTIVE_TRIAL)).order_by(Trial.id).with_for_update()
    ).all()
    for trial in active:
        trial.lease_until = None
        trial.finished_at = now(session)
        _move(session, trial, TrialState.CANCELLED)


def fail(session: Session, job: Job, reason: str) -> None:
    """Fails a job whose row is locked, with all that is left of it."""
    advance(job, JobState.FAILED)
    job.reason = reason
    job.finished_at = now(session)
    cancel_all(session, job)


def history(session: Session, job_id: str, since: int = 0) -> list[Observation]:
    """The search trials of a job with numbers from `since` on that have a candidate, in their order."""
    rows = session.execute(
        select(Trial.number, Trial.candidate, Trial.state, Trial.reason, Trial.epoch, Trial.accuracy)
        .where(Trial.job_id == job_id, Trial.phase == Phase.SEARCH, Trial.number >= since, Trial.digest.is_not(None))
        .order_by(Trial.number)
    )
    return [
        Observation(
            number=number,
            candidate=Candidate.from_json(candidate),
            finished=state in FINISHED_TRIAL,
            complete=state == TrialState.COMPLETE,
            epoch=epoch,
            accuracy=None if reason == Reason.DIVERGED else accuracy,
        )
        for number, candidate, state, reason, epoch, accuracy in rows
    ]


def rung(session: Session, job_id: str, epoch: int) -> list[float]:
    """The validation accuracies of all search trials of a job that reached that epoch, at that epoch."""
    return list(
        session.scalars(
            select(Epoch.validation_accuracy)
            .join(Trial, Trial.id == Epoch.trial_id)
            .where(Trial.job_id == job_id, Trial.phase == Phase.SEARCH, Epoch.epoch == epoch)
        )
    )


def artifact(session: Session, trial_id: int, kind: str) -> str | None:
    """The sha256 of a trial's artifact of that kind, if it has one."""
    return session.scalar(select(Artifact.sha256).where(Artifact.trial_id == trial_id, Artifact.kind == kind))


def package(session: Session, job_id: str) -> str | None:
    """The sha256 of a job's package, if it has one."""
    return session.scalar(
        select(Artifact.sha256)
        .join(Trial, Trial.id == Artifact.trial_id)
        .where(Trial.job_id == job_id, Trial.phase == Phase.REPORT, Artifact.kind == "package")
    )


def attach(session: Session, claim: Claim, kind: str, stored: Stored) -> None:
    """Records a file of a trial. Raises LeaseLost."""
    _fenced(session, claim)
    _attach(session, claim.trial_id, kind, stored)


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


def _locked(session: Session, job_id: str) -> Job:
    return session.get_one(Job, job_id, with_for_update=True, populate_existing=True)


def _deadline(job: Job) -> datetime | None:
    seconds = job.spec["budget"]["seconds"]
    return job.started_at + timedelta(seconds=seconds) if seconds and job.started_at else None


def _claim(trial: Trial, job: Job) -> Claim:
    return Claim(
        trial_id=trial.id,
        attempt=trial.attempt,
        job_id=job.id,
        number=trial.number,
        phase=trial.phase,
        seed_index=trial.seed_index,
        epochs=trial.epochs,
        epoch=trial.epoch,
        candidate=Candidate.from_json(trial.candidate) if trial.candidate else None,
        spec=JobSpec.model_validate(job.spec),
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
    _move(session, trial, TrialState.QUEUED)


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


def _end(session: Session, job: Job, trial: Trial, state: TrialState, reason: Reason | None, error: str | None) -> None:
    moment = now(session)
    trial.reason = reason
    trial.error = error
    trial.lease_until = None
    trial.finished_at = moment
    _move(session, trial, state)
    if trial.phase == Phase.SEARCH and state == TrialState.COMPLETE and trial.accuracy is not None:
        _note_incumbent(session, job, trial, moment)
    job.failures_in_row = job.failures_in_row + 1 if reason in (Reason.ERROR, Reason.LOST) else 0
    if job.failures_in_row >= MAX_FAILURES_IN_ROW:
        last = (error or "").strip().splitlines()[-1:] or ["no message"]
        fail(session, job, f"{MAX_FAILURES_IN_ROW} trials in a row failed, the last one with: {last[0]}")


def _note_incumbent(session: Session, job: Job, trial: Trial, moment: datetime) -> None:
    if trial.accuracy is None or job.started_at is None:
        return
    if job.best_accuracy is None or trial.accuracy > job.best_accuracy:
        job.best_accuracy = trial.accuracy
        job.best_trial = trial.number
        at_s = (moment - job.started_at).total_seconds()
        session.add(Incumbent(job_id=job.id, number=trial.number, at_s=at_s, accuracy=trial.accuracy))


def _move(session: Session, trial: Trial, to: TrialState) -> None:
    """Moves a trial along TRIAL_NEXT; the only place that assigns the state of a trial that exists."""
    if to not in TRIAL_NEXT[trial.state]:
        raise IllegalTransition(f"trial {trial.number} of job {trial.job_id}", trial.state, to)
    before, trial.state = trial.state, to
    session.flush()
    _count(session, trial.job_id, trial.phase, {before: -1, to: 1})


def _count(session: Session, job_id: str, phase: Phase, changes: dict[TrialState, int]) -> None:
    for state, change in sorted(changes.items()):  # one order of locks for all
        session.execute(
            update(Tally)
            .where(Tally.job_id == job_id, Tally.phase == phase, Tally.state == state)
            .values(count=Tally.count + change)
        )


def _attach(session: Session, trial_id: int, kind: str, stored: Stored) -> str | None:
    """Records a trial's file of a kind; returns the sha256 of the one it replaces."""
    before = artifact(session, trial_id, kind)
    values = {"sha256": stored.sha256, "size_bytes": stored.size_bytes, "created_at": now(session)}
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    session.execute(
        dialect.insert(Artifact)
        .values(trial_id=trial_id, kind=kind, **values)
        .on_conflict_do_update(index_elements=["trial_id", "kind"], set_=values)
    )
    return before if before != stored.sha256 else None


def _detach(session: Session, trial_id: int, kind: str) -> str | None:
    row = session.get(Artifact, (trial_id, kind), populate_existing=True)
    if row is None:
        return None
    session.delete(row)
    session.flush()
    return row.sha256
