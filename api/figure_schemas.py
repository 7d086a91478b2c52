"""What the API answers about the figures of a job: thinned, so that they are drawn as they come."""

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, Field, RootModel

from nas.errors import GenotypeError
from nas.space.changes import CellChange
from nas.space.genotype import Genotype
from nas.store.curves import Curve, Curves
from nas.store.figures import Evolution, Point, Points, Span, Step, Timeline

CANDIDATE_CHARS = 5_000
"""Of a network that is shown with others. A search proposes far smaller ones."""


class CurveRow(BaseModel):
    """The learning curve of a trial."""

    trial: int
    phase: str
    state: str
    points: list[tuple[int, float]] = Field(
        description="[epoch, accuracy on validation], 100 at the most; the first, the last and the highest among them"
    )

    @classmethod
    def of(cls, curve: Curve) -> Self:
        """From what the store read."""
        points = [(epoch, rounded(accuracy)) for epoch, accuracy in curve.points]
        return cls(trial=curve.trial, phase=curve.phase, state=curve.state, points=points)


class CurvesView(BaseModel):
    """Learning curves by trial: of those that run, of the best ones, and an even sample of the others."""

    metric: str = Field("accuracy", description="what is drawn: the task's score on validation")
    total: int = Field(description="trials that have a curve")
    shown: int
    items: list[CurveRow]

    @classmethod
    def of(cls, found: Curves) -> Self:
        """From what the store read."""
        items = [CurveRow.of(curve) for curve in found.curves]
        return cls(metric="accuracy", total=found.total, shown=len(items), items=items)


class PointRow(RootModel[tuple[int, int | float, int | float, str, bool]]):
    """[trial, x, y, state, whether it is of the Pareto set]."""

    @classmethod
    def of(cls, point: Point) -> Self:
        """From what the store read."""
        return cls((point.trial, rounded(point.x), rounded(point.y), str(point.state), point.front))


class PointsView(BaseModel):
    """Trials of the search by two values: the best one, the Pareto set, and an even sample of the others."""

    x: str
    y: str
    total: int = Field(description="trials that have both values")
    without: int = Field(description="trials that have not")
    shown: int
    best: int | None = Field(description="number of the best trial so far")
    items: list[PointRow]

    @classmethod
    def of(cls, x: str, y: str, found: Points) -> Self:
        """From what the store read."""
        return cls(
            x=x,
            y=y,
            total=found.total,
            without=found.without,
            shown=len(found.points),
            best=found.best,
            items=[PointRow.of(point) for point in found.points],
        )


class SpanRow(BaseModel):
    """A trial on a worker that had it: all of its training, or until it was interrupted."""

    worker: str
    trial: int
    phase: str
    state: str
    start: datetime
    end: datetime | None = Field(description="null while it has it")

    @classmethod
    def of(cls, span: Span) -> Self:
        """From what the store read."""
        return cls(
            worker=span.worker,
            trial=span.trial,
            phase=span.phase,
            state=span.state,
            start=_whole_ms(span.start),
            end=None if span.end is None else _whole_ms(span.end),
        )


class TimelineView(BaseModel):
    """What workers did when: the trials that began last, the oldest of them first."""

    total: int = Field(description="trials that have begun")
    shown: int
    workers: list[str] = Field(description="in the order in which they began")
    items: list[SpanRow]

    @classmethod
    def of(cls, found: Timeline) -> Self:
        """From what the store read."""
        items = [SpanRow.of(span) for span in found.spans]
        shown = len({span.trial for span in found.spans})
        return cls(total=found.total, shown=shown, workers=list(found.workers), items=items)


class Changed(BaseModel):
    """Edges of a cell, as `sep_conv_3x3: node 1 → node 4`; nodes 0 and 1 are its inputs."""

    added: list[str]
    removed: list[str]

    @classmethod
    def of(cls, change: CellChange) -> Self:
        """From the comparison of two cells."""
        return cls(added=list(change.added), removed=list(change.removed))


class Changes(BaseModel):
    """What tells two networks of cells from each other."""

    normal: Changed
    reduce: Changed


class StepRow(BaseModel):
    """A network that was the best one so far."""

    trial: int
    at_s: float = Field(description="seconds from the job's beginning to the end of its training")
    accuracy: float
    params: int | None
    genotype: dict[str, Any] | None = Field(description="the two cells; null for other architectures")
    candidate: dict[str, Any] | None = Field(
        description="architecture, frame and what was chosen of the recipe; null if it is too large for a list"
    )
    changes: Changes | None = Field(description="against the network before it here; null where there are no two cells")


class EvolutionView(BaseModel):
    """How the best network came to be: the first incumbent, the last one, and some between."""

    total: int
    shown: int
    items: list[StepRow]

    @classmethod
    def of(cls, found: Evolution) -> Self:
        """From what the store read."""
        items = []
        before: Genotype | None = None
        for step in found.steps:
            genotype = _genotype(step)
            items.append(_step(step, _changes(before, genotype)))
            before = genotype
        return cls(total=found.total, shown=len(items), items=items)


def rounded(value: float) -> int | float:
    """A value with the digits that can be seen in a figure."""
    return value if type(value) is int else float(f"{value:.6g}")


def _whole_ms(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _genotype(step: Step) -> Genotype | None:
    found = (step.candidate or {}).get("genotype")
    try:
        return None if found is None else Genotype.from_json(found)
    except GenotypeError:  # it has an operation of a plugin that is no longer used
        return None


def _changes(before: Genotype | None, after: Genotype | None) -> Changes | None:
    if before is None or after is None:
        return None
    return Changes(
        normal=Changed.of(CellChange.between(before.normal, after.normal)),
        reduce=Changed.of(CellChange.between(before.reduce, after.reduce)),
    )


def _step(step: Step, changes: Changes | None) -> StepRow:
    small = step.candidate is not None and len(str(step.candidate)) <= CANDIDATE_CHARS
    candidate = step.candidate if small else None
    return StepRow(
        trial=step.trial,
        at_s=step.at_s,
        accuracy=step.accuracy,
        params=step.params,
        genotype=(candidate or {}).get("genotype"),
        candidate=candidate,
        changes=changes if small else None,
    )
