"""The clock of a job: it stands while the job is paused, and between its end and the extension of its budget."""

from datetime import datetime, timedelta

from nas.store.tables import Job


def elapsed_s(job: Job, moment: datetime) -> float:
    """Seconds that a job has had until that moment, from its first trial on; 0 before that."""
    if job.started_at is None:
        return 0.0
    until = job.finished_at or job.paused_at or moment
    return max(0.0, (until - job.started_at).total_seconds() - job.paused_s)


def time_at(job: Job, seconds: float) -> datetime | None:
    """When a job that runs has had so many seconds, if it is not paused before; None of one that has not begun."""
    return None if job.started_at is None else job.started_at + timedelta(seconds=job.paused_s + seconds)


def stop(job: Job, moment: datetime) -> None:
    """Stops the clock of a job whose row is locked, for a pause."""
    job.paused_at = moment


def go(job: Job, moment: datetime) -> None:
    """Lets the clock of a job whose row is locked go on, after a pause or an end."""
    stood = job.finished_at or job.paused_at
    if stood is not None and job.started_at is not None:
        job.paused_s += (moment - stood).total_seconds()
    job.finished_at = job.paused_at = None
