"""What the API answers, as models: they make the OpenAPI document. Here those of jobs and of what can be asked for."""

from datetime import datetime
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel, Field

from api.trial_schemas import DARTS
from nas.store.tables import Job


class Created(BaseModel):
    """Answer to POST /v1/jobs."""

    id: str = Field(examples=["3cd14fbb6bd3"])
    state: str = Field(examples=["queued"])
    links: dict[str, str]


class JobSummary(BaseModel):
    """A job in a list."""

    id: str
    name: str | None
    state: str
    dataset: str
    strategy: str
    best_accuracy: float | None = Field(description="validation accuracy of the incumbent")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: dict[str, str]

    @classmethod
    def of(cls, job: Job) -> Self:
        """From a row."""
        return cls(
            id=job.id,
            name=job.name,
            state=job.state,
            dataset=job.spec["dataset"],
            strategy=job.spec["strategy"],
            best_accuracy=job.best_accuracy,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            links=links(job.id),
        )


class JobDetail(JobSummary):
    """A job with all that was asked for, defaults filled in."""

    spec: dict[str, Any]
    reason: str | None
    note: str | None
    verdict: dict[str, Any] | None

    @classmethod
    def of(cls, job: Job) -> Self:
        """From a row."""
        summary = JobSummary.of(job).model_dump()
        return cls(**summary, spec=job.spec, reason=job.reason, note=job.note, verdict=job.verdict)


class JobPage(BaseModel):
    """Jobs, newest first."""

    items: list[JobSummary]
    next_cursor: str | None


class Best(BaseModel):
    """The best network so far, in the end the winner. `accuracy` is on validation, `test_accuracy` of the package."""

    trial: int
    accuracy: float | None
    test_accuracy: float | None
    params: int | None
    macs: int | None
    genotype: dict[str, Any] | None = Field(description="the two cells; null for other architectures")
    candidate: dict[str, Any] = Field(description="architecture, frame and what was chosen of the recipe")
    darts: str | None = Field(description=DARTS)
    verdict: dict[str, Any] | None
    links: dict[str, str]


class Named(BaseModel):
    """Something that can be asked for by name."""

    name: str
    summary: str
    source: str | None = None


class StrategyInfo(Named):
    """A way to choose candidates."""

    default: bool = Field(description="whether a job gets it that names none")
    prepares: str = Field(
        description="what is done once before the search: screening (training-free scores of many candidates), "
        "supernet (the training of one network with shared weights), or nothing"
    )
    options: dict[str, Any] = Field(description="JSON schema of what a job may say as `options`")


class Published(BaseModel):
    """A published genotype: what a job may start from, and what nas.build takes."""

    name: str
    darts: str = Field(description="in the DARTS text format")
    genotype: dict[str, Any]
    source: str
    file: str = Field(description="repository and file that the text was taken from")


Item = TypeVar("Item", bound=BaseModel)


class Items(BaseModel, Generic[Item]):
    """A short list, whole."""

    items: list[Item]


class Health(BaseModel):
    """`ok`, or what is wrong."""

    status: str


def links(job_id: str) -> dict[str, str]:
    """Where everything of a job is."""
    self = f"/v1/jobs/{job_id}"
    return {
        "self": self,
        **{name: f"{self}/{name}" for name in ("dashboard", "trials", "best", "pareto", "model", "cancel")},
    }
