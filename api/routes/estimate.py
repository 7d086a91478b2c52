"""What a search would cost, asked before it is begun."""

from typing import Annotated

from fastapi import APIRouter, Body

from api.access import CurrentCaller
from api.asking import planned, sourced
from api.deps import Parts, Service
from api.estimate_schemas import EstimatedJob
from api.examples import EXAMPLES
from api.keyring import Caller
from api.parameters import PROBLEM
from nas.data.facts import BUILTIN_FACTS, Facts
from nas.estimate import estimate
from nas.spec import JobSpec
from nas.store import datasets, paces, workers
from nas.store.queue import fits, kind_of

router = APIRouter(
    prefix="/v1/jobs",
    tags=["jobs"],
    responses={404: PROBLEM, 422: PROBLEM},
)


@router.post("/estimate")
def estimate_job(
    service: Service,
    caller: CurrentCaller,
    spec: Annotated[JobSpec, Body(openapi_examples=EXAMPLES)],
) -> EstimatedJob:
    """How large a search is and how long it will take, about; refused as POST /v1/jobs would refuse it.

    Nothing is written, and no data set is fetched for it.
    """
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
