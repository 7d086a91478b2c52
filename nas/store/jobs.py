"""Jobs: made from what a user asks for, found, listed, and the network that one ended with."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from nas.errors import InvalidInput, NotFound, NotReady
from nas.search.catalog import strategies
from nas.search.screening import batches
from nas.space import Candidate, FixedSpace, JointSpace
from nas.spec import JobSpec
from nas.store import files, moves
from nas.store.session import now
from nas.store.specs import spec_of
from nas.store.states import JobState, Phase, TrialState
from nas.store.tables import LOCAL, Dataset, Job, Tally, Trial

SCREENED_A_TRIAL = 20
"""Candidates that are screened for each trial planned: of a small search the screening takes a small share."""


def create(session: Session, spec: JobSpec, dataset: Dataset, owner: str = LOCAL) -> Job:
    """Adds a queued job; the spec is stored with every default filled in."""
    job = Job(
        id=secrets.token_hex(6),
        owner=owner,
        priority=spec.priority,
        device=spec.device,
        engine=spec.engine,
        name=spec.name,
        state=JobState.QUEUED,
        spec=spec.model_dump(mode="json"),
        dataset_id=dataset.id,
        parallel=spec.budget.parallel,
        trials_planned=spec.budget.trials,
        created_at=now(session),
    )
    session.add(job)
    session.flush()
    session.add_all(Tally(job_id=job.id, phase=phase, state=state, count=0) for phase in Phase for state in TrialState)
    session.flush()
    _prepare(session, job, spec)
    job.prepared = job.next_number
    job.trials_planned = job.prepared + spec.budget.trials
    return job


def _prepare(session: Session, job: Job, spec: JobSpec) -> None:
    """Adds what has to be done once before the strategy proposes."""
    options = spec.strategy_options().model_dump()
    match strategies()[spec.strategy].prepares:
        case "supernet":
            moves.add(session, job, Phase.SUPERNET, epochs=options["epochs"] or spec.budget.epochs)
        case "screening":
            space = spec.search_space()
            if isinstance(space, JointSpace) and isinstance(space.base, FixedSpace):
                return  # there is one network; how to train it no score without training can tell
            samples = min(options["warm_start"], SCREENED_A_TRIAL * spec.budget.trials)
            for index in range(batches(samples)):
                moves.add(session, job, Phase.SCREENING, epochs=0, seed_index=index)


def get(session: Session, job_id: str) -> Job:
    """The job of that id. Raises NotFound."""
    job = session.get(Job, job_id)
    if job is None:
        raise missing(job_id)
    return job


def lock(session: Session, job_id: str) -> Job:
    """The job of that id, with its row locked until the transaction ends. Raises NotFound."""
    job = session.get(Job, job_id, with_for_update=True, populate_existing=True)
    if job is None:
        raise missing(job_id)
    return job


def missing(job_id: str) -> NotFound:
    """What is said of a job that there is not, and to those who may not see it."""
    return NotFound(f"there is no job {job_id!r}; GET /v1/jobs lists them")


def page(
    session: Session,
    limit: int,
    after: str | None,
    owner: str | None = None,
    *,
    states: Collection[JobState] = (),
    words: str = "",
) -> Sequence[Job]:
    """Jobs, newest first.

    Args:
        session: of the store.
        limit: how many at the most.
        after: the id of the job that they come after.
        owner: whose; None means everybody's.
        states: only those in one of them; none means all.
        words: only those whose id, name, data set or strategy has this in it, in capitals or not; nothing means all.

    Raises:
        InvalidInput: there is no job `after`.
    """
    where = [] if owner is None else [Job.owner == owner]
    if states:
        where.append(Job.state.in_(states))
    if after is not None:
        last = session.get(Job, after)
        if last is None or owner not in (None, last.owner):
            raise InvalidInput("cursor", after, "take next_cursor from the page before")
        older = and_(Job.created_at == last.created_at, Job.id < last.id)
        where.append(or_(Job.created_at < last.created_at, older))
    newest = (Job.created_at.desc(), Job.id.desc())
    if words:
        # Compared here: databases differ in which letters they have capitals for, and some characters mean something.
        told = select(Job.id, *_TOLD).join(Dataset, Dataset.id == Job.dataset_id).where(*where).order_by(*newest)
        rows = session.execute(told.execution_options(yield_per=500))
        named = (row[0] for row in rows if any(words.casefold() in (text or "").casefold() for text in row))
        where = [Job.id.in_(list(islice(named, limit)))]
        rows.close()
    return session.scalars(select(Job).where(*where).order_by(*newest).limit(limit)).all()


_TOLD = (Job.name, Dataset.name, Job.spec["strategy"].as_string())
"""What a job is found by, beside its id."""


@dataclass(frozen=True, slots=True)
class Model:
    """The network that a job ended with: what it is, and the sha256 of its weights."""

    candidate: Candidate
    weights: str


def model(session: Session, job_id: str) -> Model:
    """The network of a job that has succeeded; while its search is taken up again, still that one.

    Raises:
        NotFound: there is no such job.
        NotReady: it has not succeeded yet.
    """
    job = get(session, job_id)
    if job.verdict is None:
        raise NotReady(f"job {job_id} is {job.state}; only the model of a job that has succeeded can be taken over")
    shipped = job.verdict["shipped"]["trial"]
    trial = session.scalars(select(Trial).where(Trial.job_id == job_id, Trial.number == shipped)).one()
    weights = files.artifact(session, trial.id, "weights")
    if weights is None:
        raise NotReady(f"the weights of job {job_id} are gone")
    frame = spec_of(job).space.shape()
    return Model(Candidate.from_json(trial.candidate, frame), weights)
