"""One step of a worker: claim or propose, evaluate, record. The whole life of a trial on one screen."""

import logging
import traceback
from collections.abc import Callable

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from nas.errors import Diverged, Infeasible, LeaseLost, SpaceExhausted, Stopped
from nas.store import jobs, trials
from nas.store.states import Phase, Reason, TrialState
from nas.store.trials import Claim
from worker.context import Context
from worker.finals import move_on, report
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
    """A queued trial, or a new number of a job that wants more."""
    for way in (trials.claim, trials.reserve):
        with context.store.write() as session:
            claim = way(session, context.worker, context.settings.lease_s)
        if claim is not None:
            return claim
    return None


def run(context: Context, claim: Claim) -> None:
    """Runs a claimed trial to its end, whatever that is, and records why it ended."""
    log.info("job %s trial %d (%s): attempt %d", claim.job_id, claim.number, claim.phase, claim.attempt)
    try:
        if claim.phase == Phase.REPORT:
            report(context, claim)
        else:
            train(context, claim)
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
    except (OperationalError, InterfaceError):
        raise  # the database is away, which is no fault of the trial: its lease runs out, and it is resumed
    except Exception:  # whatever else a trial raises is recorded with it, and the search goes on
        log.exception("job %s trial %d failed", claim.job_id, claim.number)
        _fail(context, claim, Reason.ERROR, traceback.format_exc())


def _fail(context: Context, claim: Claim, reason: Reason, error: str) -> None:
    """A search can do without a failed trial; a job cannot do without its later phases, so they are tried again."""
    error = error.replace("\x00", "\\x00")  # PostgreSQL's text cannot hold it

    def record(session: Session) -> None:
        again = reason == Reason.ERROR and claim.phase != Phase.SEARCH and trials.retry(session, claim, error)
        if not again:
            trials.finish(session, claim, TrialState.FAILED, reason=reason, error=error)

    _record(context, record)


def _record(context: Context, write: Callable[[Session], object]) -> None:
    try:
        with context.store.write() as session:
            write(session)
    except LeaseLost as lost:
        log.warning("%s; nothing is written", lost)
