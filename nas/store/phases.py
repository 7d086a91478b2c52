"""How a job goes on from phase to phase after its search: noticed at a standstill, moved on once, ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, exists, func, or_, select, true
from sqlalchemy.orm import Session

from nas.objectives import in_order
from nas.space import Candidate
from nas.spec import JobSpec
from nas.store import files, moves, trials
from nas.store.artifacts import Stored
from nas.store.claims import Claim
from nas.store.jobs import get
from nas.store.numbering import round_of
from nas.store.session import now
from nas.store.specs import spec_of
from nas.store.states import BUSY_TRIAL, ENDED_JOB, FINALS, JobState, Phase, Reason, TrialState, advance
from nas.store.tables import Job, Tally, Trial

EARLIER = "; verdict and model are the earlier ones until it has succeeded again"
"""What the note of an extended job says as long as that is so."""

ENDED_AT_ONCE = 200
"""Paused trials that one transaction ends."""

_PAST = (JobState.FINALIZING, *ENDED_JOB)
"""States of a job whose search is over."""


@dataclass(frozen=True, slots=True)
class NewTrial:
    """A trial of the phases after the search."""

    phase: Phase
    epochs: int
    candidate: Candidate | None = None
    digest: str | None = None
    seed_index: int = 0
    params: int | None = None
    macs: int | None = None


@dataclass(frozen=True, slots=True)
class Standstill:
    """A job with nothing left to run in its phase: whoever sees it moves the job on.

    Attributes:
        next_number: of the job when it was seen; a job that has moved since has another one.
        finals: the trials of the phases after its search; of one that was taken up again, those since then.
    """

    job_id: str
    state: JobState
    next_number: int
    spec: JobSpec
    dataset_id: int
    finals: tuple["FinalTrial", ...]


@dataclass(frozen=True, slots=True)
class FinalTrial:
    """A trial that the phases after the search choose among."""

    trial_id: int
    number: int
    phase: Phase
    state: TrialState
    candidate: Candidate | None
    digest: str | None
    seed_index: int
    accuracy: float | None
    params: int | None
    macs: int | None
    epochs: int = 0
    error: str | None = None


def standstill(session: Session, job_id: str | None = None) -> Standstill | None:
    """A job, or that one, that waits to be moved on: nothing is queued or running, and the search adds no more."""
    busy = exists().where(
        Tally.job_id == Job.id, Tally.phase != Phase.RETRAIN, Tally.state.in_(BUSY_TRIAL), Tally.count > 0
    )
    job = session.scalars(
        select(Job)
        .where(
            or_(
                and_(
                    Job.state == JobState.RUNNING, or_(Job.next_number >= Job.trials_planned, Job.search_over.is_(True))
                ),
                Job.state == JobState.FINALIZING,
            ),
            ~busy,
            true() if job_id is None else Job.id == job_id,
        )
        .order_by(Job.created_at)
        .limit(1)
    ).first()
    if job is None:
        return None
    after_search = finals(session, job.id)
    return Standstill(job.id, job.state, job.next_number, spec_of(job), job.dataset_id, tuple(after_search))


def leftover(session: Session) -> str | None:
    """The id of a job whose search is over and that has paused trials still."""
    waiting = exists().where(Tally.job_id == Job.id, Tally.state == TrialState.PAUSED, Tally.count > 0)
    return session.scalar(select(Job.id).where(Job.state.in_(_PAST), waiting).limit(1))


def finals(session: Session, job_id: str) -> list[FinalTrial]:
    """All trials of the phases after the search, by number; if that was taken up again, those since then."""
    job = get(session, job_id)
    since = Trial.round == round_of(job)
    return _finals(session, job_id, select(Trial).where(Trial.job_id == job_id, Trial.phase.in_(FINALS), since))


def best_searched(session: Session, job_id: str, limit: int) -> list[FinalTrial]:
    """The best search trials by the first objective, those of the Pareto set before all others.

    Trials that were not trained to the end count only if none was: then those that came furthest.
    """
    first = in_order(spec_of(get(session, job_id)).objectives)[0]
    merit = {
        "accuracy": Trial.accuracy,
        "params": Trial.params,
        "macs": Trial.macs,
        "latency_ms": Trial.latency_ms,
        "memory_mb": Trial.memory_mb,
    }[first.metric]
    ordered = merit.desc() if first.sign > 0 else merit.asc()
    for states, order in (
        ((TrialState.COMPLETE,), (Trial.front.desc(), ordered)),
        ((TrialState.PRUNED, TrialState.PAUSED), (Trial.epoch.desc(), ordered)),
    ):
        found = _finals(
            session,
            job_id,
            select(Trial)
            .where(
                Trial.job_id == job_id,
                Trial.phase == Phase.SEARCH,
                Trial.state.in_(states),
                Trial.accuracy.is_not(None),
                Trial.digest.is_not(None),
            )
            .order_by(*order)
            .limit(limit),
        )
        if found:
            return found
    return []


def refused(session: Session, job_id: str) -> str | None:
    """What the last network that broke a limit of the job was refused for; None if there was none."""
    return session.scalar(
        select(Trial.error)
        .where(Trial.job_id == job_id, Trial.state == TrialState.INFEASIBLE)
        .order_by(Trial.number.desc())
        .limit(1)
    )


def go_on(session: Session, seen: Standstill, rows: Sequence[NewTrial], note: str | None = None) -> bool:
    """Adds the trials of the next phase, once, whoever saw the standstill; whether it was this call that did."""
    job = _unmoved(session, seen)
    if job is None:
        return False
    if job.state == JobState.RUNNING:
        advance(job, JobState.FINALIZING)
    moves.touch(job, itself=True)  # to another phase at the least
    if note:
        job.note = f"{job.note}; {note}" if job.note else note
    for row in rows:
        _plan(session, job, row)
    return True


def _unmoved(session: Session, seen: Standstill) -> Job | None:
    """The job with its row locked; None if it has moved since it was seen, or was deleted."""
    job = session.get(Job, seen.job_id, with_for_update=True, populate_existing=True)
    if job is None or (job.state, job.next_number) != (seen.state, seen.next_number) or _busy(session, job.id):
        return None
    since = select(func.count()).where(Trial.job_id == job.id, Trial.phase.in_(FINALS), Trial.round == round_of(job))
    return job if session.scalar(since) == len(seen.finals) else None  # what is used again has no new number


def _plan(session: Session, job: Job, row: NewTrial) -> None:
    """Adds a trial, or takes one over that an earlier round of retrainings has brought to its end.

    One that was cancelled, failed, or had other epochs stays as it is; the new one gets the next free seed.
    """
    before = {}
    if row.digest is not None:
        same = select(Trial).where(Trial.job_id == job.id, Trial.phase == row.phase, Trial.digest == row.digest)
        before = {trial.seed_index: trial for trial in session.scalars(same)}
    seed_index = row.seed_index
    while (found := before.get(seed_index)) is not None:
        if found.round != round_of(job) and found.state == TrialState.COMPLETE and found.epochs == row.epochs:
            found.round = round_of(job)
            moves.touch(job)
            found.changed = job.version
            return
        seed_index += 1
    added = moves.add(
        session,
        job,
        row.phase,
        epochs=row.epochs,
        candidate=row.candidate,
        digest=row.digest,
        seed_index=seed_index,
        params=row.params,
        macs=row.macs,
    )
    added.round = round_of(job)


def end_paused(session: Session, job_id: str) -> list[str]:
    """Ends the paused trials of a search that is over; returns the sha256s of their checkpoints, to be deleted."""
    job = session.get(Job, job_id, with_for_update=True, populate_existing=True)
    if job is None or job.state not in _PAST:
        return []
    waiting = session.scalars(
        select(Trial)
        .where(Trial.job_id == job_id, Trial.state == TrialState.PAUSED)
        .order_by(Trial.id)
        .limit(ENDED_AT_ONCE)
        .with_for_update()
    ).all()
    left = []
    for trial in waiting:
        moves.end(session, job, trial, TrialState.PRUNED, Reason.RUNG, None)
        left.append(files.forget(session, trial.id, "checkpoint"))
    return [sha256 for sha256 in left if sha256]


def fail(session: Session, seen: Standstill, reason: str) -> None:
    """Fails a job at a standstill, unless it has moved since."""
    job = _unmoved(session, seen)
    if job is not None:
        moves.fail(session, job, reason)


def succeed(session: Session, claim: Claim, verdict: dict[str, Any], package: Stored, winner_digest: str) -> list[str]:
    """Ends the report trial and its job, with the verdict and the verified package. Raises LeaseLost.

    Returns:
        The sha256s of the packages that this one replaces, where the search was taken up again.
    """
    job = moves.locked(session, claim.job_id)
    trials.attach(session, claim, "package", package)
    trials.finish(session, claim, TrialState.COMPLETE)
    advance(job, JobState.SUCCEEDED)
    moves.touch(job, itself=True)
    job.verdict = verdict
    job.note = job.note.replace(EARLIER, "") if job.note else None
    job.finished_at = now(session)
    job.best_trial = session.scalars(
        select(Trial.number).where(Trial.job_id == job.id, Trial.phase == Phase.SEARCH, Trial.digest == winner_digest)
    ).one()
    earlier = select(Trial.id).where(Trial.job_id == job.id, Trial.phase == Phase.REPORT, Trial.id != claim.trial_id)
    replaced = [files.forget(session, trial_id, "package") for trial_id in session.scalars(earlier).all()]
    return [sha256 for sha256 in replaced if sha256]


def drop(session: Session, claim: Claim, note: str) -> None:
    """Gives a reserved number up, for want of a candidate, and ends the search. Raises LeaseLost."""
    trials.finish(session, claim, TrialState.CANCELLED, error=note)
    moves.close_search(moves.locked(session, claim.job_id), note, over=False)


def _busy(session: Session, job_id: str) -> bool:
    busy = select(func.sum(Tally.count)).where(
        Tally.job_id == job_id, Tally.phase != Phase.RETRAIN, Tally.state.in_(BUSY_TRIAL)
    )
    return bool(session.scalar(busy))


def _finals(session: Session, job_id: str, query: Any) -> list[FinalTrial]:
    frame = spec_of(session.get_one(Job, job_id)).space.shape()
    return [
        FinalTrial(
            trial.id,
            trial.number,
            trial.phase,
            trial.state,
            Candidate.from_json(trial.candidate, frame) if trial.candidate else None,
            trial.digest,
            trial.seed_index,
            trial.accuracy,
            trial.params,
            trial.macs,
            trial.epochs,
            trial.error,
        )
        for trial in session.scalars(query.order_by(Trial.number))
    ]
