"""What the API answers about trials."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, Field

from nas.errors import GenotypeError
from nas.objectives import ObjectiveForm
from nas.space import Candidate, Genotype, to_text
from nas.store.pareto import Member
from nas.store.tables import Epoch, Setback, Trial

DARTS = "the genotype in the DARTS text format; null for other architectures, and where a node has not two edges"
METRIC = "what an `accuracy` is here: the task's score, accuracy, map or r2"


class TrialSummary(BaseModel):
    """A trial in a list. `accuracy` is on validation, after `epoch` epochs."""

    number: int
    phase: str
    state: str
    reason: str | None
    accuracy: float | None
    epoch: int
    epochs: int
    stage: int = Field(description="the epoch at which it is compared with others next; 0 if it is not")
    rungs: list[tuple[int, float]] = Field(description="[epoch, accuracy] wherever it was compared with others")
    front: bool = Field(description="whether it is of the Pareto set of a job with several objectives")
    params: int | None
    macs: int | None
    latency_ms: float | None = Field(None, description="of a forward pass, where it is a limit or an objective")
    memory_mb: float | None = Field(None, description="peak of a forward pass, where it is a limit or an objective")
    seed_index: int
    attempt: int
    worker: str | None
    cached: bool = Field(description="whether it was taken over from a training that was paid for before")
    digest: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, trial: Trial) -> Self:
        """From a row."""
        others = {"worker": trial.owner, "rungs": trial.rungs or [], "cached": trial.cached_from is not None}
        fields = {name: getattr(trial, name) for name in TrialSummary.model_fields if name not in others}
        return cls(**fields, **others)


class EpochRow(BaseModel):
    """One epoch of a trial."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    lr: float
    seconds: float
    metrics: dict[str, Any] | None = Field(
        None, description="everything measured on the validation split; of a supernet also what it would hand over"
    )


class SetbackRow(BaseModel):
    """An attempt at a trial that came to a bad end."""

    attempt: int
    reason: str
    error: str | None = Field(description="what was raised; of an error in code its traceback")
    worker: str | None
    again: bool = Field(description="whether the trial was tried again")
    at: datetime


class TrialDetail(TrialSummary):
    """A trial with what it trained, every epoch, and the traceback if it failed."""

    metric: str = Field(description=METRIC)
    candidate: dict[str, Any] | None
    darts: str | None = Field(description=DARTS)
    error: str | None
    setbacks: list[SetbackRow] = Field(description="attempts that came to a bad end, the newest last")
    cached_from: str | None = Field(description="JOB/NUMBER of the trial whose training was taken over")
    curve: list[EpochRow]
    spent: dict[str, float] | None = Field(
        description="what the last attempt's time went into → seconds: prepare, train, validate, write, other; "
        "null before the trial has ended, and of trials of an older version"
    )
    waited_s: float | None = Field(description="in the queue before its first attempt; null while it is there")
    links: dict[str, str]

    @classmethod
    def of_rows(cls, trial: Trial, epochs: Sequence[Epoch], setbacks: Sequence[Setback], metric: str) -> Self:
        """From rows; `metric` is the score of the job's task."""
        return cls(
            **TrialSummary.of(trial).model_dump(),
            metric=metric,
            candidate=trial.candidate,
            darts=darts_text(trial),
            error=trial.error,
            setbacks=[SetbackRow.model_validate(setback, from_attributes=True) for setback in setbacks],
            cached_from=trial.cached_from,
            curve=[EpochRow.model_validate(epoch, from_attributes=True) for epoch in epochs],
            spent=trial.spent,
            waited_s=None if trial.started_at is None else (trial.started_at - trial.created_at).total_seconds(),
            links=trial_links(trial),
        )


class LogLine(BaseModel):
    """Something that an attempt at a trial has logged."""

    at: datetime
    attempt: int
    level: str = Field(description="INFO, WARNING, ERROR or CRITICAL")
    text: str = Field(description="may have several lines, as tracebacks do")


class TrialLog(BaseModel):
    """The log of a trial, the oldest line first."""

    items: list[LogLine]
    cut: bool = Field(description="whether there were others before them, which are not kept")


class TrialPage(BaseModel):
    """Trials in the order asked for."""

    metric: str = Field(description=METRIC)
    items: list[TrialSummary]
    next_cursor: str | None


class Retraining(BaseModel):
    """Answer to POST …/retrain: the trial that does it; when it is complete, `links.model` has its package."""

    trial: int = Field(examples=[1_000_000])
    state: str = Field(examples=["queued"])
    links: dict[str, str]

    @classmethod
    def of(cls, trial: Trial) -> Self:
        """From a row."""
        links = trial_links(trial)
        return cls(trial=trial.number, state=trial.state, links={name: links[name] for name in ("self", "model")})


class Objective(BaseModel):
    """One thing that a job looks for."""

    metric: str
    direction: str = Field(description="maximize or minimize")

    @classmethod
    def of(cls, objective: ObjectiveForm) -> Self:
        """From the spec's."""
        return cls(metric=objective.metric, direction=objective.direction)


class ParetoMember(BaseModel):
    """A network that no other one is as good as in all objectives."""

    trial: int
    values: dict[str, float | None] = Field(description="of each objective")
    genotype: dict[str, Any] | None = Field(description="the two cells; null for other architectures")
    candidate: dict[str, Any] = Field(description="architecture, frame and what was chosen of the recipe")
    darts: str | None = Field(description=DARTS)
    links: dict[str, str] = Field(description="`model` to download it, or `retrain` to POST to where there is none yet")

    @classmethod
    def of(cls, member: Member) -> Self:
        """From what the store read."""
        trial, links = member.trial, trial_links(member.trial)
        candidate = trial.candidate or {}
        return cls(
            trial=trial.number,
            values=member.values,
            genotype=candidate.get("genotype"),
            candidate=candidate,
            darts=darts_text(trial),
            links={name: links[name] for name in ("self", "model" if member.packaged else "retrain")},
        )


class Pareto(BaseModel):
    """The Pareto set, the best by the first objective first; of a job of one objective its best network."""

    metric: str = Field(description=METRIC)
    objectives: list[Objective]
    items: list[ParetoMember]


def trial_links(trial: Trial) -> dict[str, str]:
    """Where everything of a trial is."""
    self = f"/v1/jobs/{trial.job_id}/trials/{trial.number}"
    return {"self": self, **{name: f"{self}/{name}" for name in ("retrain", "model", "logs")}}


def darts_text(trial: Trial) -> str | None:
    """The DARTS text of a trial's genotype; None where there is none, or none that the format can hold."""
    if trial.candidate is None:
        return None
    architecture = Candidate.from_json(trial.candidate).architecture
    try:
        return to_text(architecture) if isinstance(architecture, Genotype) else None
    except GenotypeError:  # a start in JSON may have nodes of other than two edges
        return None
