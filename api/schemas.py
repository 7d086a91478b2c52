"""What the API answers, as models: they make the OpenAPI document. Here those of jobs and of what can be asked for."""

from datetime import datetime
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError
from sqlalchemy.orm import Session

from api.trial_schemas import DARTS, METRIC
from nas.spec import MAX_TRIALS, JobName
from nas.store.specs import metric_of
from nas.store.tables import Job
from nas.strict import Strict


class Created(BaseModel):
    """Answer to POST /v1/jobs."""

    id: str = Field(examples=["3cd14fbb6bd3"])
    state: str = Field(examples=["queued"])
    links: dict[str, str]


class JobHead(BaseModel):
    """What there is to say of a job in a line."""

    id: str
    name: str | None
    owner: str
    state: str
    priority: int
    dataset: str
    strategy: str
    engine: str = Field(description="what runs its trials: optuna or ray")
    metric: str = Field(description="what `best_accuracy` is: the task's score, accuracy, map or r2")
    best_accuracy: float | None = Field(description="score of the incumbent on validation")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: dict[str, str]

    @classmethod
    def fields_of(cls, job: Job, metric: str) -> dict[str, Any]:
        """What a row says of them; `metric` is the score of its task."""
        return {
            "id": job.id,
            "name": job.name,
            "owner": job.owner,
            "state": job.state,
            "priority": job.priority,
            "dataset": job.spec["dataset"],
            "strategy": job.spec["strategy"],
            "engine": job.engine,
            "metric": metric,
            "best_accuracy": job.best_accuracy,
            "created_at": job.created_at,
            "started_at": job.started_at,
            "finished_at": job.finished_at,
            "links": links(job.id),
        }


class JobDetail(JobHead):
    """A job with all that was asked for, defaults filled in."""

    spec: dict[str, Any]
    reason: str | None
    note: str | None
    verdict: dict[str, Any] | None

    @classmethod
    def of(cls, session: Session, job: Job) -> Self:
        """From a row."""
        head = cls.fields_of(job, metric_of(session, job))
        return cls(**head, spec=job.spec, reason=job.reason, note=job.note, verdict=job.verdict)


class Changes(Strict):
    """What is to be otherwise; a field that is left out stays as it is."""

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        unknown = [name for name in value if name not in cls.model_fields] if isinstance(value, dict) else []
        if unknown:
            mend = f"there is no such field; allowed: {', '.join(cls.model_fields)}"
            error = PydanticCustomError("no_such_field", "{mend}", {"mend": mend})
            details = [InitErrorDetails(type=error, loc=(name,), input=value[name]) for name in unknown]
            raise ValidationError.from_exception_data(cls.__name__, details)
        return value


class Extension(Changes, json_schema_extra={"minProperties": 1}):
    """A larger budget: the new values, none below the old one."""

    trials: int | None = Field(None, ge=1, le=MAX_TRIALS, description="architectures to try, with those so far")
    total_epochs: int | None = Field(
        None, ge=1, le=10**8, description="epochs of all trials of the search, with those so far; null: no limit"
    )
    seconds: float | None = Field(
        None, gt=0, le=31_536_000, description="wall clock of the whole job, with what it has had; null: no limit"
    )
    target: float | None = Field(
        None, ge=-1e9, le=1e9, description="the search ends when a trial scores this; null: no target"
    )


class JobChange(Changes):
    """Another name or priority."""

    name: JobName = Field(None, description="for people to recognise the job by")
    priority: int = Field(0, ge=-100, le=100, description="jobs of a higher one get workers first; 0 is usual")


class Best(BaseModel):
    """The best network so far, in the end the winner. `accuracy` is on validation, `test_accuracy` of the package."""

    trial: int
    metric: str = Field(description=METRIC)
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
