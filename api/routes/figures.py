"""What the figures of a job are drawn from. Each answer is small however many trials there are; poll with its ETag."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Response

from api.deps import IfNoneMatch, Service
from api.figure_schemas import CurvesView, EvolutionView, PointsView, TimelineView
from api.kept import Kept
from api.parameters import PROBLEM, JobId
from nas.store import curves, figures
from nas.store.states import Phase

AXES: Final = ", ".join(figures.AXES)
SAME: Final[dict[int | str, dict[str, Any]]] = {304: {"description": "nothing changed"}}

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["figures"], responses={404: PROBLEM, 422: PROBLEM})


@router.get("/curves", response_model=CurvesView, responses=SAME)
def show_curves(
    service: Service,
    kept: Kept,
    job_id: JobId,
    phase: Annotated[list[Phase] | None, Query(description="only these phases; by default the search")] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="how many at the most")] = 200,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Learning curves of trials: the best ones, those that run, and of the others an even sample."""
    phases = tuple(sorted(set(phase or (Phase.SEARCH,))))
    return kept.answer(
        service.store,
        job_id,
        ("curves", phases, limit),
        lambda session: CurvesView.of(curves.curves(session, job_id, phases, limit)),
        if_none_match,
    )


@router.get("/points", response_model=PointsView, responses=SAME)
def show_points(
    service: Service,
    kept: Kept,
    job_id: JobId,
    x: Annotated[str, Query(description=f"one of {AXES}")] = "params",
    y: Annotated[str, Query(description=f"another one of {AXES}")] = "accuracy",
    limit: Annotated[
        int, Query(ge=1, le=figures.MOST_POINTS, description="how many, beside the Pareto set")
    ] = figures.MOST_POINTS,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Trials of the search by two values, for a Pareto plot: the best one and the Pareto set are always there."""
    return kept.answer(
        service.store,
        job_id,
        ("points", x, y, limit),
        lambda session: PointsView.of(x, y, figures.points(session, job_id, x, y, limit)),
        if_none_match,
    )


@router.get("/timeline", response_model=TimelineView, responses=SAME)
def show_timeline(
    service: Service,
    kept: Kept,
    job_id: JobId,
    limit: Annotated[int, Query(ge=1, le=1000, description="how many at the most")] = 1000,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Which worker had which trial when: those that began last."""
    return kept.answer(
        service.store,
        job_id,
        ("timeline", limit),
        lambda session: TimelineView.of(figures.timeline(session, job_id, limit)),
        if_none_match,
    )


@router.get("/evolution", response_model=EvolutionView, responses=SAME)
def show_evolution(service: Service, kept: Kept, job_id: JobId, if_none_match: IfNoneMatch = None) -> Response:
    """The networks that were the best ones so far, and what changed from one to the next."""
    return kept.answer(
        service.store,
        job_id,
        ("evolution",),
        lambda session: EvolutionView.of(figures.evolution(session, job_id)),
        if_none_match,
    )
