"""Trials of a job: listed, shown, those of the Pareto set, retrained, taken home."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api import downloads
from api.deps import Service
from api.downloads import CurrentWishes
from api.idempotency import IdempotentOnce
from api.parameters import PROBLEM, Cursor, JobId, Limit, Number
from api.trial_schemas import (
    LogLine,
    Objective,
    Pareto,
    ParetoMember,
    Retraining,
    TrialDetail,
    TrialLog,
    TrialPage,
    TrialSummary,
)
from nas.store import jobs, lines, listing, pareto, retrains, setbacks
from nas.store.specs import metric_of
from nas.store.states import Phase, TrialState

router = APIRouter()


@router.get("/{job_id}/trials", response_model=TrialPage)
def list_trials(
    service: Service,
    job_id: JobId,
    state: Annotated[list[TrialState] | None, Query(description="only these states")] = None,
    phase: Annotated[list[Phase] | None, Query(description="only these phases")] = None,
    sort: Annotated[str, Query(description=f"one of {', '.join(listing.ALLOWED_SORTS)}")] = "number",
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """The trials of a job, retrainings included: `phase` tells them apart."""
    with service.store.read() as session:
        page = listing.page(
            session, job_id, states=state or (), phases=phase or (), sort=sort, limit=limit, cursor=cursor
        )
        metric = metric_of(session, jobs.get(session, job_id))
    items = [TrialSummary.of(trial) for trial in page.trials]
    found = TrialPage(metric=metric, items=items, next_cursor=page.next_cursor)
    return Response(found.model_dump_json(), media_type="application/json")  # checked once is enough


@router.get("/{job_id}/trials/{number}")
def show_trial(service: Service, job_id: JobId, number: Number) -> TrialDetail:
    """A trial with its learning curve, and with what went wrong on the way."""
    with service.store.read() as session:
        trial, epochs = listing.trial(session, job_id, number)
        wrong = setbacks.newest(session, trial.id)
        metric = metric_of(session, jobs.get(session, job_id))
    return TrialDetail.of_rows(trial, epochs, wrong, metric)


@router.get("/{job_id}/trials/{number}/logs")
def show_log(service: Service, job_id: JobId, number: Number) -> TrialLog:
    """What was logged while the trial was at work, by all its attempts; a line is there a few seconds later."""
    with service.store.read() as session:
        found, cut = lines.newest(session, listing.row(session, job_id, number).id)
    return TrialLog(items=[LogLine.model_validate(line, from_attributes=True) for line in found], cut=cut)


@router.get("/{job_id}/pareto")
def show_pareto(service: Service, job_id: JobId) -> Pareto:
    """The networks that no other one is as good as in all objectives; with one objective, the best network."""
    with service.store.read() as session:
        found = pareto.whole(session, job_id)
        metric = metric_of(session, jobs.get(session, job_id))
    return Pareto(
        metric=metric,
        objectives=[Objective.of(objective) for objective in found.objectives],
        items=[ParetoMember.of(member) for member in found.members],
    )


@router.post("/{job_id}/trials/{number}/retrain", status_code=202, response_model=Retraining, responses={409: PROBLEM})
def retrain(service: Service, once: IdempotentOnce, job_id: JobId, number: Number) -> Response:
    """Asks for a trial of the search to be trained as finalists are, and packaged, whatever becomes of the job.

    A second time changes nothing, unless the retraining has failed or was cancelled: then it is tried once more, with
    another seed.
    """
    with service.store.write() as session:
        once.begin(session)
        answer = Retraining.of(retrains.ask(session, job_id, number))
        return once.keep(session, 202, answer, {"Location": answer.links["self"]})


@router.get(
    "/{job_id}/trials/{number}/model",
    response_class=Response,
    responses=downloads.responses("application/zip", "model.zip"),
)
@router.head("/{job_id}/trials/{number}/model", include_in_schema=False)
def trial_model(service: Service, job_id: JobId, number: Number, wishes: CurrentWishes) -> Response:
    """The package of a trial's network once it was retrained; of the job's winner without that.

    It holds what the job's own package does, but no verdict: a single retraining has neither intervals nor controls.
    """
    with service.store.read() as session:
        sha256 = retrains.package(session, job_id, number)
    return downloads.send(downloads.stored(service.artifacts, sha256), wishes, f"model-{job_id}-{number}.zip")
