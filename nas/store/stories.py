"""A job as reports and pictures tell of it, read from its rows; thinned, however many trials there are."""

from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from nas.objectives import in_order
from nas.result.figures.data import Curve, Curves, Incumbents, Point, Points
from nas.result.story import Best, Data, Spent, Story
from nas.store import curves, figures
from nas.store.clock import elapsed_s
from nas.store.jobs import get
from nas.store.session import now
from nas.store.specs import spec_of
from nas.store.states import JobState, Phase
from nas.store.tables import Dataset, Incumbent, Job, Tally, Trial
from nas.store.thinning import ends_and_between

CURVES: Final = 200
POINTS: Final = 800
INCUMBENTS: Final = 200
"""What a picture has room for."""

CURVES_IN_REPORT: Final = 80
POINTS_IN_REPORT: Final = 400
"""What a page with several pictures has room for: it stays below a megabyte."""


def read(session: Session, job_id: str) -> Story:
    """All that a report tells of a job. Raises NotFound."""
    job = get(session, job_id)
    dataset = session.get_one(Dataset, job.dataset_id)
    moment = now(session)
    counted = select(Tally.phase, Tally.state, Tally.count).where(Tally.job_id == job_id, Tally.count > 0)
    rows = sorted(session.execute(counted), key=lambda row: (list(Phase).index(row.phase), row.state))
    return Story(
        job_id=job.id,
        name=job.name,
        state=str(job.state),
        reason=job.reason,
        note=job.note,
        moment=moment,
        spec=spec_of(job).model_dump(mode="json", exclude_none=True),
        data=data_of(dataset),
        best=best_of(session, job),
        spent=Spent(
            trials=tuple((str(phase), str(state), count) for phase, state, count in rows),
            search_epochs=job.search_epochs,
            final_epochs=job.final_epochs,
            train_s=job.train_seconds,
            elapsed_s=elapsed_s(job, moment),
        ),
        verdict=job.verdict if job.state == JobState.SUCCEEDED else None,
        curves=read_curves(session, job_id, CURVES_IN_REPORT),
        points=read_points(session, job_id, limit=POINTS_IN_REPORT),
        incumbents=read_incumbents(session, job_id),
    )


def data_of(dataset: Dataset) -> Data:
    """What a report tells of a data set."""
    return Data(
        name=dataset.name,
        digest=dataset.digest,
        task=dataset.task,
        image=(dataset.channels, dataset.height, dataset.width),
        classes=tuple(dataset.classes),
        train=dataset.train,
        validation=dataset.validation,
        test=dataset.test,
    )


def read_curves(session: Session, job_id: str, limit: int = CURVES) -> Curves:
    """Learning curves of the search. Raises NotFound."""
    found = curves.curves(session, job_id, (Phase.SEARCH,), limit)
    items = tuple(Curve(curve.trial, str(curve.state), curve.points) for curve in found.curves if curve.points)
    return Curves(items, found.total, get(session, job_id).best_trial)


def read_points(
    session: Session, job_id: str, x: str | None = None, y: str = "accuracy", limit: int = POINTS
) -> Points:
    """Trials of the search by two of their figures; without an x, by the first cost that the job looks at.

    Raises:
        NotFound: there is no such job.
        InvalidInput: there is no such figure, or x is y.
    """
    if x is None:
        costs = [each.metric for each in in_order(spec_of(get(session, job_id)).objectives) if each.metric != y]
        x = next(iter(costs), "params" if y != "params" else "accuracy")
    found = figures.points(session, job_id, x, y, limit)
    items = tuple(Point(point.trial, point.x, point.y, str(point.state), point.front) for point in found.points)
    return Points(x, y, items, found.total, found.best)


def read_incumbents(session: Session, job_id: str) -> Incumbents:
    """The best score so far, whenever it changed; of many changes some, evenly. Raises NotFound."""
    get(session, job_id)
    every = select(Incumbent.number, Incumbent.at_s, Incumbent.accuracy).where(Incumbent.job_id == job_id)
    found = session.execute(every.order_by(Incumbent.at_s, Incumbent.number)).all()
    return Incumbents(tuple((number, at_s, score) for number, at_s, score in ends_and_between(found, INCUMBENTS)))


def best_of(session: Session, job: Job) -> Best | None:
    """The best trial so far, or the winner; None before the first has ended."""
    if job.best_trial is None:
        return None
    trial = session.scalars(select(Trial).where(Trial.job_id == job.id, Trial.number == job.best_trial)).one()
    return Best(trial.number, trial.accuracy, trial.params, trial.macs, trial.candidate or {})
