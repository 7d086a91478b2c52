"""What a user may do to a job after it was asked for: pause, resume, extend, change, delete it."""

from collections.abc import Mapping
from math import inf
from typing import Any, Final

from sqlalchemy import delete as delete_rows
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from nas.errors import IllegalTransition, InvalidInput, NotReady, TooMany
from nas.spec import BudgetSpec, JobSpec
from nas.store import clock, files, jobs, moves, trials
from nas.store.numbering import index_of
from nas.store.session import now
from nas.store.states import (
    BUSY_TRIAL,
    ENDED_JOB,
    FINALS,
    FINISHED_TRIAL,
    PREPARATION,
    SEARCHING,
    JobState,
    Phase,
    Reason,
    TrialState,
    advance,
    standing,
)
from nas.store.tables import Artifact, Base, Epoch, Incumbent, Job, Line, Setback, Tally, Trial

OPEN: Final = (JobState.QUEUED, JobState.RUNNING, JobState.FINALIZING)
"""States of a job that counts against its owner's limit; a paused one counts again when it is resumed."""

OPEN_RETRY_S: Final = 60.0
"""When it is worth asking again whether one of the owner's jobs has ended."""

OF_TRIALS: Final[tuple[type[Base], ...]] = (Line, Setback, Epoch, Artifact)
OF_JOBS: Final[tuple[type[Base], ...]] = (Incumbent, Tally, Trial)
"""Tables whose rows go with a trial, and with a job, in the order in which they refer to each other."""


def admit(session: Session, owner: str, most: int) -> None:
    """Makes sure that an owner may have another open job; until the transaction ends, no other one can ask that.

    Args:
        session: of the transaction that makes the job, or lets it go on.
        owner: of the job.
        most: open jobs that an owner may have; 0: no limit.

    Raises:
        TooMany: they have as many.
    """
    if not most:
        return
    if session.get_bind().dialect.name == "postgresql":  # a transaction that writes is alone in SQLite anyway
        session.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"open jobs of {owner}"))))
    count = session.scalar(select(func.count()).where(Job.owner == owner, Job.state.in_(OPEN))) or 0
    if count >= most:
        mend = "wait for one to end, or cancel or pause one"
        raise TooMany(f"{count} jobs of {owner} wait or run, and {most} may (NAS_MAX_OPEN_JOBS); {mend}", OPEN_RETRY_S)


def pause(session: Session, job_id: str) -> Job:
    """Lets a job rest where it is; a second time changes nothing.

    Its running trials go back to the queue, free of charge and with their checkpoints; their workers find the leases
    lost.

    Raises:
        NotFound: there is no such job.
        IllegalTransition: it has ended.
    """
    job = jobs.lock(session, job_id)
    if job.state == JobState.PAUSED:
        return job
    before = job.state
    advance(job, JobState.PAUSED)
    job.resumes = before
    clock.stop(job, now(session))
    moves.touch(job, itself=True)
    _release(session, job, tuple(Phase))
    return job


def resume(session: Session, job_id: str, most_open: int = 0) -> Job:
    """Lets a paused job go on exactly where it was; of a job that is not paused nothing changes.

    Raises:
        NotFound: there is no such job.
        IllegalTransition: it has ended.
        TooMany: see admit.
    """
    job = jobs.lock(session, job_id)
    if job.state in ENDED_JOB:
        raise IllegalTransition(f"job {job_id}", job.state, JobState.RUNNING)
    if job.state != JobState.PAUSED:
        return job
    admit(session, job.owner, most_open)
    advance(job, standing(job))
    job.resumes = None
    clock.go(job, now(session))
    moves.touch(job, itself=True)
    return job


def change(session: Session, job_id: str, changes: Mapping[str, Any]) -> Job:
    """Gives a job another `name` or `priority`, whatever its state. Raises NotFound."""
    job = jobs.lock(session, job_id)
    if "name" in changes:
        job.name = changes["name"]
    if "priority" in changes:
        job.priority = changes["priority"]
    job.spec = job.spec | dict(changes)
    moves.touch(job, itself=True)
    return job


def extend(session: Session, job_id: str, changes: Mapping[str, Any], most_open: int = 0) -> Job:
    """Raises the budget of a job, and takes its search up again if that was over.

    What was searched stays, and so do verdict and model until the new ones are verified. Of the retrainings those that
    came to an end are used again where the same network is to be retrained in the same way; see nas.store.jobs.go_on.

    Args:
        session, job_id: of the job.
        changes: new values of `trials`, `total_epochs`, `seconds` and `target`; None: no limit any more.
        most_open: see admit.

    Raises:
        NotFound: there is no such job.
        InvalidInput: a value is smaller than it was, or none has grown.
        TooMany: see admit.
    """
    job = jobs.lock(session, job_id)
    before = JobSpec.model_validate(job.spec).budget
    _check_growth(before, changes)
    if job.state in ENDED_JOB:
        admit(session, job.owner, most_open)
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
        _release(session, job, SEARCHING)  # their claims have the old deadline
    job.spec = job.spec | {"budget": job.spec["budget"] | dict(changes)}
    _plan(session, job)
    _note(session, job, before, changes)
    moves.touch(job, itself=True)
    return job


def drop_checkpoints(session: Session, job_id: str) -> list[str]:
    """Takes the checkpoints of a job's ended trials out of the records; their sha256s, for the files to be deleted."""
    ended = session.scalars(
        select(Artifact.trial_id)
        .join(Trial, Trial.id == Artifact.trial_id)
        .where(Trial.job_id == job_id, Trial.state.in_(FINISHED_TRIAL), Artifact.kind == "checkpoint")
        .order_by(Artifact.trial_id)
    ).all()
    found = [files.forget(session, trial_id, "checkpoint") for trial_id in ended]
    return [sha256 for sha256 in found if sha256]


def delete(session: Session, job_id: str, *, force: bool = False) -> list[str]:
    """Deletes a job that has ended, with all its rows; a worker that still has a trial of it finds its lease lost.

    Args:
        session, job_id: of the job.
        force: whether one that has not ended is cancelled first.

    Returns:
        The sha256s that it referred to: those files can go that nothing else refers to.

    Raises:
        NotFound: there is no such job.
        NotReady: it has not ended.
    """
    job = jobs.lock(session, job_id)
    if job.state not in ENDED_JOB and not force:
        mend = f"cancel it first with POST /v1/jobs/{job_id}/cancel, or DELETE it with ?force=true"
        raise NotReady(f"job {job_id} is {job.state} and cannot be deleted yet; {mend}")
    moves.cancel_all(session, job)  # locks what a worker may still write to
    own = select(Trial.id).where(Trial.job_id == job_id)
    found = set(session.scalars(select(Artifact.sha256).where(Artifact.trial_id.in_(own)).distinct()))
    source = (job.spec.get("transfer") or {}).get("weights")
    session.flush()
    for table in OF_TRIALS:
        session.execute(delete_rows(table).where(table.__table__.c.trial_id.in_(own)))
    for table in OF_JOBS:
        session.execute(delete_rows(table).where(table.__table__.c.job_id == job_id))
    session.execute(delete_rows(Job).where(Job.id == job_id))
    return sorted(found | ({source} if source else set()))


def _release(session: Session, job: Job, phases: tuple[Phase, ...]) -> None:
    """Gives the running trials of a job whose row is locked back to the queue."""
    running = session.scalars(
        select(Trial)
        .where(Trial.job_id == job.id, Trial.state == TrialState.RUNNING, Trial.phase.in_(phases))
        .order_by(Trial.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    for trial in running:
        trials.release(session, job, trial, Reason.PREEMPTED)


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
        note += jobs.EARLIER
    job.note = f"{job.note}; {note}" if job.note else note


def _said(value: float | None) -> str:
    return "no limit" if value is None else f"{value:,}"


def _searched(session: Session, job: Job) -> int:
    return sum(_count(session, job, state) for state in TrialState)


def _count(session: Session, job: Job, state: TrialState) -> int:
    tally = session.get(Tally, (job.id, Phase.SEARCH, state), populate_existing=True)
    return 0 if tally is None else tally.count
