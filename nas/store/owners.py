"""Whose a job is, what an owner has stored, and whether that leaves room for more."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from nas.errors import TooLarge
from nas.store.tables import Artifact, Dataset, Job, Trial


def owner_of(session: Session, job_id: str) -> str | None:
    """The owner of a job; None if there is no such job."""
    return session.scalar(select(Job.owner).where(Job.id == job_id))


def stored_bytes(session: Session, owner: str) -> int:
    """The bytes of an owner's data sets, and of the files of their jobs."""
    data = select(func.coalesce(func.sum(Dataset.size_bytes), 0)).where(Dataset.owner == owner).scalar_subquery()
    files = (
        select(func.coalesce(func.sum(Artifact.size_bytes), 0))
        .join(Trial, Trial.id == Artifact.trial_id)
        .join(Job, Job.id == Trial.job_id)
        .where(Job.owner == owner)
        .scalar_subquery()
    )
    return int(session.execute(select(data + files)).scalar_one())


def check_room(session: Session, owner: str, most_bytes: int, more_bytes: int = 0) -> None:
    """Whether an owner may store that much more; with 0 bytes more, whether there is any room.

    Args:
        session: any.
        owner: who wants to.
        most_bytes: that they may have altogether; 0: no limit.
        more_bytes: that would come.

    Raises:
        TooLarge: it is too much; the message says how to make room.
    """
    if most_bytes == 0:
        return
    used = stored_bytes(session, owner)
    if used + max(more_bytes, 1) > most_bytes:
        wanted = f", and this would be {more_bytes:,} more" if more_bytes else ""
        mend = "delete jobs (DELETE /v1/jobs/ID) or data sets (DELETE /v1/datasets/NAME) that are needed no more"
        raise TooLarge(f"{owner} has {used:,} of {most_bytes:,} bytes stored{wanted}; {mend}")
