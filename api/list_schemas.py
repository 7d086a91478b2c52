"""What the API answers about many jobs at once."""

from typing import Self

from pydantic import BaseModel, Field

from api.dashboard_schemas import TEXT_SHOWN, clipped
from api.schemas import JobHead
from nas.store.overview import SPARK, Overview


class JobSummary(JobHead):
    """A job in a list."""

    reason: str | None = Field(description=f"the first {TEXT_SHOWN} characters")
    phase: str = Field(description="the phase that is under way; `done` when the job has ended")
    progress: float = Field(description="from 0 to 1: what the dashboard calls fraction")
    spark: list[float] = Field(description=f"accuracies of {SPARK} incumbents at the most, the last one the best")

    @classmethod
    def of(cls, found: Overview) -> Self:
        """From what the store read."""
        return cls(
            **cls.fields_of(found.job, found.metric),
            reason=clipped(found.job.reason),
            phase=found.phase,
            progress=found.fraction,
            spark=found.spark,
        )


class JobPage(BaseModel):
    """Jobs, newest first."""

    items: list[JobSummary]
    next_cursor: str | None
