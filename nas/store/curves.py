"""The learning curves of a job: some of them, with some of their points, however many there are."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from nas.store.jobs import get
from nas.store.states import Phase, TrialState
from nas.store.tables import Epoch, Trial
from nas.store.thinning import with_others

BEST: Final = 20
"""Of the best trials' curves so many are always shown."""

CURVE_POINTS: Final = 100
"""Of one curve."""

ALL_POINTS: Final = 12_000
"""Of all curves of a figure."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The learning curve of a trial: (epoch, accuracy on validation), ascending."""

    trial: int
    phase: Phase
    state: TrialState
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Curves:
    """Some learning curves, by the numbers of their trials, of `total`."""

    total: int
    curves: tuple[Curve, ...]


def curves(session: Session, job_id: str, phases: Sequence[Phase], limit: int) -> Curves:
    """The curves of the best trials and of those that run, and of the others an even sample by number.

    Of a curve the first point, the last and the highest are always there.

    Args:
        session, job_id: of the job.
        phases: whose trials.
        limit: curves at the most.

    Raises:
        NotFound: there is no such job.
    """
    job = get(session, job_id)
    where = (Trial.job_id == job_id, Trial.phase.in_(phases), Trial.epoch > 0)
    total = session.scalar(select(func.count()).select_from(Trial).where(*where)) or 0
    wanted = select(Trial.id, Trial.number, Trial.phase, Trial.state, Trial.epoch).where(*where)
    ranked = select(Trial.id).where(*where, Trial.accuracy.is_not(None))
    best = session.scalars(ranked.order_by(Trial.accuracy.desc(), Trial.number).limit(BEST)).all()
    always = [
        session.execute(wanted.where(Trial.number == job.best_trial)).all(),
        session.execute(wanted.where(Trial.state == TrialState.RUNNING).order_by(Trial.number).limit(limit)).all(),
        session.execute(wanted.where(Trial.id.in_(best)).order_by(Trial.accuracy.desc(), Trial.number)).all(),
    ]
    shown = with_others(session, wanted, [row for rows in always for row in rows], limit, total)
    points = _points(session, shown)
    return Curves(
        total, tuple(Curve(row.number, row.phase, row.state, tuple(sorted(points.get(row.id, ())))) for row in shown)
    )


def _points(session: Session, trials: Sequence[Any]) -> dict[int, set[tuple[int, float]]]:
    """Trial → (epoch, accuracy): of each as many as there is room for, beside its ends and its peak every n-th."""
    most = min(CURVE_POINTS, ALL_POINTS // max(1, len(trials)))
    by_step: dict[int, list[int]] = {}
    for trial in trials:
        step = 1
        while -(-trial.epoch // step) > (most if step == 1 else most - 2):
            step *= 2  # so that points stay where they are while the curve grows
        by_step.setdefault(step, []).append(trial.id)
    thinned = [trial_id for step, ids in by_step.items() if step > 1 for trial_id in ids]
    queries = [
        select(*_POINT).where(Epoch.trial_id.in_(ids), (Epoch.epoch - 1) % step == 0) for step, ids in by_step.items()
    ]
    if thinned:
        marks = _marks(session, thinned)
        queries.append(select(*_POINT).where(tuple_(Epoch.trial_id, Epoch.epoch).in_(marks)))
    found: dict[int, set[tuple[int, float]]] = {}
    for query in queries:
        for trial_id, epoch, accuracy in session.execute(query):
            found.setdefault(trial_id, set()).add((epoch, accuracy))
    return found


_POINT: Final = (Epoch.trial_id, Epoch.epoch, Epoch.validation_accuracy)


def _marks(session: Session, ids: Collection[int]) -> list[tuple[int, int]]:
    """(trial, epoch) of the last epoch of each trial, and of the first one with its highest accuracy."""
    top = func.max(Epoch.validation_accuracy)
    highest = (
        select(Epoch.trial_id, top.label("top"), func.max(Epoch.epoch).label("last"))
        .where(Epoch.trial_id.in_(ids))
        .group_by(Epoch.trial_id)
        .subquery()
    )
    peaks = (
        select(highest.c.trial_id, highest.c.last, func.min(Epoch.epoch))
        .join(Epoch, (Epoch.trial_id == highest.c.trial_id) & (Epoch.validation_accuracy == highest.c.top))
        .group_by(highest.c.trial_id, highest.c.last)
    )
    return [(trial_id, epoch) for trial_id, *epochs in session.execute(peaks) for epoch in epochs]
