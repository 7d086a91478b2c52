"""What a search would cost, asked before it is begun; and what is wrong with it, asked while it is written."""

import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from api.access import CurrentCaller
from api.asking import planned, sourced
from api.deps import Parts, Service
from api.errors import faults
from api.estimate_schemas import CheckedJob, EstimatedJob
from api.examples import EXAMPLES
from api.keyring import Caller
from api.parameters import PROBLEM
from nas.data.facts import BUILTIN_FACTS, Facts
from nas.errors import InvalidInput
from nas.estimate import estimate
from nas.spec import JobSpec
from nas.store import datasets, paces, workers
from nas.store.queue import fits, kind_of


class Checked(APIRoute):
    """Answers 200 with what is wrong, instead of 422, where a check was asked for."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, with its refusals told as the result of the check."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except (InvalidInput, RequestValidationError) as error:
                if not getattr(request.state, "check", False):
                    raise
                detail, errors = faults(error)
                found = CheckedJob(valid=False, detail=detail, errors=errors).model_dump()
                # Escaped to ASCII: it quotes what was sent, which need not be text that UTF-8 can write.
                return Response(json.dumps(found, default=repr), media_type="application/json")

        return handled


router = APIRouter(
    prefix="/v1/jobs",
    tags=["jobs"],
    responses={404: PROBLEM, 422: PROBLEM},
    route_class=Checked,
)


def _wished(
    request: Request,
    check: Annotated[
        bool,
        Query(description="for forms: answer 200 with `valid` and what is wrong, where it would be 422"),
    ] = False,
) -> bool:
    request.state.check = check
    return check


@router.post("/estimate")
def estimate_job(
    service: Service,
    caller: CurrentCaller,
    spec: Annotated[JobSpec, Body(openapi_examples=EXAMPLES)],
    check: Annotated[bool, Depends(_wished)],
) -> EstimatedJob | CheckedJob:
    """How large a search is and how long it will take, about; refused as POST /v1/jobs would refuse it.

    Nothing is written, and no data set is fetched for it.
    """
    found = _estimated(service, caller, spec)
    return CheckedJob(valid=True, estimate=found) if check else found


def _estimated(service: Parts, caller: Caller, spec: JobSpec) -> EstimatedJob:
    body = spec.model_dump(mode="json", exclude_unset=True)
    if spec.transfer is not None:
        body["transfer"] = sourced(service, caller, spec.transfer)
    facts, dataset_id = _facts(service, caller, spec.dataset)
    whole = planned(body, facts)
    with service.store.read() as session:
        alive = workers.alive(session, service.settings.lease_s)
        serving = [one for one in alive if (one.ray if whole.engine == "ray" else fits(whole.device, one.device))]
        kinds = {kind_of(one.device) for one in serving} or {"gpu" if whole.device == "gpu" else "cpu"}
        same = paces.newest(session, kinds, dataset_id) if dataset_id is not None else []
        others = [] if same else paces.newest(session, kinds)
    found = estimate(whole, facts, same=same, others=others, workers=len(serving), gpu=kinds == {"gpu"})
    return EstimatedJob.of(found, facts.name, whole.strategy)


def _facts(service: Parts, caller: Caller, name: str) -> tuple[Facts, int | None]:
    """Of the data set that the caller means, and its number if it is stored. Raises InvalidInput."""
    with service.store.read() as session:
        row = datasets.find(session, name, caller.owner)
    if row is None and name in BUILTIN_FACTS:
        return BUILTIN_FACTS[name], None
    row = row or datasets.ensure(service.store, service.artifacts, name, service.settings.data, caller.owner)
    return paces.facts_of(row), row.id
