"""A job's dashboard, and the networks that it has found."""

from typing import Any, TypedDict


class DashboardJob(TypedDict):
    """The job itself."""

    id: str
    owner: str
    name: str | None
    priority: int
    state: str
    phase: str
    reason: str | None
    note: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    engine: str
    strategy: str
    dataset: str


class Progress(TypedDict):
    """`fraction` of all epochs, retraining included, or of the seconds that the job may take."""

    fraction: float
    trials_finished: int
    trials_planned: int
    elapsed_s: float
    eta_s: float | None


class DashboardBest(TypedDict):
    """The best network so far; `accuracy` is on validation."""

    trial: int
    accuracy: float | None
    params: int | None
    macs: int | None
    genotype: dict[str, Any] | None
    candidate: dict[str, Any] | None


class Incumbent(TypedDict):
    """A trial that was the best when it ended."""

    trial: int
    at_s: float
    accuracy: float


class Member(TypedDict):
    """A member of the Pareto set."""

    trial: int
    values: dict[str, float | None]


class SupernetEpoch(TypedDict):
    """One epoch of a supernet."""

    epoch: int
    accuracy: float
    alpha_entropy: float | None
    skip_share: float | None
    genotype: dict[str, Any] | None


class Supernet(TypedDict):
    """The one network of a one-shot search."""

    trial: int
    state: str
    epoch: int
    epochs: int
    stopped: str | None
    curve: list[SupernetEpoch]


class RunningTrial(TypedDict):
    """A trial at work."""

    trial: int
    phase: str
    worker: str | None
    epoch: int
    epochs: int
    accuracy: float | None


class Waiting(TypedDict):
    """Why nothing of the job is running."""

    reason: str
    text: str
    position: int | None
    eta_s: float | None


class Reason(TypedDict):
    """How many trials ended badly for a reason, and how many attempts were tried again."""

    trials: int
    again: int


class Objective(TypedDict):
    """One thing that a job looks for."""

    metric: str
    direction: str


class Dashboard(TypedDict):
    """All there is to see of a job at a moment; `metric` says what accuracies are, as in a list."""

    job: DashboardJob
    metric: str
    objectives: list[Objective]
    counts: dict[str, int]
    phases: dict[str, dict[str, int]]
    reasons: dict[str, Reason]
    cached: int
    best: DashboardBest | None
    incumbents: list[Incumbent]
    pareto: list[Member] | None
    supernet: Supernet | None
    running: list[RunningTrial]
    verdict: dict[str, Any] | None
    links: dict[str, str]
    progress: Progress
    waiting: Waiting | None


class BestNetwork(TypedDict):
    """The best network so far, in the end the winner."""

    trial: int
    metric: str
    accuracy: float | None
    test_accuracy: float | None
    params: int | None
    macs: int | None
    genotype: dict[str, Any] | None
    candidate: dict[str, Any]
    darts: str | None
    verdict: dict[str, Any] | None
    links: dict[str, str]


class ParetoMember(TypedDict):
    """A network that no other one is as good as in all objectives."""

    trial: int
    values: dict[str, float | None]
    genotype: dict[str, Any] | None
    candidate: dict[str, Any]
    darts: str | None
    links: dict[str, str]


class Pareto(TypedDict):
    """The Pareto set, the best by the first objective first; `metric` says what its accuracies are."""

    metric: str
    objectives: list[Objective]
    items: list[ParetoMember]
