"""A search as Optuna knows it: its trials, which parameters mattered, and how they go together."""

from typing import Any

from fastapi import APIRouter, Response

from api.deps import IfNoneMatch, Service, tagged
from api.parameters import PROBLEM, Cursor, JobId, Limit
from api.studies import KeptLessons, parallel
from api.study_schemas import Importances, Parallel, StudyPage, StudyTrial
from nas.search.study import as_json, as_study_trial
from nas.store import studies

router = APIRouter(
    prefix="/v1/jobs",
    tags=["jobs"],
    responses={404: PROBLEM, 422: PROBLEM},
)

UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "nothing changed"}}


@router.get("/{job_id}/study", response_model=StudyPage)
def show_study(service: Service, job_id: JobId, limit: Limit = 500, cursor: Cursor = None) -> Response:
    """The search trials of a job as Optuna would have them, by number: all pages together make an optuna.Study."""
    with service.store.read() as session:
        part = studies.page(session, job_id, limit, cursor)
    space, objectives = part.spec.search_space(), part.spec.objectives
    found = StudyPage(
        directions=[one.direction for one in objectives],
        metric_names=[one.metric for one in objectives],
        distributions={name: as_json(one) for name, one in space.distributions().items()},
        items=[
            StudyTrial.model_validate(as_study_trial(record, space, objectives), from_attributes=True)
            for record in part.records
        ],
        next_cursor=part.next_cursor,
    )
    return Response(found.model_dump_json(), media_type="application/json")  # checked once is enough


@router.get("/{job_id}/importances", response_model=Importances, responses=UNCHANGED)
def show_importances(
    service: Service, lessons: KeptLessons, job_id: JobId, if_none_match: IfNoneMatch = None
) -> Response:
    """How much each parameter of the search mattered for the first objective; from 10 trials with a score on.

    Scores of trials that were stopped early are carried forward to the last rung by what training usually brings, so
    that all of them count.
    """
    found = lessons.get(service.store, job_id).importances
    return tagged(found.model_dump_json().encode(), "application/json", if_none_match)


@router.get("/{job_id}/parallel", response_model=Parallel, responses=UNCHANGED)
def show_parallel(
    service: Service, lessons: KeptLessons, job_id: JobId, limit: Limit = 500, if_none_match: IfNoneMatch = None
) -> Response:
    """Trials with a score across the parameters that mattered most, 12 at most."""
    found = parallel(lessons.get(service.store, job_id), limit)
    return tagged(found.model_dump_json().encode(), "application/json", if_none_match)
