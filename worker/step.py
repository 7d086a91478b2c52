"""One step of a worker: claim or propose, evaluate, record. The whole life of a trial on one screen."""

import logging
import traceback
from collections.abc import Callable
from typing import Final

import torch
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from nas.errors import Diverged, Infeasible, LeaseLost, SpaceExhausted, Stopped
from nas.store import jobs, trials
from nas.store.states import Phase, Reason, TrialState
from nas.store.trials import Claim
from worker.context import Context
from worker.finals import move_on, report
from worker.promote import promote
from worker.retrain import retrain
from worker.screening import screen
from worker.supernet import search
from worker.train import train

log = logging.getLogger(__name__)


def step(context: Context) -> bool:
    """Does the most useful thing there is to do; False if there was nothing."""
    trials.reap(context.store)
    claim = take(context)
    if claim is None:
        return move_on(context)
    context.heartbeat.keep(claim)
    try:
        run(context, claim)
    finally:
        context.heartbeat.keep(None)
    return True


def take(context: Context) -> Claim | None:
    """A queued trial, a paused one that may go on, or a new number of a job that wants more."""
    lease_s = context.settings.lease_s
    with context.store.write() as session:
        claim = trials.claim(session, context.worker, lease_s)
    claim = claim or promote(context)
    if claim is None:
        with context.store.write() as session:
            claim = trials.reserve(session, context.worker, lease_s)
    return claim


def run(context: Context, claim: Claim) -> None:
    """Runs a claimed trial to its end, whatever that is, and records why it ended."""
    log.info("job %s trial %d (%s): attempt %d", claim.job_id, claim.number, claim.phase, claim.attempt)
    try:
        RUNS[claim.phase](context, claim)
    except LeaseLost as lost:
        log.warning("%s; nothing is written", lost)
    except Stopped:
        if context.heartbeat.lost:
            log.warning("trial %d of job %s was taken away; nothing is written", claim.number, claim.job_id)
        else:
            _record(context, lambda session: trials.hand_back(session, claim))
    except SpaceExhausted as exhausted:
        note = str(exhausted)
        _record(context, lambda session: jobs.drop(session, claim, note))
    except Infeasible as infeasible:
        log.info("job %s trial %d is not trained: %s", claim.job_id, claim.number, infeasible)
    except Diverged as diverged:
        _fail(context, claim, Reason.DIVERGED, str(diverged))
    except (torch.OutOfMemoryError, MemoryError) as error:
        _fail(context, claim, Reason.OUT_OF_MEMORY, str(error) or "there is not enough memory")
    except (OperationalError, InterfaceError):
        raise  # the database is away, which is no fault of the trial: its lease runs out, and it is resumed
    except Exception:  # whatever else a trial raises is recorded with it, and the search goes on
        log.exception("job %s trial %d failed", claim.job_id, claim.number)
        _fail(context, claim, Reason.ERROR, traceback.format_exc())


RUNS: Final[dict[Phase, Callable[[Context, Claim], None]]] = {
    Phase.SCREENING: screen,
    Phase.SUPERNET: search,
    Phase.SEARCH: train,
    Phase.FINALIST: train,
    Phase.CONTROL: train,
    Phase.REFERENCE: train,
    Phase.REPORT: report,
    Phase.RETRAIN: retrain,
}
"""What a trial of each phase does."""


def _fail(context: Context, claim: Claim, reason: Reason, error: str) -> None:
    """A search can do without a failed trial; a job cannot do without its later phases, so they are tried again."""
    error = error.replace("\x00", "\\x00")  # PostgreSQL's text cannot hold it

    def record(session: Session) -> None:
        again = reason == Reason.ERROR and claim.phase != Phase.SEARCH and trials.retry(session, claim, reason, error)
        # The device may have been shared; what is too large for it when it is tried again is a bad candidate.
        again = again or (reason == Reason.OUT_OF_MEMORY and trials.retry(session, claim, reason, error, tries=2))
        if not again:
            trials.finish(session, claim, TrialState.FAILED, reason=reason, error=error)

    _record(context, record)


def _record(context: Context, write: Callable[[Session], object]) -> None:
    try:
        with context.store.write() as session:
            write(session)
    except LeaseLost as lost:
        log.warning("%s; nothing is written", lost)
