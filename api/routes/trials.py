"""Trials of a job: listed, shown, those of the Pareto set, retrained, taken home."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.deps import IfNoneMatch, Service, tagged
from api.parameters import PROBLEM, Cursor, JobId, Limit, Number
from api.trial_schemas import Objective, Pareto, ParetoMember, Retraining, TrialDetail, TrialPage, TrialSummary
from nas.store import listing, pareto, retrains
from nas.store.states import Phase, TrialState

router = APIRouter()


@router.get("/{job_id}/trials")
def list_trials(
    service: Service,
    job_id: JobId,
    state: Annotated[list[TrialState] | None, Query(description="only these states")] = None,
    phase: Annotated[list[Phase] | None, Query(description="only these phases")] = None,
    sort: Annotated[str, Query(description=f"one of {', '.join(listing.ALLOWED_SORTS)}")] = "number",
    limit: Limit = 100,
    cursor: Cursor = None,
) -> TrialPage:
    """The trials of a job, retrainings included: `phase` tells them apart."""
    with service.store.read() as session:
        page = listing.page(
            session, job_id, states=state or (), phases=phase or (), sort=sort, limit=limit, cursor=cursor
        )
    return TrialPage(items=[TrialSummary.of(trial) for trial in page.trials], next_cursor=page.next_cursor)


@router.get("/{job_id}/trials/{number}")
def show_trial(service: Service, job_id: JobId, number: Number) -> TrialDetail:
    """A trial with its learning curve."""
    with service.store.read() as session:
        trial, epochs = listing.trial(session, job_id, number)
    return TrialDetail.of_rows(trial, list(epochs))


@router.get("/{job_id}/pareto")
def show_pareto(service: Service, job_id: JobId) -> Pareto:
    """The networks that no other one is as good as in all objectives; with one objective, the best network."""
    with service.store.read() as session:
        found = pareto.whole(session, job_id)
    return Pareto(
        objectives=[Objective.of(objective) for objective in found.objectives],
        items=[ParetoMember.of(member) for member in found.members],
    )


@router.post("/{job_id}/trials/{number}/retrain", status_code=202, responses={409: PROBLEM})
def retrain(service: Service, response: Response, job_id: JobId, number: Number) -> Retraining:
    """Asks for a trial of the search to be trained as finalists are, and packaged, whatever becomes of the job.

    A second time changes nothing, unless the retraining has failed or was cancelled: then it is tried once more, with
    another seed.
    """
    with service.store.write() as session:
        trial = retrains.ask(session, job_id, number)
    answer = Retraining.of(trial)
    response.headers["Location"] = answer.links["self"]
    return answer


@router.get(
    "/{job_id}/trials/{number}/model",
    response_class=Response,
    responses={
        200: {"content": {"application/zip": {}}, "description": "model.zip"},
        304: {"description": "you have it"},
        409: PROBLEM,
    },
)
def trial_model(service: Service, job_id: JobId, number: Number, if_none_match: IfNoneMatch = None) -> Response:
    """The package of a trial's network once it was retrained; of the job's winner without that.

    It holds what the job's own package does, but no verdict: a single retraining has neither intervals nor controls.
    """
    with service.store.read() as session:
        sha256 = retrains.package(session, job_id, number)
    answer = tagged(service.artifacts.get(sha256), "application/zip", if_none_match)
    answer.headers["Content-Disposition"] = f'attachment; filename="model-{job_id}-{number}.zip"'
    return answer
