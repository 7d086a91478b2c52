"""How trials come to be, move along their states, and end; every move is counted in the tallies.

Locks are taken in one order everywhere (job, trial, tallies), so that no two transactions wait for each other.
"""

from datetime import datetime
from math import inf
from typing import Any, Final

from sqlalchemy import bindparam, case, select, update
from sqlalchemy.orm import Session

from nas.errors import IllegalTransition, LeaseLost
from nas.objectives import worth
from nas.space import Candidate
from nas.spec import JobSpec
from nas.store import metrics
from nas.store.clock import elapsed_s
from nas.store.session import now
from nas.store.specs import spec_of
from nas.store.states import ACTIVE_TRIAL, TRIAL_NEXT, JobState, Phase, Reason, TrialState, advance
from nas.store.tables import Incumbent, Job, Setback, Tally, Trial

INFEASIBLE_SHARE = 4
"""Networks that break the job's limits cost nothing and do not count; but no more than so many for each trial asked."""

SETBACKS: Final = frozenset(Reason) - {Reason.RUNG, Reason.BUDGET}
"""Reasons that are counted: what a pruner or a budget stops early has come to no bad end."""

SHIFTS = 50
"""Of a trial's earlier attempts the newest ones are kept: one that is given back again and again has no end of them."""

MAX_FAILURES_IN_ROW = 3
"""So many infrastructure failures in a row fail the job: the next trial would fail as well."""


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
    number: int | None = None,
) -> Trial:
    """Adds a queued trial to a job whose row is locked, under the job's next number unless another one is given."""
    trial = Trial(
        job_id=job.id,
        number=job.next_number if number is None else number,
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
    if number is None:
        job.next_number += 1
    touch(job)
    trial.changed = job.version
    session.add(trial)
    session.flush()
    count(session, job.id, phase, None, TrialState.QUEUED)
    return trial


def touch(job: Job, *, itself: bool = False) -> None:
    """Counts a change that can be seen of a job whose row is locked; whether the job itself is what changed."""
    job.version += 1
    if itself:
        job.changed = job.version


def cancel_all(session: Session, job: Job) -> None:
    """Cancels what has not ended of a job whose row is locked; the workers find their leases lost."""
    active = session.scalars(
        select(Trial).where(Trial.job_id == job.id, Trial.state.in_(ACTIVE_TRIAL)).order_by(Trial.id).with_for_update()
    ).all()
    for trial in active:
        trial.lease_until = None
        trial.finished_at = now(session)
        trial.reason = Reason.CANCELLED
        note_setback(session, job, trial, Reason.CANCELLED, None, again=False)
        move(session, job, trial, TrialState.CANCELLED)


def fail(session: Session, job: Job, reason: str) -> None:
    """Fails a job whose row is locked, with all that is left of it."""
    advance(job, JobState.FAILED)
    touch(job, itself=True)
    job.reason = reason
    job.finished_at = now(session)
    cancel_all(session, job)


def locked(session: Session, job_id: str) -> Job:
    """The job of a worker's trial, with its row locked until the transaction ends. Raises LeaseLost without it."""
    job = session.get(Job, job_id, with_for_update=True, populate_existing=True)
    if job is None:
        raise LeaseLost(f"job {job_id} was deleted")
    return job


def end(session: Session, job: Job, trial: Trial, state: TrialState, reason: Reason | None, error: str | None) -> None:
    """Ends a trial of a job whose row is locked, and fails the job after too many failures in a row."""
    moment = now(session)
    trial.reason = reason
    trial.error = error
    trial.lease_until = None
    trial.finished_at = moment
    if reason in SETBACKS:
        note_setback(session, job, trial, reason, error, again=False)
    bad = reason in (Reason.ERROR, Reason.LOST, Reason.DISK_FULL)
    if trial.phase != Phase.RETRAIN:  # which a user asked for, while the job goes its own way
        job.failures_in_row = job.failures_in_row + 1 if bad else 0
    move(session, job, trial, state)
    if trial.phase == Phase.SEARCH and state == TrialState.COMPLETE and trial.accuracy is not None:
        note_complete(session, job, trial, moment)
    if state == TrialState.INFEASIBLE:
        _replace(session, job)
    if bad and trial.phase != Phase.RETRAIN and job.failures_in_row >= MAX_FAILURES_IN_ROW:
        last = (error or "").strip().splitlines()[-1:] or ["no message"]
        fail(session, job, f"{MAX_FAILURES_IN_ROW} trials in a row failed, the last one with: {last[0]}")


def note_setback(session: Session, job: Job, trial: Trial, reason: Reason, error: str | None, *, again: bool) -> None:
    """Counts why an attempt at a trial of a job whose row is locked came to a bad end, and keeps its traceback.

    Args:
        session, job, trial: of it.
        reason, error: why.
        again: whether the trial goes back to the queue.
    """
    ended, tried_again = (job.reasons or {}).get(reason, (0, 0))
    job.reasons = (job.reasons or {}) | {str(reason): [ended + (not again), tried_again + again]}
    metrics.count(session, "setbacks", reason)
    if error is not None or again:
        session.add(
            Setback(
                trial_id=trial.id,
                attempt=trial.attempt,
                reason=reason,
                error=error,
                worker=trial.owner,
                again=again,
                at=now(session),
            )
        )


def leave(trial: Trial, moment: datetime) -> None:
    """Lets nobody have a trial any more, and keeps who had it, from when to when."""
    if trial.owner is not None and trial.began_at is not None:
        shift = [trial.owner, trial.began_at.timestamp(), moment.timestamp()]
        trial.shifts = [*(trial.shifts or ()), shift][-SHIFTS:]
    trial.owner = trial.lease_until = trial.began_at = None


def move(session: Session, job: Job, trial: Trial, to: TrialState) -> None:
    """Moves a trial along TRIAL_NEXT; the only place that assigns the state of a trial that exists."""
    if to not in TRIAL_NEXT[trial.state]:
        raise IllegalTransition(f"trial {trial.number} of job {trial.job_id}", trial.state, to)
    before, trial.state = trial.state, to
    touch(job)
    trial.changed = job.version
    session.flush()
    count(session, trial.job_id, trial.phase, before, to)


def _replace(session: Session, job: Job) -> None:
    """Plans another trial for one that broke a limit, unless the space seems to hold hardly any that do not."""
    count = session.scalar(
        select(Tally.count).where(
            Tally.job_id == job.id, Tally.phase == Phase.SEARCH, Tally.state == TrialState.INFEASIBLE
        )
    )
    if (count or 0) <= INFEASIBLE_SHARE * job.spec["budget"]["trials"]:
        job.trials_planned += 1
    else:
        job.note = f"{count} networks broke the job's limits and were not trained; widen the limits or the space"
    touch(job, itself=True)


def close_search(job: Job, note: str, *, over: bool) -> None:
    """Lets no further trial be added to the search of a job whose row is locked.

    Args:
        job: of the search.
        note: why, for whoever reads the job.
        over: whether those that are paused or running end as well.
    """
    if job.state not in (JobState.QUEUED, JobState.RUNNING):
        return
    if job.trials_planned > job.next_number or (over and not job.search_over):
        job.note = f"{job.note}; {note}" if job.note and note not in job.note else note
    planned, over = min(job.trials_planned, job.next_number), job.search_over or over
    if (planned, over) != (job.trials_planned, job.search_over):
        job.trials_planned, job.search_over = planned, over
        touch(job, itself=True)


def may_stand_out(job: Any, accuracy: float | None) -> bool:
    """Whether a complete trial may change more of its job than counters, by the job's row: note_complete says what."""
    spec = spec_of(job)
    if len(spec.objectives) > 1 or spec.objectives[0].metric != "accuracy" or spec.budget.target is not None:
        return True
    sign = spec.objectives[0].sign
    return accuracy is not None and (job.best_accuracy is None or sign * accuracy > sign * job.best_accuracy)


def note_complete(session: Session, job: Job, trial: Trial, moment: datetime) -> None:
    """The incumbents, the front, and the target."""
    spec = spec_of(job)
    score, others = worth(spec.objectives, trial.accuracy, costs_of(trial))
    if score is None or job.started_at is None:
        return
    best = None
    if job.best_trial is not None:
        row = session.scalars(select(Trial).where(Trial.job_id == job.id, Trial.number == job.best_trial)).one()
        best, _ = worth(spec.objectives, row.accuracy, costs_of(row))
    if best is None or score > best:
        touch(job, itself=True)
        job.best_accuracy = trial.accuracy
        job.best_trial = trial.number
        at_s = elapsed_s(job, moment)
        session.add(Incumbent(job_id=job.id, number=trial.number, at_s=at_s, accuracy=trial.accuracy or 0.0))
    if len(spec.objectives) > 1:
        _note_front(session, job, trial, (score, *others), spec)
    if spec.budget.target is not None and trial.accuracy is not None and trial.accuracy >= spec.budget.target:
        note = f"the search ended at trial {trial.number}, which reached the target of {spec.budget.target:g}"
        close_search(job, note, over=True)


def _note_front(session: Session, job: Job, trial: Trial, values: tuple[float, ...], spec: JobSpec) -> None:
    """Keeps the marks of the Pareto set: its members are read, no others."""
    beaten = []
    for member in session.scalars(select(Trial).where(Trial.job_id == job.id, Trial.front)):
        score, others = worth(spec.objectives, member.accuracy, costs_of(member))
        theirs = (score if score is not None else -inf, *others)
        if all(their >= our for their, our in zip(theirs, values, strict=True)):
            return
        if all(our >= their for their, our in zip(theirs, values, strict=True)):
            beaten.append(member)
    for member in beaten:
        member.front = False
    trial.front = True


def costs_of(trial: Trial) -> dict[str, float | None]:
    """Metric → what is known of the trial's network."""
    return {
        "params": trial.params,
        "macs": trial.macs,
        "latency_ms": trial.latency_ms,
        "memory_mb": trial.memory_mb,
    }


_TALLY = (
    update(Tally)
    .where(
        Tally.job_id == bindparam("job"),
        Tally.phase == bindparam("in_phase"),
        Tally.state.in_((bindparam("before"), bindparam("after"))),
    )
    .values(count=Tally.count + case((Tally.state == bindparam("before"), -1), else_=1))
)


def count(session: Session, job_id: str, phase: Phase, before: TrialState | None, after: TrialState) -> None:
    """Counts that a trial of a job whose row is locked went from one state to another; one that is new from None."""
    values = {"job": job_id, "in_phase": phase, "before": before, "after": after}
    session.connection().execute(_TALLY, values)
