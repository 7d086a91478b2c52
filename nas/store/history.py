"""What strategies and pruning see of a job: a reading of its rows."""

from collections.abc import Sequence

from sqlalchemy import bindparam, select, union_all
from sqlalchemy.orm import Session

from nas.errors import LeaseLost
from nas.search.strategy import Observation
from nas.space import Candidate
from nas.spec import JobSpec
from nas.store.numbering import index_of
from nas.store.observations import SCORES, observation
from nas.store.states import BUSY_TRIAL, Phase
from nas.store.tables import Job, Trial

AT_ONCE = 500
"""Rows that one question names; databases bound how many parameters it may have."""


class Replay:
    """The search trials of one job, read again and again: only what may have changed is read, however many there are.

    A trial that ended or waits is changed only with its job's version, and under the lock of the job's row: what a
    snapshot with a version does not show has a higher one.
    """

    def __init__(self, spec: JobSpec) -> None:
        self._spec = spec
        self._frame = spec.space.shape()
        self._lasting = spec.scheduler is None or spec.scheduler.method != "pbt"  # there a trial may become another one
        self._version = -1
        self._known: dict[int, Observation[Candidate]] = {}
        self._digests: dict[int, str] = {}

    @property
    def digests(self) -> set[str]:
        """Of the candidates that were read."""
        return set(self._digests.values())

    def read(self, session: Session, job_id: str) -> list[Observation[Candidate]]:
        """The search trials that have a candidate, by number from 0. Raises LeaseLost if the job was deleted."""
        job = session.get(Job, job_id)
        if job is None:
            raise LeaseLost(f"job {job_id} was deleted")
        if job.version < self._version:  # the database is an older one
            self._version, self._known, self._digests = -1, {}, {}
        named = {"job": job_id, "version": self._version}
        changed = session.connection().scalars(_CHANGED, named).all()
        for begin in range(0, len(changed), AT_ONCE):
            self._read(session, job, changed[begin : begin + AT_ONCE])
        self._version = job.version
        return [self._known[number] for number in sorted(self._known)]

    def _read(self, session: Session, job: Job, numbers: Sequence[int]) -> None:
        for row in session.connection().execute(_SHOWN, {"job": job.id, "numbers": numbers}):
            before = self._known.get(row.number)
            kept = before.candidate if before and self._lasting else Candidate.from_json(row.candidate, self._frame)
            found = observation(row, index_of(job, row.number), kept, self._spec.objectives)
            self._known[row.number], self._digests[row.number] = found, row.digest


_NUMBERS = select(Trial.number).where(
    Trial.job_id == bindparam("job"), Trial.phase == Phase.SEARCH, Trial.digest.is_not(None)
)
_CHANGED = union_all(
    # two questions, with an index each: together they would be answered by reading all trials
    _NUMBERS.where(Trial.changed > bindparam("version"), Trial.state.not_in(BUSY_TRIAL)),
    _NUMBERS.where(Trial.state.in_(BUSY_TRIAL)),  # a candidate is written without a new version of the job
)
_SHOWN = select(*SCORES, Trial.digest, Trial.candidate).where(
    Trial.job_id == bindparam("job"), Trial.number.in_(bindparam("numbers", expanding=True))
)
