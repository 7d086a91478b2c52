"""What a job waits for when none of its trials is running."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from nas.store.states import ACTIVE_JOB
from nas.store.tables import Job


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why nothing of a job is running.

    Attributes:
        reason: no_worker, no_gpu_worker, no_cpu_worker, all_busy, paused, dataset_not_ready or starting.
        text: the same for a person, with what to do about it.
        position: in the queue, from 1; None where there is no queue.
        eta_s: when a worker is expected to take it; None if nobody knows.
    """

    reason: str
    text: str
    position: int | None
    eta_s: float | None


def waiting(session: Session, job: Job, alive: int) -> Waiting:
    """Why nothing is running of a job that has work."""
    if not alive:
        text = "no worker is alive; start one with `nas worker`, or more with `nas serve --workers N`"
        return Waiting("no_worker", text, None, None)
    earlier = session.scalar(
        select(func.count()).select_from(Job).where(Job.state.in_(ACTIVE_JOB), Job.created_at < job.created_at)
    )
    if earlier:
        text = f"{earlier} earlier job{'s' if earlier > 1 else ''} first: workers take the oldest job that has work"
        return Waiting("all_busy", text, earlier + 1, None)
    return Waiting("starting", "a worker takes it within seconds", 1, None)
