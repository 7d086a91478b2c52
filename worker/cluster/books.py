"""What the nodes have told of their trials and is not written yet: all of it goes to the database at once."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from nas.errors import LeaseLost
from nas.store import drivers, trials
from nas.store.cache import LOGS
from nas.store.claims import Claim
from worker.cluster.ride import Told
from worker.context import Context

log = logging.getLogger(__name__)

T = TypeVar("T")

WRITE_S: Final = 1.0
"""What nobody waits for is written so often."""


@dataclass(frozen=True, eq=False, slots=True)
class Entry:
    """Something to be written of a trial: epochs, or where it runs.

    Attributes:
        claim: the trial.
        told: epochs, in order.
        place: the node that it runs on, where that is new.
    """

    claim: Claim
    told: tuple[Told, ...]
    place: str | None = None


class Books:
    """Entries in the order of their coming, and the transaction that writes them.

    Args:
        context: of the driver.
        until: whether nothing is to be written any more.
    """

    def __init__(self, context: Context, until: Callable[[], bool]) -> None:
        self._context, self._until = context, until
        self._entries: list[Entry] = []
        self._due = 0.0
        self._deleting = ThreadPoolExecutor(4, thread_name_prefix="deleting")

    def add(self, entry: Entry) -> None:
        """Notes something to be written with the next write."""
        if not self._entries:
            self._due = time.monotonic() + WRITE_S
        self._entries.append(entry)

    def write_if_due(self) -> None:
        """Writes what has waited long enough."""
        if self._entries and time.monotonic() >= self._due:
            self.write()

    def write(self) -> None:
        """Writes all there is, in one transaction; what belongs to a trial that was lost is left out.

        Raises:
            OperationalError, InterfaceError: the database did not answer for a lease.
        """
        entries, self._entries = self._entries, []
        if entries:
            try:
                self._write(entries)
            except LeaseLost:  # the others are to be written all the same
                for entry in entries:
                    try:
                        self._write([entry])
                    except LeaseLost as lost:
                        log.warning("%s; nothing is written", lost)

    def patiently(self, act: Callable[[], T]) -> T:
        """Does what needs the database, and tries again for the time of a lease if that does not answer."""
        give_up = time.monotonic() + self._context.settings.lease_s
        while True:
            try:
                return act()
            except (OperationalError, InterfaceError) as error:
                if self._until() or time.monotonic() >= give_up:
                    raise
                log.warning("the database does not answer (%s); trying again", error.orig)
                time.sleep(0.5)

    def delete(self, sha256: str) -> None:
        """Deletes a checkpoint that nobody needs any more, while the driver goes on."""
        self._deleting.submit(self._context.artifacts.delete, sha256)

    def close(self) -> None:
        """Waits for what is being deleted."""
        self._deleting.shutdown()

    def _write(self, entries: Sequence[Entry]) -> None:
        context = self._context

        def act() -> list[str | None]:
            with context.stages.timed("report"), context.store.write() as session:
                return [sha256 for entry in entries for sha256 in self._written(session, entry)]

        for sha256 in self.patiently(act):
            if sha256 is not None:
                self.delete(sha256)
        for entry in entries:
            context.stages.add("epochs", entry.claim.phase, sum(len(told.epochs) for told in entry.told))
        context.stages.flush(context.store)

    def _written(self, session: Session, entry: Entry) -> list[str | None]:
        """Writes an entry; the checkpoints that were replaced. Raises LeaseLost."""
        claim, replaced = entry.claim, []
        if entry.place is not None:
            drivers.place(session, claim, entry.place)
        for told in entry.told:
            for result in told.epochs:
                stored = told.checkpoint if result is told.epochs[-1] else None
                replaced.append(trials.report(session, claim, result, stored, self._context.settings.lease_s))
                if (logged := told.logs.get(result.epoch)) is not None:
                    trials.attach(session, claim, f"{LOGS}{result.epoch:04d}", logged)
        return replaced
