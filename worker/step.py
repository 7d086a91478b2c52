"""One step of a worker: claim or propose, evaluate, record. The whole life of a trial on one screen."""

import logging
from collections.abc import Callable
from typing import Final

from nas.store import claims, queue, trials
from nas.store.claims import Claim
from nas.store.leases import Lease
from nas.store.queue import Standing, Survey
from nas.store.states import Phase
from worker.context import Context
from worker.ending import settle
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
    seen = look(context)
    settled = next((job.job_id for job in seen.ripe if not job.promotes), None)
    # before anything else: it is short, and a job that is done must not wait until all others are
    if (settled or seen.leftover) and move_on(context, settled):
        return True
    claim = take(context, seen)
    if claim is None:
        return bool(seen.ripe) and move_on(context, seen.ripe[0].job_id)
    context.heartbeat.keep(claim)
    try:
        run(context, claim)
    finally:
        context.heartbeat.keep(None)
    return True


LOOKS: Final = 8
"""Times that a worker looks whose turn it is, when others were served by the job that it chose, before it takes any."""


def look(context: Context) -> Survey:
    """What there is to do."""
    with context.store.read() as session:
        return queue.survey(session, str(context.device))


def take(context: Context, seen: Survey) -> Claim | None:
    """A trial of the job whose turn it is, if there is any."""
    for looks_left in reversed(range(LOOKS)):
        exact = len(seen.offers) > 1 and looks_left > 0
        for offer in seen.offers:
            claim = take_of(context, offer, exact=exact)
            if claim is not None:
                return claim
            if exact and (offer.queued or offer.adds):
                break  # it was another job's turn by now, or this one has nothing any more
        else:
            return None
        seen = look(context)
    return None


def take_of(context: Context, offer: Standing, *, exact: bool) -> Claim | None:
    """A queued trial of a job, a paused one that may go on, or a new number, whatever comes first."""
    lease = Lease(context.worker, str(context.device), context.settings.lease_s)
    claim = None
    if offer.queued:
        with context.store.write() as session:
            claim = claims.claim(session, offer, lease, exact=exact)
    if claim is None and offer.promotes:
        claim = promote(context, offer.job_id, lease)
    if claim is None and offer.adds:
        with context.store.write() as session:
            claim = claims.reserve(session, offer, lease, exact=exact)
    return claim


def run(context: Context, claim: Claim) -> None:
    """Runs a claimed trial to its end, whatever that is, and records why it ended."""
    with context.stages.trial(claim, context.worker):
        log.info("job %s trial %d (%s): attempt %d", claim.job_id, claim.number, claim.phase, claim.attempt)
        try:
            RUNS[claim.phase](context, claim)
        except Exception as error:
            settle(context, claim, error)
    context.stages.flush(context.store)


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
