"""Jobs: what is told of one at once, in a list and alone."""

from typing import Any, TypedDict


class Created(TypedDict):
    """A job that was just asked for."""

    id: str
    state: str
    links: dict[str, str]


class JobHead(TypedDict):
    """What is always told of a job; `best_accuracy` is on validation.

    `metric` says what accuracies are: accuracy, map (mean average precision) or r2.
    """

    id: str
    name: str | None
    owner: str
    state: str
    priority: int
    dataset: str
    strategy: str
    engine: str
    metric: str
    best_accuracy: float | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    links: dict[str, str]


class JobSummary(JobHead):
    """A job in a list; `progress` is from 0 to 1, `spark` the newest incumbents' accuracies."""

    reason: str | None
    phase: str
    progress: float
    spark: list[float]


class JobDetail(JobHead):
    """A job with all that was asked for, defaults filled in."""

    spec: dict[str, Any]
    reason: str | None
    note: str | None
    verdict: dict[str, Any] | None


class JobPage(TypedDict):
    """Jobs, newest first."""

    items: list[JobSummary]
    next_cursor: str | None
