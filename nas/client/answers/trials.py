"""Trials: in a list, alone with every epoch, what they logged, and as Optuna knows them."""

from typing import Any, TypedDict


class TrialSummary(TypedDict):
    """A trial in a list; `accuracy` is on validation, after `epoch` epochs."""

    number: int
    phase: str
    state: str
    reason: str | None
    accuracy: float | None
    epoch: int
    epochs: int
    stage: int
    rungs: list[tuple[int, float]]
    front: bool
    params: int | None
    macs: int | None
    latency_ms: float | None
    memory_mb: float | None
    seed_index: int
    attempt: int
    worker: str | None
    cached: bool
    digest: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None


class EpochRow(TypedDict):
    """One epoch of a trial."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    lr: float
    seconds: float
    metrics: dict[str, Any] | None


class Setback(TypedDict):
    """An attempt at a trial that came to a bad end."""

    attempt: int
    reason: str
    error: str | None
    worker: str | None
    again: bool
    at: str


class TrialDetail(TrialSummary):
    """A trial with what it trained, every epoch, where its time went, and the traceback if it failed."""

    metric: str
    candidate: dict[str, Any] | None
    darts: str | None
    error: str | None
    setbacks: list[Setback]
    cached_from: str | None
    spent: dict[str, float] | None
    waited_s: float | None
    curve: list[EpochRow]
    links: dict[str, str]


class TrialPage(TypedDict):
    """Trials in the order asked for."""

    metric: str
    items: list[TrialSummary]
    next_cursor: str | None


class LogLine(TypedDict):
    """A line that a trial has logged."""

    at: str
    attempt: int
    level: str
    text: str


class LogLines(TypedDict):
    """The newest lines of a trial; `cut` says that there were more."""

    items: list[LogLine]
    cut: bool


class StudyTrial(TypedDict):
    """A trial of the search, with the fields of optuna.trial.FrozenTrial."""

    number: int
    state: str
    params: dict[str, str | int | float | bool | None]
    values: list[float] | None
    intermediate_values: dict[str, float]
    datetime_start: str | None
    datetime_complete: str | None
    user_attrs: dict[str, Any]


class StudyPage(TypedDict):
    """Trials of the search in their order; the distributions hold for all of them."""

    directions: list[str]
    metric_names: list[str]
    distributions: dict[str, dict[str, Any]]
    items: list[StudyTrial]
    next_cursor: str | None
