"""What the API answers, as models: they make the OpenAPI document."""

from datetime import datetime
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel, Field

from nas.errors import GenotypeError
from nas.space import Candidate, Genotype, to_text
from nas.store.dashboard import Dashboard
from nas.store.tables import Epoch, Job, Trial

DARTS = "the genotype in the DARTS text format; null for other architectures, and where a node has not two edges"


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


class TrialSummary(BaseModel):
    """A trial in a list. `accuracy` is on validation, after `epoch` epochs."""

    number: int
    phase: str
    state: str
    reason: str | None
    accuracy: float | None
    epoch: int
    epochs: int
    params: int | None
    macs: int | None
    latency_ms: float | None = Field(None, description="of a forward pass, where the job limits it")
    memory_mb: float | None = Field(None, description="peak of a forward pass, where the job limits it")
    seed_index: int
    attempt: int
    worker: str | None
    digest: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, trial: Trial) -> Self:
        """From a row."""
        fields = {name: getattr(trial, name) for name in TrialSummary.model_fields if name != "worker"}
        return cls(**fields, worker=trial.owner)


class EpochRow(BaseModel):
    """One epoch of a trial."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    lr: float
    seconds: float
    metrics: dict[str, float] | None = Field(None, description="everything measured on the validation split")


class TrialDetail(TrialSummary):
    """A trial with what it trained, every epoch, and the traceback if it failed."""

    candidate: dict[str, Any] | None
    darts: str | None = Field(description=DARTS)
    error: str | None
    curve: list[EpochRow]

    @classmethod
    def of_rows(cls, trial: Trial, epochs: list[Epoch]) -> Self:
        """From rows."""
        return cls(
            **TrialSummary.of(trial).model_dump(),
            candidate=trial.candidate,
            darts=darts_text(trial),
            error=trial.error,
            curve=[EpochRow.model_validate(epoch, from_attributes=True) for epoch in epochs],
        )


class TrialPage(BaseModel):
    """Trials in the order asked for."""

    items: list[TrialSummary]
    next_cursor: str | None


class DashboardJob(BaseModel):
    """The job itself. `phase`: search, finalist, control, reference, report, done."""

    id: str
    name: str | None
    state: str
    phase: str
    reason: str | None
    note: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    engine: str
    strategy: str
    dataset: str


class DashboardProgress(BaseModel):
    """`fraction` of all epochs, retraining included; `trials_…` are search trials."""

    fraction: float
    trials_finished: int
    trials_planned: int
    elapsed_s: float
    eta_s: float | None


class DashboardBest(BaseModel):
    """The incumbent, in the end the winner; `accuracy` is on validation, `verdict` has test."""

    trial: int
    accuracy: float | None
    params: int | None
    macs: int | None
    genotype: dict[str, Any] | None = Field(description="the two cells; null for other architectures")
    candidate: dict[str, Any] = Field(description="architecture, frame and what was chosen of the recipe")


class DashboardIncumbent(BaseModel):
    """A trial that was the best when it ended, `at_s` seconds after the job's start."""

    trial: int
    at_s: float
    accuracy: float


class DashboardRunning(BaseModel):
    """A trial at work."""

    trial: int
    phase: str
    worker: str | None
    epoch: int
    epochs: int
    accuracy: float | None


class DashboardView(BaseModel):
    """The one endpoint to poll. `counts` are of all trials by state, `phases` finished and planned by phase."""

    job: DashboardJob
    progress: DashboardProgress
    counts: dict[str, int]
    phases: dict[str, dict[str, int]]
    best: DashboardBest | None
    incumbents: list[DashboardIncumbent]
    running: list[DashboardRunning]
    verdict: dict[str, Any] | None
    waiting: str | None
    links: dict[str, str]

    @classmethod
    def of(cls, shown: Dashboard) -> Self:
        """From what the store read."""
        job, best = shown.job, shown.best
        return cls(
            job=DashboardJob(
                **{name: getattr(job, name) for name in ("id", "name", "state", "reason", "note")},
                **{name: getattr(job, name) for name in ("created_at", "started_at", "finished_at")},
                phase=shown.phase,
                engine=job.spec["engine"],
                strategy=job.spec["strategy"],
                dataset=shown.dataset,
            ),
            progress=DashboardProgress.model_validate(shown.progress, from_attributes=True),
            counts=shown.counts,
            phases=shown.phases,
            best=None
            if best is None or best.candidate is None
            else DashboardBest(
                trial=best.number,
                accuracy=best.accuracy,
                params=best.params,
                macs=best.macs,
                genotype=best.candidate.get("genotype"),
                candidate=best.candidate,
            ),
            incumbents=[
                DashboardIncumbent(trial=found.number, at_s=found.at_s, accuracy=found.accuracy)
                for found in shown.incumbents
            ],
            running=[
                DashboardRunning(
                    trial=trial.number,
                    phase=trial.phase,
                    worker=trial.owner,
                    epoch=trial.epoch,
                    epochs=trial.epochs,
                    accuracy=trial.accuracy,
                )
                for trial in shown.running
            ],
            verdict=job.verdict,
            waiting=shown.waiting,
            links=links(job.id),
        )


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
        **{name: f"{self}/{name}" for name in ("dashboard", "trials", "best", "model", "cancel")},
    }


def darts_text(trial: Trial) -> str | None:
    """The DARTS text of a trial's genotype; None where there is none, or none that the format can hold."""
    if trial.candidate is None:
        return None
    architecture = Candidate.from_json(trial.candidate).architecture
    try:
        return to_text(architecture) if isinstance(architecture, Genotype) else None
    except GenotypeError:  # a start in JSON may have nodes of other than two edges
        return None
