"""What a driver has under way: which attempts Tune runs, and what becomes of each when the nodes tell of it."""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, TypeVar

from nas.errors import LeaseLost
from nas.log import about
from nas.store import drivers
from nas.store.claims import Claim
from nas.store.states import ENDED_JOB, JobState, Phase, Reason
from worker.cluster.attempts import Attempt, NotShared, next_claim
from worker.cluster.books import Books, Entry
from worker.cluster.deaths import NodeLost, meaning
from worker.cluster.holding import Holding
from worker.cluster.ride import News
from worker.cluster.slots import Slots
from worker.cluster.trainable import BEAT_S, DRIVE, NEED, ORDER
from worker.context import Context
from worker.course import Course
from worker.ending import recorded
from worker.orders import Order, Outcome
from worker.phases import PARTS
from worker.telling import tell_epoch

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_S: Final = 0.5
"""A job that had nothing to be done is looked at again after this time, or when a trial has ended."""

IDLE_S: Final = 5.0
"""A job in which nothing runs, and nothing is to be done, is left after this time."""

NO_ROOM_S: Final = 60.0
"""A job of which no trial fits on any node of the cluster is left after this time."""

SHORT_S: Final = 0.3
"""So long at most the running trials wait for the search of the next one, if there is a choice."""


class UnderWay:
    """Answers Tune (worker.cluster.searcher.Drives) as the rows have it.

    Args:
        context: of the driver alone, which works on one trial after the other.
        holding: its hold on the job.
        slots: what there is room for on the cluster.
        drive: the name of its places there.
    """

    def __init__(self, context: Context, holding: Holding, slots: Slots, drive: str) -> None:
        self.ended_well = 0
        self.failure: Exception | None = None
        self.no_room = False
        self._context, self._holding, self._slots, self._drive = context, holding, slots, drive
        self._own = context.grip
        self._books = Books(context, until=context.stopping)
        self._attempts: dict[str, Attempt] = {}
        self._sharing: set[str] = set()
        self._look_at = 0.0
        self._idle = False

    # --- what Tune asks

    def next_config(self, tune_id: str) -> dict[str, Any] | None:
        """The configuration of another trial; None: there is none now, or all is over.

        Where nothing runs, it waits here for what there may be: Tune would sleep for longer.
        """
        return self._guarded(lambda: self._next_config(tune_id), None)

    def over(self) -> bool:
        """Whether everything has to stop: the worker, the job, or this driver's hold on it."""
        self._guarded(self._books.write_if_due, None)
        return self._leaving()

    def began(self, tune_id: str, actor: Any) -> None:
        """Notes that an actor has the trial."""
        if tune_id in self._attempts:
            self._attempts[tune_id].runs = True
            self._slots.used(actor)

    def told(self, tune_id: str, news: News) -> bool:
        """Takes what a node tells; whether the trial ends with that."""
        return self._guarded(lambda: self._told(tune_id, news), True)

    def ended(self, tune_id: str) -> None:
        """Notes that Tune has stopped a trial: if we did not, its scheduler compared it with others."""
        if tune_id in self._attempts and not self._leaving():
            self._guarded(lambda: self._conclude(tune_id, Outcome(), Reason.RUNG), None)

    def died(self, tune_id: str, text: str) -> None:
        """Notes that a trial's actor failed."""
        if tune_id in self._attempts and not self._leaving():
            self._guarded(lambda: self._settle(tune_id, meaning(text)), None)

    # --- the end

    def leave(self, why: Exception) -> None:
        """Hands back what has not ended. Raises OperationalError, InterfaceError: the database is away."""
        try:
            self._books.write()
            for tune_id in list(self._attempts):
                self._settle(tune_id, why)
        finally:
            for attempt in self._attempts.values():  # or they would be renewed for ever
                attempt.grip.close()
            self._books.close()

    # --- how it comes about

    def _next_config(self, tune_id: str) -> dict[str, Any] | None:
        begun = time.monotonic()
        while not self._leaving():
            if self._slots.take_one(len(self._attempts), sum(attempt.runs for attempt in self._attempts.values())):
                order = self._find() if time.monotonic() >= self._look_at else None
                if order is not None:
                    return self._send(tune_id, order)
            if self._attempts:
                return None
            waited_s = time.monotonic() - begun
            self.no_room = not self._slots.any
            seen = self._holding.seen
            ended = seen is not None and seen.state in ENDED_JOB
            self._idle = ended or waited_s > (NO_ROOM_S if self.no_room else IDLE_S)
            time.sleep(0.1)
        return None

    def _find(self) -> Order | None:
        """What is to be carried out next; None if there is nothing now."""
        begun = time.monotonic()
        while (claim := next_claim(self._context, self._leaving)) is not None:
            order = self._prepare(claim)
            if order is not None:
                return order
            if time.monotonic() < self._look_at or (self._attempts and time.monotonic() - begun > SHORT_S):
                return None
        self._look_at = time.monotonic() + LOOK_S
        return None

    def _prepare(self, claim: Claim) -> Order | None:
        """Prepares a claimed trial, which Tune gets to know if it is to be sent."""
        self._attempts[_NEW] = attempt = self._attempt(claim)
        try:
            with _about(claim), attempt.spent.timed("prepare"):
                log.info("job %s trial %d (%s): attempt %d", claim.job_id, claim.number, claim.phase, claim.attempt)
                order = PARTS[claim.phase].prepare(self._of(_NEW), claim)
        except Exception as error:  # whatever it is, the trial has ended with it
            self._settle(_NEW, error)
            return None
        if order is None:
            self._close(_NEW)
        return order

    def _send(self, tune_id: str, order: Order) -> dict[str, Any]:
        attempt = self._attempts.pop(_NEW)
        attempt.claim, attempt.course = order.claim, Course(self._context, order.claim)
        self._attempts[tune_id] = attempt
        need, beat_s = self._slots.need(order.claim), self._slots.beat_s(len(self._attempts))
        return {ORDER: order, NEED: need, DRIVE: self._drive, BEAT_S: beat_s}

    def _told(self, tune_id: str, news: News) -> bool:
        attempt = self._attempts.get(tune_id)
        if attempt is None or self._leaving():
            return True
        if self._misses(attempt):
            log.warning("trial %d was taken away; nothing is written", attempt.claim.number)
            self._close(tune_id)
            return True
        new = attempt.place is None
        attempt.place = news.place
        if (missing := self._missing(news)) is not None:
            self._settle(tune_id, NotShared(news.place, missing))
            return True
        with _about(attempt.claim):
            for result in (each for told in news.told for each in told.epochs):
                attempt.spent.trained(result)
                tell_epoch(attempt.claim, result)
        if new or news.told:
            self._books.add(Entry(attempt.claim, news.told, news.place if new else None))
        if news.failure is not None:
            self._settle(tune_id, news.failure)
            return True
        if news.outcome is not None:
            self._conclude(tune_id, news.outcome)
            return True
        if news.waits and news.last is not None:
            return not self._goes_on(tune_id, news.last.epoch)
        if self._too_late(attempt):
            self._conclude(tune_id, Outcome(), Reason.BUDGET)
            return True
        return False

    def _missing(self, news: News) -> str | None:
        """A file that a node says it has stored, and that is not there; each node is asked once."""
        if news.node in self._sharing or not news.files:
            return None
        stored = news.files[-1]
        if not self._context.artifacts.exists(stored.sha256):
            return stored.sha256
        self._sharing.add(news.node)
        return None

    def _goes_on(self, tune_id: str, epoch: int) -> bool:
        """Whether a trial that waits trains on; if not, it has ended here, or waits at its rung."""
        self._books.write()
        self._of(tune_id)
        if self._books.patiently(lambda: self._attempts[tune_id].course.goes_on(epoch)):
            return True
        self._conclude(tune_id, Outcome())
        return False

    def _too_late(self, attempt: Attempt) -> bool:
        """Whether the time of the search is over, or it has what it was for; an epoch under way does not count."""
        over = self._holding.search_over(attempt.since) or attempt.course.out_of_time()
        return attempt.claim.phase == Phase.SEARCH and over

    def _conclude(self, tune_id: str, outcome: Outcome, ended: Reason | None = None) -> None:
        self._books.write()
        attempt = self._attempts[tune_id]
        attempt.course.ended = attempt.course.ended or ended
        try:
            conclude = PARTS[attempt.claim.phase].conclude
            context = self._of(tune_id)
            with _about(attempt.claim), attempt.spent.timed("write"):
                self._books.patiently(lambda: conclude(context, attempt.claim, outcome, attempt.course))
        except Exception as error:
            self._settle(tune_id, error)
            return
        self._close(tune_id)
        self.ended_well += 1
        seen = self._holding.seen
        if seen is not None and seen.lost:
            with self._context.store.write() as session:
                drivers.progressed(session, attempt.claim.job_id)

    def _settle(self, tune_id: str, error: Exception) -> None:
        """Records that an attempt came to a bad end."""
        self._books.write()
        claim = self._attempts[tune_id].claim
        try:
            if isinstance(error, NodeLost):
                log.warning("job %s trial %d: %s", claim.job_id, claim.number, error)
                with self._context.store.write() as session:
                    drivers.lose_node(session, claim, str(error))
            else:
                with _about(claim):
                    rest_s = recorded(self._of(tune_id), claim, error)
                self._look_at = max(self._look_at, time.monotonic() + rest_s)
        except LeaseLost as lost:
            log.warning("%s; nothing is written", lost)
        finally:
            self._close(tune_id)

    def _attempt(self, claim: Claim) -> Attempt:
        grip = self._own.beside()
        grip.keep(claim)
        return Attempt(claim, grip, Course(self._context, claim), time.monotonic())

    def _close(self, tune_id: str) -> None:
        self._attempts.pop(tune_id).grip.close()
        self._context.grip = self._own
        self._look_at = min(self._look_at, time.monotonic())

    def _of(self, tune_id: str) -> Context:
        """The driver's context, at work on that trial."""
        attempt = self._attempts[tune_id]
        self._context.grip, self._context.spent = attempt.grip, attempt.spent
        return self._context

    def _misses(self, attempt: Attempt) -> bool:
        return attempt.grip.lost or self._holding.misses(attempt.claim, attempt.since)

    def _leaving(self) -> bool:
        seen = self._holding.seen
        if self.failure is not None or self._idle or self._context.stopping() or self._holding.lost:
            return True
        if seen is None:
            return False
        if seen.state == JobState.PAUSED:
            return True
        gone = [self._misses(attempt) for attempt in self._attempts.values()]
        return seen.state in ENDED_JOB and bool(gone) and all(gone)

    def _guarded(self, act: Callable[[], T], otherwise: T) -> T:
        """Acts; whatever goes wrong ends the drive and is raised after it: Tune would make a text of it."""
        if self.failure is not None:
            return otherwise
        try:
            return act()
        except Exception as error:
            log.warning("the drive ends: %s: %s", type(error).__name__, error)
            self.failure = error
            return otherwise


def _about(claim: Claim) -> AbstractContextManager[None]:
    """What is logged in the block is the trial's, as it would be in a worker."""
    return about(job_id=claim.job_id, trial=claim.number, attempt=claim.attempt)


_NEW: Final = ""
"""Stands for the trial that is being prepared, which Tune has not heard of."""
