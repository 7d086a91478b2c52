"""What the figures of a job are drawn from, thinned in the database: however many trials there are, little is read."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from nas.errors import InvalidInput
from nas.store.jobs import get, missing
from nas.store.states import Phase, TrialState
from nas.store.tables import Incumbent, Job, Trial
from nas.store.thinning import ends_and_between, with_others

MOST_POINTS: Final = 2_000
"""Trials in a figure of points."""

INCUMBENTS: Final = 30
"""Networks that are shown with their architectures."""

NOBODY: Final = "not recorded"
"""Stands for the worker of a trial that an older version of the service ended while nobody had it."""

AXES: Final[dict[str, InstrumentedAttribute[Any]]] = {
    "accuracy": Trial.accuracy,
    "params": Trial.params,
    "macs": Trial.macs,
    "latency_ms": Trial.latency_ms,
    "memory_mb": Trial.memory_mb,
    "epoch": Trial.epoch,
    "number": Trial.number,
}
"""What trials can be drawn by."""

Where: TypeAlias = tuple[ColumnElement[bool], ...]


def stamp(session: Session, job_id: str) -> tuple[Any, ...]:
    """Of a job's rows: what was read under one need not be read again under it. Raises NotFound."""
    # The version alone would do, if no older copy of the database were ever restored.
    whole = select(Job.version, Job.changed, Job.state, Job.next_number, Job.search_epochs, Job.started_at)
    found = session.execute(whole.where(Job.id == job_id)).first()
    if found is None:
        raise missing(job_id)
    return tuple(found)


# --- trials as points


@dataclass(frozen=True, slots=True)
class Point:
    """A trial by two values."""

    trial: int
    x: float
    y: float
    state: TrialState
    front: bool


@dataclass(frozen=True, slots=True)
class Points:
    """Some trials of the search, by number.

    Attributes:
        total: trials that have both values.
        without: trials that have not.
        best: number of the incumbent.
        points: of those that are shown.
    """

    total: int
    without: int
    best: int | None
    points: tuple[Point, ...]


def points(session: Session, job_id: str, x: str, y: str, limit: int) -> Points:
    """The trials of the search by two of AXES: the incumbent, the Pareto set, and of the others an even sample.

    Args:
        session, job_id: of the job.
        x, y: the axes.
        limit: points at the most; if incumbent and Pareto set are more, they are shown, and nothing else.

    Raises:
        NotFound: there is no such job.
        InvalidInput: there is no such axis, or both are the same.
    """
    for field, name in (("x", x), ("y", y)):
        if name not in AXES:
            raise InvalidInput(field, name, f"allowed: {', '.join(AXES)}")
    if x == y:
        raise InvalidInput("y", y, f"x is {x} as well: take another one; allowed: {', '.join(AXES)}")
    job = get(session, job_id)
    of_search: Where = (Trial.job_id == job_id, Trial.phase == Phase.SEARCH)
    known: Where = (*of_search, AXES[x].is_not(None), AXES[y].is_not(None))
    searched, total = (
        session.scalar(select(func.count()).select_from(Trial).where(*where)) or 0 for where in (of_search, known)
    )
    wanted = select(Trial.number, AXES[x].label("x"), AXES[y].label("y"), Trial.state, Trial.front).where(*known)
    best = session.execute(wanted.where(Trial.number == job.best_trial)).all()
    front = session.execute(wanted.where(Trial.front).order_by(Trial.id.desc()).limit(MOST_POINTS - 1)).all()
    always = {row.number: row for row in (*best, *front)}
    shown = with_others(session, wanted, always.values(), max(limit, len(always)), total)
    return Points(
        total=total,
        without=searched - total,
        best=job.best_trial,
        points=tuple(Point(row.number, row.x, row.y, row.state, row.front) for row in shown),
    )


# --- what workers did


@dataclass(frozen=True, slots=True)
class Span:
    """What a worker did from `start` to `end`, which is None while it does it."""

    worker: str
    trial: int
    phase: Phase
    state: TrialState
    start: datetime
    end: datetime | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """Newest spans by their beginning, of `total` trials that have begun, and workers in the order of theirs."""

    total: int
    workers: tuple[str, ...]
    spans: tuple[Span, ...]


def timeline(session: Session, job_id: str, limit: int) -> Timeline:
    """Which worker was at work on which trial, from when to when; what lies between is its idle time.

    A trial that waited in between, at a rung or after a setback, has a span for each time that somebody had it.

    Raises:
        NotFound: there is no such job.
    """
    get(session, job_id)
    begun: Where = (Trial.job_id == job_id, Trial.started_at.is_not(None))
    total = session.scalar(select(func.count()).select_from(Trial).where(*begun)) or 0
    latest = func.coalesce(Trial.began_at, Trial.started_at)
    newest = select(*_SPAN).where(*begun).order_by(latest.desc(), Trial.number.desc()).limit(limit)
    spans = [span for row in session.execute(newest) for span in _spans(row)]
    spans = sorted(spans, key=lambda span: (span.start, span.trial))[-limit:]
    return Timeline(total, tuple(dict.fromkeys(span.worker for span in spans)), tuple(spans))


_SPAN: Final = (
    Trial.number,
    Trial.phase,
    Trial.state,
    Trial.owner,
    Trial.shifts,
    Trial.started_at,
    Trial.began_at,
    Trial.finished_at,
)


def _spans(row: Any) -> list[Span]:
    def span(worker: str, start: datetime, end: datetime | None) -> Span:
        return Span(worker, row.number, row.phase, row.state, start, end)

    found = [
        span(worker, datetime.fromtimestamp(begin, UTC), datetime.fromtimestamp(end, UTC))
        for worker, begin, end in row.shifts or ()
    ]
    if row.owner is not None and row.began_at is not None:
        return [*found, span(row.owner, row.began_at, row.finished_at)]
    if found or not (row.owner or row.finished_at):
        return found
    return [span(row.owner or NOBODY, row.started_at, row.finished_at)]  # of before attempts were noted


# --- how the best network came to be


@dataclass(frozen=True, eq=False, slots=True)
class Step:
    """A network that was the best one when its training ended."""

    trial: int
    at_s: float
    accuracy: float
    params: int | None
    candidate: dict[str, Any] | None


@dataclass(frozen=True, eq=False, slots=True)
class Evolution:
    """Some of the `total` incumbents of a job, the oldest first."""

    total: int
    steps: tuple[Step, ...]


def evolution(session: Session, job_id: str) -> Evolution:
    """The incumbents with what they are: the first, the last, and what lies evenly between. Raises NotFound."""
    get(session, job_id)
    every = select(Incumbent.number, Incumbent.at_s, Incumbent.accuracy).where(Incumbent.job_id == job_id)
    found = session.execute(every.order_by(Incumbent.at_s, Incumbent.number)).all()
    shown = ends_and_between(found, INCUMBENTS)
    of_these = Trial.job_id == job_id, Trial.number.in_([row.number for row in shown])
    trials = {
        row.number: row for row in session.execute(select(Trial.number, Trial.params, Trial.candidate).where(*of_these))
    }
    return Evolution(
        len(found),
        tuple(
            Step(row.number, row.at_s, row.accuracy, trials[row.number].params, trials[row.number].candidate)
            for row in shown
        ),
    )
