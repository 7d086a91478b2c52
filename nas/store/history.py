"""What strategies and pruning see of a job: a reading of its rows."""

from collections.abc import Sequence

from sqlalchemy import String, select, type_coerce
from sqlalchemy.orm import Session

from nas.errors import LeaseLost
from nas.objectives import worth
from nas.search.strategy import Observation
from nas.space import Candidate
from nas.spec import JobSpec
from nas.store.numbering import index_of
from nas.store.states import FINISHED_TRIAL, Phase, Reason, TrialState
from nas.store.tables import Job, Trial

AT_ONCE = 500
"""Rows that one question names; databases bound how many parameters it may have."""


class Replay:
    """The search trials of one job, read again and again: only what has changed is read, and a candidate parsed once.

    What is known of a trial that is not running follows from its state and its epoch; those are read every time.
    """

    def __init__(self, spec: JobSpec) -> None:
        self._spec = spec
        self._frame = spec.space.shape()
        self._known: dict[int, tuple[str, int, Observation[Candidate]]] = {}

    def read(self, session: Session, job_id: str) -> list[Observation[Candidate]]:
        """The search trials that have a candidate, by number from 0. Raises LeaseLost if the job was deleted."""
        job = session.get(Job, job_id)
        if job is None:
            raise LeaseLost(f"job {job_id} was deleted")
        heads = session.execute(
            select(Trial.number, type_coerce(Trial.state, String), Trial.epoch).where(
                Trial.job_id == job_id, Trial.phase == Phase.SEARCH, Trial.digest.is_not(None)
            )
        ).all()
        known = self._known
        changed = [
            number
            for number, state, epoch in heads
            if state in _MOVING or number not in known or known[number][:2] != (state, epoch)
        ]
        for begin in range(0, len(changed), AT_ONCE):
            self._read(session, job, changed[begin : begin + AT_ONCE])
        return [known[number][2] for number in sorted(number for number, _, _ in heads)]

    def _read(self, session: Session, job: Job, numbers: Sequence[int]) -> None:
        columns = (Trial.number, Trial.state, Trial.reason, Trial.epoch, Trial.accuracy, Trial.rungs)
        costs = (Trial.params, Trial.macs, Trial.latency_ms, Trial.memory_mb)
        rows = session.execute(
            select(*columns, *costs, Trial.candidate).where(Trial.job_id == job.id, Trial.number.in_(numbers))
        )
        for number, state, reason, epoch, accuracy, rungs, params, macs, latency_ms, memory_mb, candidate in rows:
            cost = {"params": params, "macs": macs, "latency_ms": latency_ms, "memory_mb": memory_mb}
            unusable = reason in (Reason.DIVERGED, Reason.OUT_OF_MEMORY) or state == TrialState.FAILED
            score, others = worth(self._spec.objectives, None if unusable else accuracy, cost)
            before = self._known.get(number)
            observation = Observation(
                number=index_of(job, number),
                candidate=before[2].candidate if before else Candidate.from_json(candidate, self._frame),
                finished=state in FINISHED_TRIAL,
                complete=state == TrialState.COMPLETE,
                epoch=epoch,
                score=score,
                infeasible=state == TrialState.INFEASIBLE,
                paused=state == TrialState.PAUSED,
                rungs=tuple((at, worth(self._spec.objectives, value, cost)[0] or 0.0) for at, value in rungs or ()),
                others=others,
            )
            self._known[number] = (str(state), epoch, observation)


_MOVING = (str(TrialState.QUEUED), str(TrialState.RUNNING))


def digests(session: Session, job_id: str) -> set[str]:
    """The digests of a job's search trials."""
    rows = select(Trial.digest).where(Trial.job_id == job_id, Trial.phase == Phase.SEARCH, Trial.digest.is_not(None))
    return {digest for digest in session.scalars(rows) if digest is not None}
