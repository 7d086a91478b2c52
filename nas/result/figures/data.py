"""What the pictures are made of."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Curve:
    """How a trial's training went.

    Attributes:
        trial: its number.
        state: running, complete, pruned, …
        points: (epoch, score on validation), ascending.
    """

    trial: int
    state: str
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Curves:
    """Learning curves of a job, a sample where it has many.

    Attributes:
        items: those that are drawn.
        total: how many there are.
        best: number of the best trial so far.
    """

    items: tuple[Curve, ...] = ()
    total: int = 0
    best: int | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """A trial by two of its figures; `front` says that it is of the job's Pareto set."""

    trial: int
    x: float
    y: float
    state: str
    front: bool = False


@dataclass(frozen=True, slots=True)
class Points:
    """Trials by two of their figures, a sample where there are many.

    Attributes:
        x, y: accuracy, params, macs, latency_ms, memory_mb, epoch or number.
        items: those that are drawn.
        total: how many there are.
        best: number of the best trial so far.
    """

    x: str = "params"
    y: str = "accuracy"
    items: tuple[Point, ...] = ()
    total: int = 0
    best: int | None = None


@dataclass(frozen=True, slots=True)
class Incumbents:
    """The best score so far, whenever it changed.

    Attributes:
        items: (trial, seconds since the job's start, score on validation), ascending.
    """

    items: tuple[tuple[int, float, float], ...] = ()
