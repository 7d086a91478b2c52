"""A job's budget is raised: its search goes on, or is taken up again where it ended."""

from collections.abc import Mapping
from math import inf
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from nas.errors import InvalidInput
from nas.spec import BudgetSpec
from nas.store import clock, control, jobs, moves, phases
from nas.store.numbering import index_of
from nas.store.session import now
from nas.store.specs import spec_of
from nas.store.states import (
    BUSY_TRIAL,
    ENDED_JOB,
    FINALS,
    PREPARATION,
    SEARCHING,
    JobState,
    Phase,
    Reason,
    TrialState,
    advance,
    standing,
)
from nas.store.tables import Incumbent, Job, Tally, Trial


def extend(session: Session, job_id: str, changes: Mapping[str, Any], most_open: int = 0) -> Job:
    """Raises the budget of a job, and takes its search up again if that was over.

    What was searched stays, and so do verdict and model until the new ones are verified. Of the retrainings those that
    came to an end are used again where the same network is to be retrained in the same way; see nas.store.phases.go_on.

    Args:
        session, job_id: of the job.
        changes: new values of `trials`, `total_epochs`, `seconds` and `target`; None: no limit any more.
        most_open: see nas.store.control.admit.

    Raises:
        NotFound: there is no such job.
        InvalidInput: a value is smaller than it was, or none has grown.
        TooMany: see nas.store.control.admit.
    """
    job = jobs.lock(session, job_id)
    before = spec_of(job).budget
    _check_growth(before, changes)
    if job.state in ENDED_JOB:
        control.admit(session, job.owner, most_open)
        clock.go(job, now(session))
        advance(job, JobState.RUNNING)
        job.started_at = job.started_at or now(session)
        job.reason, job.failures_in_row = None, 0
        _prepare_again(session, job)
    elif standing(job) == JobState.FINALIZING:
        _cancel_finals(session, job)
        if job.state == JobState.PAUSED:
            job.resumes = JobState.RUNNING
        else:
            advance(job, JobState.RUNNING)
    elif "seconds" in changes:
        control.release(session, job, SEARCHING)  # their claims have the old deadline
    job.spec = job.spec | {"budget": job.spec["budget"] | dict(changes)}
    _plan(session, job)
    _note(session, job, before, changes)
    moves.touch(job, itself=True)
    return job


def _check_growth(budget: BudgetSpec, changes: Mapping[str, Any]) -> None:
    fields = ("trials", "total_epochs", "seconds", "target")
    if not changes:
        raise InvalidInput("body", {}, f"name what is to grow: {', '.join(fields)}")
    grown = False
    for name, value in changes.items():
        if name == "trials" and value is None:
            raise InvalidInput(name, value, f"a number above {budget.trials}, which the job has")
        old = getattr(budget, name)
        given, had = inf if value is None else value, inf if old is None else old
        if given < had:
            limit = "leave it out: the job has no such limit" if old is None else f"at least {old:,}, which the job has"
            raise InvalidInput(name, value, f"{limit}; a budget can only grow")
        grown = grown or given > had
    if not grown:
        name, value = next(iter(changes.items()))
        others = ", ".join(field for field in fields if field not in changes)
        raise InvalidInput(name, value, f"the job has that already; name more{f', or {others}' if others else ''}")


def _prepare_again(session: Session, job: Job) -> None:
    """What was to be prepared for a search that never began, and did not come to its end, is queued again."""
    if _searched(session, job):
        return
    rows = session.scalars(
        select(Trial).where(Trial.job_id == job.id, Trial.phase.in_(PREPARATION)).order_by(Trial.number)
    ).all()
    done = {trial.seed_index for trial in rows if trial.state == TrialState.COMPLETE}
    for trial in rows:
        if trial.seed_index not in done:
            done.add(trial.seed_index)
            moves.add(session, job, trial.phase, epochs=trial.epochs, seed_index=trial.seed_index)
    job.prepared = job.next_number


def _cancel_finals(session: Session, job: Job) -> None:
    """Cancels the retrainings that have not ended: which ones are needed is not known before the search is over."""
    left = session.scalars(
        select(Trial)
        .where(Trial.job_id == job.id, Trial.phase.in_(FINALS), Trial.state.in_(BUSY_TRIAL))
        .order_by(Trial.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    for trial in left:
        moves.end(session, job, trial, TrialState.CANCELLED, Reason.CANCELLED, "the job's budget was extended")


def _plan(session: Session, job: Job) -> None:
    """Lets the search go on until it has the trials of its budget, and as many more as came to nothing."""
    searched = _searched(session, job)
    if searched and index_of(job, job.next_number) != searched:  # the retrainings' numbers lie between
        job.searches = [*(job.searches or []), [job.next_number, searched]]
    void = sum(_count(session, job, state) for state in (TrialState.INFEASIBLE, TrialState.CANCELLED))
    job.trials_planned = job.next_number + max(0, job.spec["budget"]["trials"] + void - searched)
    job.search_over = False
    newest = select(Incumbent.number).where(Incumbent.job_id == job.id).order_by(Incumbent.at_s.desc())
    job.best_trial = session.scalar(newest.limit(1))  # the search's own: a verdict's winner need not have scored best


def _note(session: Session, job: Job, before: BudgetSpec, changes: Mapping[str, Any]) -> None:
    words = [f"{name} from {_said(getattr(before, name))} to {_said(value)}" for name, value in changes.items()]
    note = f"extended: {', '.join(words)}"
    if job.verdict is not None:
        note += phases.EARLIER
    job.note = f"{job.note}; {note}" if job.note else note


def _said(value: float | None) -> str:
    return "no limit" if value is None else f"{value:,}"


def _searched(session: Session, job: Job) -> int:
    return sum(_count(session, job, state) for state in TrialState)


def _count(session: Session, job: Job, state: TrialState) -> int:
    tally = session.get(Tally, (job.id, Phase.SEARCH, state), populate_existing=True)
    return 0 if tally is None else tally.count
