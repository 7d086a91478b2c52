"""One step of a worker: claim or propose, evaluate, record. The whole life of a trial on one screen."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from nas.errors import SpecUnreadable, Stopped
from nas.store import claims, drivers, queue, trials
from nas.store.claims import Claim
from nas.store.leases import Lease
from nas.store.queue import Standing, Survey
from nas.store.states import Phase, Reason
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from worker.context import Context
from worker.course import Course
from worker.ending import settle
from worker.finals import move_on
from worker.needs import need_of
from worker.orders import Machine, Order, Outcome
from worker.phases import PARTS
from worker.promote import promote
from worker.spent import Spent
from worker.telling import tell_epoch
from worker.train import write_epochs
from worker.writer import Done, Writer

log = logging.getLogger(__name__)


def step(context: Context) -> bool:
    """Does the most useful thing there is to do; False if there was nothing."""
    trials.reap(context.store)
    drivers.reap(context.store)
    try:
        return _step(context, look(context))
    except SpecUnreadable as error:  # others may know it, or nobody; all other jobs are to go on
        log.warning("%s; this worker leaves it alone", error)
        context.left_alone.add(error.job_id)
        return False


def _step(context: Context, seen: Survey) -> bool:
    settled = next((job.job_id for job in seen.ripe if not job.promotes), None)
    # before anything else: it is short, and a job that is done must not wait until all others are
    if (settled or seen.leftover) and move_on(context, settled):
        return True
    if seen.offers and seen.offers[0].drives and drive(context, seen.offers[0].job_id):
        return True
    claim = take(context, seen)
    if claim is None:
        return bool(seen.ripe) and move_on(context, seen.ripe[0].job_id)
    context.grip.keep(claim)
    try:
        run(context, claim)
    finally:
        context.grip.keep(None)
    return True


def drive(context: Context, job_id: str) -> bool:
    """Drives a job on Ray until it ends or another one drives it; False if that cannot be done now."""
    from worker.cluster.driver import drive  # Ray, which most workers never need: seconds of imports

    return drive(context, job_id)


LOOKS: Final = 8
"""Times that a worker looks whose turn it is, when others were served by the job that it chose, before it takes any."""


def look(context: Context) -> Survey:
    """What there is to do."""
    with context.store.read() as session:
        seen = queue.survey(session, str(context.device), ray=context.ray, driving=context.driving)
    offers = tuple(job for job in seen.offers if job.job_id not in context.left_alone)
    ripe = tuple(job for job in seen.ripe if job.job_id not in context.left_alone)
    return replace(seen, offers=offers, ripe=ripe)


def take(context: Context, seen: Survey) -> Claim | None:
    """A trial of the job whose turn it is, if there is any."""
    for looks_left in reversed(range(LOOKS)):
        offers = [offer for offer in seen.offers if not offer.drives]
        exact = len(seen.offers) > 1 and looks_left > 0
        for offer in offers:
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
    context.spent = Spent()
    with context.stages.trial(claim, context.worker):
        log.info("job %s trial %d (%s): attempt %d", claim.job_id, claim.number, claim.phase, claim.attempt)
        try:
            with context.spent.timed("prepare"):
                order = PARTS[claim.phase].prepare(context, claim)
            if order is not None:
                carry_out_here(context, order)
        except Exception as error:
            settle(context, claim, error)
        finally:
            context.seat.leave()
    context.stages.flush(context.store)


def carry_out_here(context: Context, order: Order) -> None:
    """Trains in this process. If the time is over in the middle of an epoch, that one does not count."""
    claim = order.claim
    course, parts = Course(context, claim), PARTS[claim.phase]

    writer = Writer(lambda done: write_epochs(context, claim, done))

    def on_epoch(result: EpochResult, take: Callable[[], Checkpoint], events: bytes | None) -> bool:
        context.stages.add("epochs", claim.phase)
        context.stages.flush(context.store)
        context.spent.trained(result)
        tell_epoch(claim, result)
        if claim.phase == Phase.SEARCH and result.epoch == claim.epochs:
            course.last = Done(result, None, events)
            return True
        with context.stages.timed("checkpoint"), context.spent.timed("write"):
            done = Done(result, take(), events)
        with context.stages.timed("report"), context.spent.timed("write"):
            writer.add(done)
            if result.epoch >= (course.stage or claim.stage):  # it is compared with what the rows say
                writer.settle()
        return course.goes_on(result.epoch)

    with context.spent.timed("prepare"):
        data = context.data(claim.dataset_id)
    machine = Machine(
        data=data,
        artifacts=context.artifacts,
        device=context.device,
        source=context.source,
        on_epoch=on_epoch,
        should_stop=lambda: context.should_stop() or course.out_of_time(),
    )
    need = need_of(order, machine.data, context.device)
    try:
        if need is not None:
            with context.spent.timed("prepare"):
                context.seat.take(need, machine.should_stop)
        with writer:
            outcome = parts.carry_out(order, machine)
            with context.spent.timed("write"):
                writer.settle()
    except Stopped:
        if context.should_stop() or not course.out_of_time():
            raise
        course.ended, outcome = Reason.BUDGET, Outcome()
    with context.spent.timed("write"):
        parts.conclude(context, claim, replace(outcome, peak_bytes=context.seat.peak_bytes()), course)
