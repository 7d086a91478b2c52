"""The search trials of a job as a study is made of them: pages of all there is, and what a model of them needs."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from nas.errors import InvalidInput
from nas.search.strategy import Observation
from nas.search.study import Record
from nas.space import Candidate
from nas.spec import JobSpec
from nas.store.history import AT_ONCE
from nas.store.jobs import get
from nas.store.moves import costs_of
from nas.store.numbering import index_of
from nas.store.observations import SCORES, observation
from nas.store.specs import spec_of
from nas.store.states import Phase, TrialState
from nas.store.tables import Epoch, Job, Trial


@dataclass(frozen=True, slots=True)
class Part:
    """Some search trials in their order, and where the next ones begin."""

    spec: JobSpec
    records: tuple[Record, ...]
    next_cursor: str | None


def page(session: Session, job_id: str, limit: int, cursor: str | None) -> Part:
    """The search trials of a job after the cursor, with their curves. Raises NotFound, InvalidInput."""
    job = get(session, job_id)
    spec = spec_of(job)
    rows = session.scalars(
        select(Trial)
        .where(Trial.job_id == job_id, Trial.number > _place(cursor), Trial.phase == Phase.SEARCH)
        .order_by(Trial.number)
        .limit(limit + 1)
    ).all()
    shown = rows[:limit]
    curves: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
    epochs = select(Epoch.trial_id, Epoch.epoch, Epoch.validation_accuracy).order_by(Epoch.trial_id, Epoch.epoch)
    for trial_id, epoch, accuracy in session.execute(epochs.where(Epoch.trial_id.in_([row.id for row in shown]))):
        curves[trial_id].append((epoch, accuracy))
    records = tuple(_record(job, row, spec, curves[row.id]) for row in shown)
    return Part(spec, records, str(shown[-1].number) if len(rows) > limit else None)


def observed(session: Session, job: Job, spec: JobSpec) -> list[tuple[TrialState, Observation[None]]]:
    """The states of all search trials of a job, and what is known of them but their candidates.

    The observations' numbers are those of the trials in the job.
    """
    rows = session.connection().execute(_SCORES, {"job": job.id})
    return [(row.state, observation(row, row.number, None, spec.objectives)) for row in rows]


def candidates(session: Session, job_id: str, spec: JobSpec, numbers: Sequence[int]) -> dict[int, Candidate]:
    """What these trials of a job train, by their numbers."""
    frame = spec.space.shape()
    found: dict[int, Candidate] = {}
    for begin in range(0, len(numbers), AT_ONCE):
        named = {"job": job_id, "numbers": numbers[begin : begin + AT_ONCE]}
        for number, candidate in session.connection().execute(_CANDIDATES, named):
            found[number] = Candidate.from_json(candidate, frame)
    return found


_SCORES = (
    select(*SCORES)
    .where(Trial.job_id == bindparam("job"), Trial.phase == Phase.SEARCH, Trial.digest.is_not(None))
    .order_by(Trial.number)
)
_CANDIDATES = select(Trial.number, Trial.candidate).where(
    Trial.job_id == bindparam("job"),
    Trial.number.in_(bindparam("numbers", expanding=True)),
    Trial.candidate.is_not(None),
)


def _record(job: Job, row: Trial, spec: JobSpec, curve: Sequence[tuple[int, float]]) -> Record:
    return Record(
        index=index_of(job, row.number),
        number=row.number,
        phase=str(row.phase),
        state=str(row.state),
        reason=row.reason,
        digest=row.digest,
        epoch=row.epoch,
        candidate=None if row.candidate is None else Candidate.from_json(row.candidate, spec.space.shape()),
        accuracy=row.accuracy,
        costs=costs_of(row),
        curve=tuple(curve),
        created=row.created_at,
        started=row.started_at,
        finished=row.finished_at,
    )


def _place(cursor: str | None) -> int:
    """The number after which a page begins."""
    if cursor is None:
        return -1
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 10):
        raise InvalidInput("cursor", cursor, "take next_cursor from the page before")
    return int(cursor)
