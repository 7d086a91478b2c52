"""What strategies and pruning see of a job: a reading of its rows."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from nas.search.strategy import Observation
from nas.space import Candidate, Shape
from nas.store.states import FINISHED_TRIAL, Phase, Reason, TrialState
from nas.store.tables import Epoch, Trial


def observations(session: Session, job_id: str, frame: Shape, since: int = 0) -> list[Observation[Candidate]]:
    """The search trials of a job with numbers from `since` on that have a candidate, in their order.

    Args:
        session: to read with.
        job_id: of the job.
        frame: of candidates that an older version wrote without theirs.
        since: the first number.
    """
    rows = session.execute(
        select(Trial.number, Trial.candidate, Trial.state, Trial.reason, Trial.epoch, Trial.accuracy)
        .where(Trial.job_id == job_id, Trial.phase == Phase.SEARCH, Trial.number >= since, Trial.digest.is_not(None))
        .order_by(Trial.number)
    )
    return [
        Observation(
            number=number,
            candidate=Candidate.from_json(candidate, frame),
            finished=state in FINISHED_TRIAL,
            complete=state == TrialState.COMPLETE,
            epoch=epoch,
            infeasible=state == TrialState.INFEASIBLE,
            accuracy=None if reason == Reason.DIVERGED or state == TrialState.FAILED else accuracy,
        )
        for number, candidate, state, reason, epoch, accuracy in rows
    ]


def digests(session: Session, job_id: str) -> set[str]:
    """The digests of a job's search trials."""
    rows = select(Trial.digest).where(Trial.job_id == job_id, Trial.phase == Phase.SEARCH, Trial.digest.is_not(None))
    return {digest for digest in session.scalars(rows) if digest is not None}


def rung(session: Session, job_id: str, epoch: int) -> list[float]:
    """The validation accuracies of all search trials of a job that reached that epoch, at that epoch."""
    return list(
        session.scalars(
            select(Epoch.validation_accuracy)
            .join(Trial, Trial.id == Epoch.trial_id)
            .where(Trial.job_id == job_id, Trial.phase == Phase.SEARCH, Epoch.epoch == epoch)
        )
    )
