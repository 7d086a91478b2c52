"""Jobs: ask for one, watch it, take its model home."""

from typing import Annotated

from fastapi import APIRouter, Body, Query, Response

from api import downloads
from api.access import CurrentCaller
from api.asking import ask, sourced
from api.dashboard_schemas import DashboardView
from api.dashboards import KeptDashboards
from api.deps import IfNoneMatch, Service, tagged
from api.downloads import CurrentWishes
from api.examples import EXAMPLES
from api.idempotency import IdempotentOnce
from api.list_schemas import JobPage, JobSummary
from api.logs import write_logs
from api.parameters import PLAIN, PROBLEM, Cursor, JobId, Limit
from api.routes import control, trials
from api.schemas import Best, Created, JobDetail, links
from api.trial_schemas import darts_text
from nas.errors import NotReady
from nas.spec import JobSpec
from nas.store import files, jobs, listing
from nas.store.overview import overviews
from nas.store.specs import metric_of
from nas.store.states import ACTIVE_JOB, JobState

router = APIRouter(
    prefix="/v1/jobs",
    tags=["jobs"],
    responses={404: PROBLEM, 422: PROBLEM},
)


@router.post("", status_code=201, response_model=Created, responses={409: PROBLEM})
def create(
    service: Service,
    caller: CurrentCaller,
    once: IdempotentOnce,
    spec: Annotated[JobSpec, Body(openapi_examples=EXAMPLES)],
) -> Response:
    """Asks for a search. Workers begin as soon as one is free; poll the dashboard."""
    body = spec.model_dump(mode="json", exclude_unset=True)
    if spec.transfer is None:
        return ask(service, caller, once, body)
    body["transfer"] = sourced(service, caller, spec.transfer)
    return ask(service, caller, once, body, of=spec.transfer.job)


@router.get("", response_model=JobPage, responses={304: {"description": "nothing changed"}})
def list_jobs(
    service: Service,
    caller: CurrentCaller,
    state: Annotated[list[JobState] | None, Query(description="only these states")] = None,
    q: Annotated[
        str | None,
        Query(max_length=200, pattern=PLAIN, description="only jobs with this in id, name, data set or strategy"),
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The caller's jobs, newest first; admins see everybody's."""
    with service.store.read() as session:
        found = jobs.page(session, limit + 1, cursor, caller.only, states=state or (), words=(q or "").strip())
        shown = overviews(session, found[:limit], service.settings.lease_s)
    page = JobPage(
        items=[JobSummary.of(job) for job in shown],
        next_cursor=found[limit - 1].id if len(found) > limit else None,
    )
    answer = tagged(page.model_dump_json().encode(), "application/json", if_none_match)
    del answer.headers["Cache-Control"]  # who asks again sends the tag; a browser keeps no list of somebody's jobs
    return answer


@router.get("/{job_id}")
def show(service: Service, job_id: JobId) -> JobDetail:
    """A job with everything that was asked for, defaults filled in."""
    with service.store.read() as session:
        return JobDetail.of(session, jobs.get(session, job_id))


@router.get("/{job_id}/dashboard", response_model=DashboardView, responses={304: {"description": "nothing changed"}})
async def show_dashboard(
    service: Service, kept: KeptDashboards, job_id: JobId, if_none_match: IfNoneMatch = None
) -> Response:
    """All there is to see of a job, at a cost that does not grow with its trials. Poll it with If-None-Match.

    The ETag leaves out what follows the clock (`elapsed_s`, `eta_s`, and under a budget of seconds `fraction`): 304
    means that nothing but the time has changed.
    """
    return await kept.poll(service.store, job_id, service.settings.lease_s, if_none_match)


@router.get("/{job_id}/best", responses={409: PROBLEM})
def best(service: Service, job_id: JobId) -> Best:
    """The best network so far; once the job has succeeded, the winner with its verdict."""
    with service.store.read() as session:
        job = jobs.get(session, job_id)
        if job.best_trial is None:
            raise NotReady(f"job {job_id} has no best network yet: it is {job.state}, {_why(job.state, job.reason)}")
        trial, _ = listing.trial(session, job_id, job.best_trial)
        metric = metric_of(session, job)
    return Best(
        trial=trial.number,
        metric=metric,
        accuracy=trial.accuracy,
        test_accuracy=job.verdict["shipped"]["accuracy"] if job.verdict and job.state == JobState.SUCCEEDED else None,
        params=trial.params,
        macs=trial.macs,
        genotype=(trial.candidate or {}).get("genotype"),
        candidate=trial.candidate or {},
        darts=darts_text(trial),
        verdict=job.verdict,
        links=links(job_id),
    )


@router.get(
    "/{job_id}/model",
    response_class=Response,
    responses=downloads.responses("application/zip", "model.zip"),
)
@router.head("/{job_id}/model", include_in_schema=False)
def model(service: Service, job_id: JobId, wishes: CurrentWishes) -> Response:
    """The package: genotype, weights, ONNX, metrics, model card, report, pictures. Verified before it was published."""
    with service.store.read() as session:
        job = jobs.get(session, job_id)
        sha256 = files.package(session, job_id)
    if sha256 is None:
        raise NotReady(f"job {job_id} has no model yet: it is {job.state}, {_why(job.state, job.reason)}")
    return downloads.send(downloads.stored(service.artifacts, sha256), wishes, f"model-{job_id}.zip")


@router.get(
    "/{job_id}/tensorboard",
    response_class=Response,
    responses=downloads.responses("application/zip", "logs.zip"),
)
@router.head("/{job_id}/tensorboard", include_in_schema=False)
def tensorboard(service: Service, job_id: JobId, wishes: CurrentWishes) -> Response:
    """The TensorBoard logs of all trials: unpack them, then `tensorboard --logdir FOLDER`. Asked for with the job."""
    with service.store.read() as session:
        job = jobs.get(session, job_id)
        logs = files.of_kind(session, job_id, "tensorboard")
    if not logs:
        why = "its trials write them" if job.spec.get("tensorboard") else "it was posted without tensorboard: true"
        raise NotReady(f"job {job_id} has no TensorBoard logs: {why}")
    content = downloads.made(lambda file: write_logs(service.artifacts, logs, file))
    return downloads.send(content, wishes, f"logs-{job_id}.zip")


router.include_router(control.router)
router.include_router(trials.router)


def _why(state: str, reason: str | None) -> str:
    if state in ACTIVE_JOB:
        return "and the model is there when it has succeeded; poll the dashboard"
    return f"and will have none: {reason}"
