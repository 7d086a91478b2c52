"""What a report tells of a job, as its rows had it at a moment: plain values, which can be sent anywhere."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nas.result.figures.data import Curves, Incumbents, Points


@dataclass(frozen=True, slots=True)
class Data:
    """A data set.

    Attributes:
        name, digest, task: of it.
        image: (channels, height, width).
        classes: names of the classes, labels or targets.
        train, validation, test: images in each split.
    """

    name: str
    digest: str
    task: str
    image: tuple[int, int, int]
    classes: tuple[str, ...]
    train: int
    validation: int
    test: int


@dataclass(frozen=True, slots=True)
class Best:
    """The best trial of the search so far; `candidate` is its JSON."""

    trial: int
    accuracy: float | None
    params: int | None
    macs: int | None
    candidate: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Spent:
    """What a job has used up.

    Attributes:
        trials: (phase, state, how many).
        search_epochs, final_epochs: trained in the search, and in the retrainings after it.
        train_s: seconds of training, of all workers together.
        elapsed_s: since its first trial, without its pauses.
    """

    trials: tuple[tuple[str, str, int], ...]
    search_epochs: int
    final_epochs: int
    train_s: float
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class Story:
    """A job at a moment.

    Attributes:
        job_id, name, state: of it.
        reason: why it failed or was cancelled.
        note: what a reader should know that is no failure.
        moment: when this was read.
        spec: what was asked for, defaults filled in.
        data: what it searches on.
        best: None before the first trial has ended.
        spent: so far.
        verdict: nas.result.verdict's, once the job has succeeded.
        curves, points, incumbents: what its figures are drawn from.
    """

    job_id: str
    name: str | None
    state: str
    reason: str | None
    note: str | None
    moment: datetime
    spec: dict[str, Any]
    data: Data
    best: Best | None
    spent: Spent
    verdict: dict[str, Any] | None = None
    curves: Curves = field(default_factory=Curves)
    points: Points = field(default_factory=Points)
    incumbents: Incumbents = field(default_factory=Incumbents)
