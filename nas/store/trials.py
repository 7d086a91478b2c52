"""The life of a trial in a worker's hands: claimed under a lease, fenced by its attempt, reported, ended, lost."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import (
    JSON,
    Boolean,
    Connection,
    Interval,
    bindparam,
    case,
    func,
    literal,
    select,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nas.errors import LeaseLost
from nas.space import Candidate
from nas.store import metrics
from nas.store.artifacts import Stored
from nas.store.claims import Claim
from nas.store.files import forget, record
from nas.store.moves import SETBACKS, count, end, leave, locked, may_stand_out, move, note_complete, note_setback
from nas.store.reports import HELD, write_epoch
from nas.store.session import CLOCK, Store, now
from nas.store.states import Phase, Reason, TrialState
from nas.store.tables import Epoch, Job, Trial, UtcDateTime
from nas.train.epoch import EpochResult

MAX_LOSSES = 3
"""A trial whose worker vanishes so often, without an epoch between, is what kills them."""


WELL: Final = frozenset({TrialState.COMPLETE, TrialState.PRUNED})
"""States in which a trial has done what was asked of it."""


class Twin(Exception):  # noqa: N818 - not an error: the proposal has to be another one
    """The job has a trial of the same network already."""


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


def renew_all(session: Session, claims: Collection[Claim], lease_s: float) -> set[tuple[int, int]]:
    """Keeps trials for another lease, in one statement, however many they are.

    A trial whose row is locked is not waited for: whoever writes to it may wait for another of these. It is the next
    beat's, and a report of its own worker has renewed it as well.

    Returns:
        (trial_id, attempt) of those that are still held. The other claims are lost.
    """
    held = tuple_(Trial.id, Trial.attempt).in_([(claim.trial_id, claim.attempt) for claim in claims])
    running = (held, Trial.state == TrialState.RUNNING)
    if not claims:
        return set()
    if session.get_bind().dialect.name == "sqlite":
        until = now(session) + timedelta(seconds=lease_s)
        kept = update(Trial).where(*running).values(lease_until=until).returning(Trial.id, Trial.attempt)
        return {(trial_id, attempt) for trial_id, attempt in _written(session).execute(kept)}
    later = type_coerce(CLOCK + literal(timedelta(seconds=lease_s), Interval()), UtcDateTime())
    free = select(Trial.id).where(*running).with_for_update(skip_locked=True, key_share=True).cte("free")
    renewed = update(Trial).where(Trial.id.in_(select(free.c.id))).values(lease_until=later).returning(Trial.id)
    seen = select(Trial.id, Trial.attempt).where(*running).add_cte(renewed.cte("renewed"))
    return {(trial_id, attempt) for trial_id, attempt in _written(session).execute(seen)}


def report(
    session: Session, claim: Claim, result: EpochResult, checkpoint: Stored | None, lease_s: float
) -> str | None:
    """Records an epoch with the checkpoint that follows it; one that was taken over has none. Raises LeaseLost.

    Returns:
        The sha256 of the checkpoint that this one replaces, to be deleted once the transaction is through.
    """
    session.flush()  # what was changed in objects is written first: the statements pass them by
    reported = write_epoch(session.connection(), claim, result, checkpoint, lease_s)
    if reported is None:
        raise _lost(claim)
    if claim.phase == Phase.SEARCH and result.epoch == reported.stage:
        rungs = [*(reported.rungs or []), [result.epoch, result.validation_accuracy]]
        session.connection().execute(_RUNG, {"trial": claim.trial_id, "rungs": rungs})
    return reported.replaced


def finish(
    session: Session,
    claim: Claim,
    state: TrialState,
    *,
    reason: Reason | None = None,
    error: str | None = None,
    weights: Stored | None = None,
    best_epoch: bool = False,
    peak_bytes: int | None = None,
    spent: Mapping[str, float] | None = None,
) -> str | None:
    """Ends a trial in a final state, and fails its job after too many failures in a row. Raises LeaseLost.

    Args:
        session, claim: of the worker that ends it.
        state, reason, error: how it ended, and why.
        weights: what it leaves.
        best_epoch: whether its accuracy is that of its best epoch; of its last one otherwise.
        peak_bytes: of the device's memory that its training was found to hold; None: nobody looked.
        spent: where the time of its last attempt went, by part; None: what is known of that stays.

    Returns:
        The sha256 of the trial's checkpoint, which nobody needs any more.
    """
    if state in WELL and reason not in SETBACKS and not best_epoch:
        _end_well(session, claim, state, reason, error, {"peak": peak_bytes, "spent": spent})
    else:
        job, trial = held(session, claim)
        trial.peak_bytes = peak_bytes or trial.peak_bytes
        trial.spent = dict(spent) if spent is not None else trial.spent
        if best_epoch:
            best = select(func.max(Epoch.validation_accuracy)).where(Epoch.trial_id == trial.id)
            trial.accuracy = session.scalar(best)
        end(session, job, trial, state, reason, error)
    if weights is not None:
        record(session, claim.trial_id, "weights", weights)
    return forget(session, claim.trial_id, "checkpoint")


def _end_well(
    session: Session, claim: Claim, state: TrialState, reason: Reason | None, error: str | None, took: dict[str, Any]
) -> None:
    """What nas.store.moves.end does, for a trial that comes to no bad end: most do, so in few statements."""
    connection = _written(session)
    own = claim.phase != Phase.RETRAIN  # a retraining was asked for by a user, while the job goes its own way
    job = connection.execute(_ENDED, {"job": claim.job_id, "own": own}).first()
    if job is None:
        raise _lost(claim)
    values = {"to": state, "why": reason, "text": error, "at": job.moment, "version": job.version, **took}
    trial = connection.execute(_END, _named(claim) | values).first()
    if trial is None:
        raise _lost(claim)
    count(session, claim.job_id, claim.phase, TrialState.RUNNING, state)
    session.expire_all()
    if claim.phase == Phase.SEARCH and state == TrialState.COMPLETE and may_stand_out(job, trial.accuracy):
        note_complete(session, locked(session, claim.job_id), session.get_one(Trial, claim.trial_id), job.moment)


def note_key(session: Session, claim: Claim, key: str, *, begins: bool) -> None:
    """Writes a trial's key in nas.store.cache; one that goes on keeps what it has only if it is the same.

    Raises:
        LeaseLost: the trial is another worker's.
    """
    kept = key if begins else case((Trial.cache_key == key, key), else_=None)
    _fenced(session, claim, cache_key=kept)


def note_spent(session: Session, claim: Claim, spent: Mapping[str, float]) -> None:
    """Writes where the time of an attempt went, for a trial that ends in the same transaction. Raises LeaseLost."""
    _fenced(session, claim, spent=dict(spent))


def advance_stage(session: Session, claim: Claim, stage: int) -> None:
    """Lets a trial that was compared train on to `stage` without a pause. Raises LeaseLost."""
    _fenced(session, claim, stage=stage)


def pause(session: Session, claim: Claim) -> None:
    """Lets a trial wait at its rung; whoever is free promotes it when it may go on. Raises LeaseLost."""
    job, trial = held(session, claim)
    leave(trial, now(session))
    move(session, job, trial, TrialState.PAUSED)


def hand_back(session: Session, claim: Claim, note: str | None = None) -> None:
    """Gives a running trial back to the queue, without counting it as a loss. Raises LeaseLost."""
    job, trial = held(session, claim)
    release(session, job, trial, Reason.PREEMPTED, note)


def held(session: Session, claim: Claim) -> tuple[Job, Trial]:
    """The job and the trial of a claim, with their rows locked. Raises LeaseLost."""
    job = locked(session, claim.job_id)  # PostgreSQL asks for it anyway, at the second update of one row: too late
    trial = session.scalars(_FENCE, _named(claim)).first()
    if trial is None:
        raise _lost(claim)
    return job, trial


def retry(session: Session, claim: Claim, reason: Reason, error: str, tries: int = MAX_LOSSES) -> bool:
    """Gives a trial back after an error, unless it has used up its tries; whether it did. Raises LeaseLost.

    Failures in a row without a new epoch between them count; for want of memory all do, and each halves its batch.
    """
    job, trial = held(session, claim)
    trial.error = error
    if reason == Reason.OUT_OF_MEMORY:
        trial.halvings += 1
    else:
        trial.losses += 1
    if (trial.halvings if reason == Reason.OUT_OF_MEMORY else trial.losses) >= tries:
        return False
    release(session, job, trial, reason, error)
    return True


def reap(store: Store) -> int:
    """Requeues the trials whose leases have run out, or fails those that were lost too often; returns how many."""
    with store.read() as session:
        expired = session.connection().execute(_EXPIRED).all()
    reaped = 0
    for trial_id, job_id in expired:
        with suppress(LeaseLost), store.write() as session:  # a job that was deleted has no trials to be lost
            reaped += _lose(session, locked(session, job_id), trial_id)
    return reaped


def _lose(session: Session, job: Job, trial_id: int) -> bool:
    """Takes a trial of a job whose row is locked from a worker that was not heard of; whether it was still so."""
    trial = session.get_one(Trial, trial_id, with_for_update=True, populate_existing=True)
    if trial.state != TrialState.RUNNING or trial.lease_until is None or trial.lease_until >= now(session):
        return False
    trial.losses += 1
    metrics.count(session, "leases_lost", "")
    if trial.losses < MAX_LOSSES:
        release(session, job, trial, Reason.LOST)
    else:
        text = f"its worker vanished {MAX_LOSSES} times without finishing an epoch"
        end(session, job, trial, TrialState.FAILED, Reason.LOST, text)
    return True


def attach(session: Session, claim: Claim, kind: str, stored: Stored) -> str | None:
    """Records a file of a trial; returns the sha256 of the one it replaces. Raises LeaseLost."""
    if _written(session).execute(_STILL, _named(claim)).first() is None:
        raise _lost(claim)
    return record(session, claim.trial_id, kind, stored)


def release(session: Session, job: Job, trial: Trial, reason: Reason, error: str | None = None) -> None:
    """Gives a running trial of a job whose row is locked back to the queue; its worker finds the lease lost."""
    note_setback(session, job, trial, reason, error, again=True)
    leave(trial, now(session))
    move(session, job, trial, TrialState.QUEUED)


_EXPIRED = (
    select(Trial.id, Trial.job_id)
    .join(Job, Job.id == Trial.job_id)
    .where(Trial.state == TrialState.RUNNING, Trial.lease_until < CLOCK)
    .where(Job.engine != "ray")  # nas.store.drivers.reap: their driver was lost, which is no fault of theirs
    .limit(100)
)
_RUNG = update(Trial).where(Trial.id == bindparam("trial")).values(rungs=bindparam("rungs"))
_END = (
    update(Trial)
    .where(*HELD)
    .values(
        state=bindparam("to"),
        reason=bindparam("why"),
        error=bindparam("text"),
        lease_until=None,
        finished_at=bindparam("at"),
        changed=bindparam("version"),
        peak_bytes=func.coalesce(bindparam("peak", type_=Trial.peak_bytes.type), Trial.peak_bytes),
        spent=func.coalesce(bindparam("spent", type_=JSON(none_as_null=True)), Trial.spent),
    )
    .returning(Trial.accuracy)
)
_ENDED = (
    update(Job)
    .where(Job.id == bindparam("job"))
    .values(
        version=Job.version + 1, failures_in_row=case((bindparam("own", type_=Boolean()), 0), else_=Job.failures_in_row)
    )
    .returning(Job.id, Job.version, Job.best_accuracy, Job.spec, CLOCK.label("moment"))
)
_STILL = select(Trial.id).where(*HELD).with_for_update()
_FENCE = select(Trial).where(*HELD).with_for_update().execution_options(populate_existing=True)


def _fenced(session: Session, claim: Claim, **values: Any) -> None:
    """Writes to a trial only as long as the claim holds. Raises LeaseLost."""
    written = update(Trial).where(*HELD).values(values).returning(Trial.id)
    if _written(session).execute(written, _named(claim)).first() is None:
        raise _lost(claim)


def _named(claim: Claim) -> dict[str, Any]:
    return {"trial": claim.trial_id, "held": claim.attempt}


def _written(session: Session) -> Connection:
    """Where statements are executed that pass the session's objects by; what was changed in those is written first."""
    session.flush()
    return session.connection()


def _lost(claim: Claim) -> LeaseLost:
    text = f"trial {claim.number} of job {claim.job_id} is no longer this worker's (attempt {claim.attempt})"
    return LeaseLost(text)
