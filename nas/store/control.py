"""What a user may do to a job after it was asked for: pause, resume, cancel, change, delete it."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import delete as delete_rows
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from nas.errors import IllegalTransition, NotReady, TooMany
from nas.store import clock, files, jobs, moves, trials
from nas.store.session import now
from nas.store.states import ENDED_JOB, FINISHED_TRIAL, JobState, Phase, Reason, TrialState, advance, standing
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
    release(session, job, tuple(Phase))
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


def cancel(session: Session, job_id: str) -> Job:
    """Cancels a job and what is left of it; a second time changes nothing. Raises NotFound, IllegalTransition."""
    job = jobs.lock(session, job_id)
    if job.state != JobState.CANCELLED:
        advance(job, JobState.CANCELLED)
        moves.touch(job, itself=True)
        clock.go(job, now(session))  # if it was paused
        job.resumes = None
        job.reason = "cancelled by the user"
        job.finished_at = now(session)
        moves.cancel_all(session, job)
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


def release(session: Session, job: Job, phases: tuple[Phase, ...]) -> None:
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
