"""What can be done to a job: pause, resume, cancel, extend, clone, change, delete it."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from api.access import CurrentCaller
from api.asking import ask, sourced
from api.deps import Service
from api.idempotency import IdempotentOnce
from api.parameters import PROBLEM, JobId
from api.schemas import Created, Extension, JobChange, JobDetail
from nas.overrides import overridden
from nas.spec import JobSpec
from nas.store import control, extension, gc, jobs

router = APIRouter(responses={409: PROBLEM})


@router.post("/{job_id}/pause", response_model=JobDetail)
def pause(service: Service, once: IdempotentOnce, job_id: JobId) -> Response:
    """Lets a job rest: its trials keep their checkpoints, its clock stands. A second time changes nothing."""
    with service.store.write() as session:
        once.begin(session)
        return once.keep(session, 200, JobDetail.of(session, control.pause(session, job_id)))


@router.post("/{job_id}/resume", response_model=JobDetail)
def resume(service: Service, once: IdempotentOnce, job_id: JobId) -> Response:
    """Lets a paused job go on exactly where it was. A job that is not paused is left as it is."""
    with service.store.write() as session:
        once.begin(session)
        job = control.resume(session, job_id, service.settings.max_open_jobs)
        return once.keep(session, 200, JobDetail.of(session, job))


@router.post("/{job_id}/cancel", response_model=JobDetail)
def cancel(service: Service, once: IdempotentOnce, job_id: JobId) -> Response:
    """Cancels a job; its running trials stop within an epoch or ten seconds. A second time changes nothing."""
    with service.store.write() as session:
        once.begin(session)
        job = control.cancel(session, job_id)
        left = control.drop_checkpoints(session, job_id)
        answer = once.keep(session, 200, JobDetail.of(session, job))
    gc.forget(service.store, service.artifacts, left)
    return answer


@router.post("/{job_id}/extend", response_model=JobDetail)
def extend(service: Service, once: IdempotentOnce, job_id: JobId, growth: Extension) -> Response:
    """Raises a job's budget and goes on: a job that has ended searches again, from what it knows.

    Model and verdict stay until new ones are verified. Retrainings that are there are used again; those that were under
    way are cancelled, since other networks may be better now.
    """
    changes = growth.model_dump(exclude_unset=True)
    with service.store.write() as session:
        once.begin(session)
        job = extension.extend(session, job_id, changes, service.settings.max_open_jobs)
        left = control.drop_checkpoints(session, job_id)
        answer = once.keep(session, 200, JobDetail.of(session, job))
    gc.forget(service.store, service.artifacts, left)
    return answer


@router.post("/{job_id}/clone", status_code=201, response_model=Created)
def clone(
    service: Service,
    caller: CurrentCaller,
    once: IdempotentOnce,
    job_id: JobId,
    changes: Annotated[
        dict[str, Any],
        Body(
            description="any fields of a job with new values; of objects (`budget`, `recipe`, …) the fields named here",
            examples=[{"seed": 1, "budget": {"trials": 48}}],
        ),
    ] = {},  # noqa: B006 - never changed
) -> Response:
    """Asks for a new job like this one, but for what the body says otherwise."""
    with service.store.read() as session:
        spec = jobs.get(session, job_id).spec
    body = overridden(spec, changes)
    try:
        asked = JobSpec.model_validate(body)
    except ValidationError as error:
        found = [{**entry, "loc": ("body", *entry["loc"])} for entry in error.errors(include_url=False)]
        raise RequestValidationError(found) from error
    source = job_id
    if asked.transfer is not None and body["transfer"] != spec["transfer"]:
        body["transfer"] = sourced(service, caller, asked.transfer)
        source = asked.transfer.job
    return ask(service, caller, once, body, of=source)


@router.patch("/{job_id}")
def change(service: Service, job_id: JobId, changes: JobChange) -> JobDetail:
    """Gives a job another name or priority, whatever its state."""
    with service.store.write() as session:
        return JobDetail.of(session, control.change(session, job_id, changes.model_dump(exclude_unset=True)))


@router.delete("/{job_id}", status_code=204, response_class=Response)
def delete(
    service: Service,
    job_id: JobId,
    force: Annotated[bool, Query(description="cancel it first if it has not ended")] = False,
) -> Response:
    """Deletes a job that has ended, with its trials and all files that nothing else needs."""
    with service.store.write() as session:
        left = control.delete(session, job_id, force=force)
    gc.forget(service.store, service.artifacts, left)
    return Response(status_code=204)
