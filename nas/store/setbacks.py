"""Why attempts at trials came to a bad end: what follows from each reason, and what is kept of it to be shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from nas.store import moves, trials
from nas.store.claims import Claim
from nas.store.states import SEARCHING, Phase, Reason, TrialState
from nas.store.tables import Epoch, Setback
from nas.store.trials import MAX_LOSSES

SHOWN: Final = 20
"""Setbacks of a trial that are shown, the newest ones."""

MAX_ERROR_CHARS: Final = 20_000
"""Of a traceback: its beginning and its end, which say where it happened and what."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What becomes of a trial whose attempt came to a bad end.

    Attributes:
        tries: after so many a trial of the search fails; None: it goes back to the queue, and nothing is counted.
        final_tries: the same of all other phases, which a job cannot do without.
        alone_first: whether one that shared its device is run again with the device to itself, before any of that.
    """

    tries: int | None
    final_tries: int | None
    alone_first: bool = False


POLICIES: Final[dict[Reason, Policy]] = {
    # The lease ran out. A new epoch begins the count anew; see nas.store.trials.reap.
    Reason.LOST: Policy(MAX_LOSSES, MAX_LOSSES),
    # Its worker stopped, its job was paused, the artifact store or the database did not answer.
    Reason.PREEMPTED: Policy(None, None),
    # Others may have had the memory. Alone, its batch is halved; what that is too large for is a bad architecture.
    Reason.OUT_OF_MEMORY: Policy(2, 2, alone_first=True),
    # The same training would diverge again: a bad architecture.
    Reason.DIVERGED: Policy(1, 1),
    # It breaks a limit of the job, and was never trained.
    Reason.INFEASIBLE: Policy(1, 1),
    # Three in a row fail the job, like those below: the next trial would fail as well.
    Reason.DISK_FULL: Policy(1, 3),
    Reason.ERROR: Policy(1, 3),
    # Somebody wants it no more.
    Reason.CANCELLED: Policy(1, 1),
}
"""Reason → what becomes of the trial."""


def record(
    session: Session,
    claim: Claim,
    reason: Reason,
    error: str,
    *,
    shared: bool = False,
    spent: Mapping[str, float] | None = None,
) -> str | None:
    """Ends an attempt at a trial as the policy of its reason has it: the trial goes back to the queue, or fails.

    Args:
        session, claim: of the worker that tried.
        reason, error: why; the error may be a traceback.
        shared: whether it had other trials beside it on its device.
        spent: where the attempt's time went, for a trial that ends with it.

    Returns:
        The sha256 of the trial's checkpoint, if nobody needs it any more.

    Raises:
        LeaseLost: the trial is another worker's.
    """
    policy, error = POLICIES[reason], tidy(error)
    if shared and policy.alone_first and not claim.alone:
        _set_apart(session, claim, reason, error)
        return None
    tries = policy.tries if claim.phase == Phase.SEARCH else policy.final_tries
    if tries is None:
        trials.hand_back(session, claim, error)
        return None
    if tries > 1 and trials.retry(session, claim, reason, error, tries):
        return None
    return trials.finish(session, claim, TrialState.FAILED, reason=reason, error=error, spent=spent)


def follows(claim: Claim, reason: Reason, *, shared: bool = False) -> str:
    """What `record` makes of a trial, for people."""
    policy = POLICIES[reason]
    if shared and policy.alone_first and not claim.alone:
        return "it is tried again with the device to itself"
    tries = policy.tries if claim.phase == Phase.SEARCH else policy.final_tries
    if tries is None:
        return "it goes back to the queue"
    if reason == Reason.OUT_OF_MEMORY and claim.halvings + 1 < tries:
        return "it is tried again with half the batch"
    if reason == Reason.OUT_OF_MEMORY or tries == 1:
        return "it fails"
    return f"it is tried again, unless it has failed {tries} times in a row"


def _set_apart(session: Session, claim: Claim, reason: Reason, error: str) -> None:
    """Gives a trial back to be run alone, with its whole batch, and counts nothing against it. Raises LeaseLost."""
    job, trial = trials.held(session, claim)
    trial.alone = True
    trial.error = error
    trials.release(session, job, trial, reason, error)


def put_back(session: Session, claim: Claim) -> None:
    """Gives a trial back to the queue as if it had not been taken: it never began. Raises LeaseLost."""
    job, trial = trials.held(session, claim)
    trial.owner = trial.lease_until = trial.began_at = None
    moves.move(session, job, trial, TrialState.QUEUED)


def restart(session: Session, claim: Claim) -> Claim:
    """Forgets the epochs of a trial that nothing is left of to go on from, so that they are trained again.

    The job's counts go back with them: they are those of the epochs that there are. Where the trial was compared
    already stays known, and so does the stage that it was let go on to.

    Returns:
        The claim of a trial that begins.

    Raises:
        LeaseLost: the trial is another worker's.
    """
    job, trial = trials.held(session, claim)
    count, seconds = session.execute(
        select(func.count(), func.coalesce(func.sum(Epoch.seconds), 0.0)).where(Epoch.trial_id == trial.id)
    ).one()
    session.execute(delete(Epoch).where(Epoch.trial_id == trial.id))
    if trial.phase != Phase.RETRAIN:
        job.train_seconds = max(0.0, job.train_seconds - seconds)
        if trial.phase in SEARCHING:
            job.search_epochs -= count
        else:
            job.final_epochs -= count
    if trial.cached_from is not None:
        trial.cached_from = None
        job.cached -= 1
    trial.epoch, trial.accuracy = 0, None
    trial.rungs = [rung for rung in trial.rungs or () if rung[0] < trial.stage] or None
    moves.touch(job)
    trial.changed = job.version
    return replace(claim, epoch=0, stage=trial.stage or trial.epochs)


def newest(session: Session, trial_id: int) -> Sequence[Setback]:
    """The last SHOWN setbacks of a trial, in the order in which they happened."""
    rows = select(Setback).where(Setback.trial_id == trial_id).order_by(Setback.id.desc()).limit(SHOWN)
    return session.scalars(rows).all()[::-1]


def tidy(error: str) -> str:
    """An error as any database can hold it: of MAX_ERROR_CHARS at the most, without NULs and lone surrogates."""
    error = error.replace("\x00", "\\x00").encode(errors="backslashreplace").decode()
    left_out = len(error) - MAX_ERROR_CHARS
    if left_out <= 0:
        return error
    half = MAX_ERROR_CHARS // 2
    return f"{error[:half]}\n[{left_out:,} characters are left out]\n{error[-half:]}"
