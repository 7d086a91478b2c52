"""Jobs: ask for one, watch it, cancel it, take its model home."""

import os
import tempfile
import zipfile
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from fastapi.responses import FileResponse
from sqlalchemy.exc import IntegrityError
from starlette.background import BackgroundTask

from api.access import CurrentCaller
from api.dashboard_schemas import DashboardView
from api.deps import IfNoneMatch, Parts, Service, tagged
from api.examples import EXAMPLES
from api.parameters import PROBLEM, Cursor, JobId, Limit
from api.routes import trials
from api.schemas import Best, Created, JobDetail, JobPage, JobSummary, links
from api.trial_schemas import darts_text
from nas.complete import complete
from nas.errors import InvalidInput, NotFound, NotReady
from nas.spec import JobSpec, TransferSpec
from nas.store import dashboard, datasets, files, jobs, listing
from nas.store.states import ACTIVE_JOB

router = APIRouter(
    prefix="/v1/jobs",
    tags=["jobs"],
    responses={404: PROBLEM, 422: PROBLEM},
)


@router.post("", status_code=201, responses={409: PROBLEM})
def create(
    service: Service,
    caller: CurrentCaller,
    response: Response,
    spec: Annotated[JobSpec, Body(openapi_examples=EXAMPLES)],
) -> Created:
    """Asks for a search. Workers begin as soon as one is free; poll the dashboard."""
    dataset = datasets.ensure(service.store, service.artifacts, spec.dataset, service.settings.data)
    body = spec.model_dump(mode="json", exclude_unset=True)
    if spec.transfer is not None:
        body["transfer"] = _source(service, spec.transfer)
    whole = complete(
        body,
        image=(dataset.channels, dataset.height, dataset.width),
        images=dataset.train,
        outputs=len(dataset.classes),
        task=dataset.task,
    )
    try:
        with service.store.write() as session:
            job = jobs.create(session, whole, dataset, caller.owner)
    except IntegrityError as error:  # the row that the job refers to has just gone
        raise NotReady(f"the data set {spec.dataset!r} was deleted meanwhile; add it and post the job again") from error
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return Created(id=job.id, state=job.state, links=links(job.id))


@router.get("")
def list_jobs(service: Service, limit: Limit = 50, cursor: Cursor = None) -> JobPage:
    """Jobs, newest first."""
    with service.store.read() as session:
        found = jobs.page(session, limit + 1, cursor)
    return JobPage(
        items=[JobSummary.of(job) for job in found[:limit]],
        next_cursor=found[limit - 1].id if len(found) > limit else None,
    )


@router.get("/{job_id}")
def show(service: Service, job_id: JobId) -> JobDetail:
    """A job with everything that was asked for, defaults filled in."""
    with service.store.read() as session:
        return JobDetail.of(jobs.get(session, job_id))


@router.post("/{job_id}/cancel", responses={409: PROBLEM})
def cancel(service: Service, job_id: JobId) -> JobDetail:
    """Cancels a job; its running trials stop within an epoch or ten seconds. A second time changes nothing."""
    with service.store.write() as session:
        return JobDetail.of(jobs.cancel(session, job_id))


@router.get("/{job_id}/dashboard", response_model=DashboardView, responses={304: {"description": "nothing changed"}})
def show_dashboard(service: Service, job_id: JobId, if_none_match: IfNoneMatch = None) -> Response:
    """All there is to see of a job, at a cost that does not grow with its trials. Poll it with If-None-Match.

    The ETag leaves out what follows the clock (`elapsed_s`, `eta_s`, and under a budget of seconds `fraction`): 304
    means that nothing but the time has changed.
    """
    with service.store.read() as session:
        view = DashboardView.of(dashboard.dashboard(session, job_id, service.settings.lease_s))
    body = view.model_dump_json()
    timeless = view.model_dump_json(exclude={"progress": {"elapsed_s", "eta_s", "fraction"}})
    return tagged(body.encode(), "application/json", if_none_match, of=timeless.encode())


@router.get("/{job_id}/best", responses={409: PROBLEM})
def best(service: Service, job_id: JobId) -> Best:
    """The best network so far; once the job has succeeded, the winner with its verdict."""
    with service.store.read() as session:
        job = jobs.get(session, job_id)
        if job.best_trial is None:
            raise NotReady(f"job {job_id} has no best network yet: it is {job.state}, {_why(job.state, job.reason)}")
        trial, _ = listing.trial(session, job_id, job.best_trial)
    return Best(
        trial=trial.number,
        accuracy=trial.accuracy,
        test_accuracy=job.verdict["shipped"]["accuracy"] if job.verdict else None,
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
    responses={
        200: {"content": {"application/zip": {}}, "description": "model.zip"},
        304: {"description": "you have it"},
        409: PROBLEM,
    },
)
def model(service: Service, job_id: JobId, if_none_match: IfNoneMatch = None) -> Response:
    """The package: genotype, weights, ONNX, metrics, model card, picture. Verified before it was published."""
    with service.store.read() as session:
        job = jobs.get(session, job_id)
        sha256 = files.package(session, job_id)
    if sha256 is None:
        raise NotReady(f"job {job_id} has no model yet: it is {job.state}, {_why(job.state, job.reason)}")
    answer = tagged(service.artifacts.get(sha256), "application/zip", if_none_match)
    answer.headers["Content-Disposition"] = f'attachment; filename="model-{job_id}.zip"'
    return answer


@router.get(
    "/{job_id}/tensorboard",
    response_class=FileResponse,
    responses={200: {"content": {"application/zip": {}}, "description": "logs.zip"}, 409: PROBLEM},
)
def tensorboard(service: Service, job_id: JobId) -> FileResponse:
    """The TensorBoard logs of all trials: unpack them, then `tensorboard --logdir FOLDER`. Asked for with the job."""
    with service.store.read() as session:
        job = jobs.get(session, job_id)
        logs = files.of_kind(session, job_id, "tensorboard")
    if not logs:
        why = "its trials write them" if job.spec.get("tensorboard") else "it was posted without tensorboard: true"
        raise NotReady(f"job {job_id} has no TensorBoard logs: {why}")
    handle, path = tempfile.mkstemp(prefix="nas-logs-", suffix=".zip")
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for trial, parts in groupby(logs, key=itemgetter(0)):
                name = f"{trial.number:05d}-{trial.phase}/events.out.tfevents.{int(trial.created_at.timestamp())}.nas"
                with archive.open(name, "w") as log:
                    for _, sha256 in parts:
                        log.write(service.artifacts.get(sha256))
    except BaseException:
        Path(path).unlink()
        raise
    return FileResponse(
        path,
        media_type="application/zip",
        filename=f"logs-{job_id}.zip",
        background=BackgroundTask(Path(path).unlink, missing_ok=True),
    )


router.include_router(trials.router)


def _source(service: Parts, transfer: TransferSpec) -> dict[str, Any]:
    """The transfer with what the service fills in. Raises InvalidInput."""
    for name in ("candidate", "weights"):
        if getattr(transfer, name) is not None:
            raise InvalidInput(f"transfer.{name}", "…", "the service fills it in; leave it out")
    try:
        with service.store.read() as session:
            model = jobs.model(session, transfer.job)
    except (NotFound, NotReady) as error:
        raise InvalidInput("transfer.job", transfer.job, str(error)) from error
    return {"job": transfer.job, "candidate": model.candidate.to_json(), "weights": model.weights}


def _why(state: str, reason: str | None) -> str:
    if state in ACTIVE_JOB:
        return "and the model is there when it has succeeded; poll the dashboard"
    return f"and will have none: {reason}"
