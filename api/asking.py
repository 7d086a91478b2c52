"""How a job comes to be: completed for its data set, and made together with the answer to whoever asked for it."""

from typing import Any

from fastapi import Response
from sqlalchemy.exc import IntegrityError

from api.deps import Parts
from api.idempotency import Once
from api.keyring import Caller
from api.schemas import Created, links
from nas.complete import complete
from nas.data.facts import Facts
from nas.errors import InvalidInput, NotFound, NotReady
from nas.spec import JobSpec, TransferSpec
from nas.store import control, datasets, jobs, owners, paces


def ask(service: Parts, caller: Caller, once: Once, body: dict[str, Any], *, of: str | None = None) -> Response:
    """Makes a job and answers 201.

    Args:
        service, caller, once: of the request.
        body: of the job, validated; its transfer has what `sourced` fills in.
        of: the job that this one needs the files of: until it is made, that cannot be deleted.

    Raises:
        InvalidInput: something does not go with the data set, or two fields do not go with each other.
        NotFound: the job `of` was deleted.
        NotReady: the data set was deleted.
        TooMany, TooLarge: the owner has too many open jobs, or too much stored.
    """
    settings = service.settings
    dataset = datasets.ensure(service.store, service.artifacts, body["dataset"], settings.data, caller.owner)
    spec = planned(body, paces.facts_of(dataset))
    try:
        with service.store.write() as session:
            once.begin(session)
            if of is not None:
                jobs.lock(session, of)
            owners.check_room(session, caller.owner, settings.max_stored_bytes)
            control.admit(session, caller.owner, settings.max_open_jobs)
            job = jobs.create(session, spec, dataset, caller.owner)
            made = Created(id=job.id, state=job.state, links=links(job.id))
            return once.keep(session, 201, made, {"Location": made.links["self"]})
    except IntegrityError as error:  # the row that the job refers to has just gone
        mend = "add it and post the job again"
        raise NotReady(f"the data set {dataset.name!r} was deleted meanwhile; {mend}") from error


def planned(body: dict[str, Any], facts: Facts) -> JobSpec:
    """The whole job that a body asks for, for a data set. Raises InvalidInput."""
    return complete(body, image=facts.shape, images=facts.train, outputs=facts.outputs, task=facts.task)


def sourced(service: Parts, caller: Caller, transfer: TransferSpec) -> dict[str, Any]:
    """A transfer with what the service fills in. Raises InvalidInput."""
    for name in ("candidate", "weights"):
        if getattr(transfer, name) is not None:
            raise InvalidInput(f"transfer.{name}", "…", "the service fills it in; leave it out")
    try:
        with service.store.read() as session:
            if not caller.sees(jobs.get(session, transfer.job).owner):
                raise jobs.missing(transfer.job)
            model = jobs.model(session, transfer.job)
    except (NotFound, NotReady) as error:
        raise InvalidInput("transfer.job", transfer.job, str(error)) from error
    return {"job": transfer.job, "candidate": model.candidate.to_json(), "weights": model.weights}
