"""What has to be done whether anybody asks or not, and whether any worker runs or not: the server does it by the clock.

Several servers on one database may do it at the same time; each of these finds done what another has done.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from sqlalchemy.exc import DBAPIError

from api.deps import Parts
from nas.errors import ArtifactsAway
from nas.store import answers, gc, logins, phases, trials

log = logging.getLogger(__name__)

STOP_S: Final = 5.0
"""How long the server waits at its end for what is being done; nothing is harmed if it does not."""


AT_ONCE: Final = 100
"""Batches of paused trials that are ended before the next pause."""


@dataclass(frozen=True, slots=True)
class Chore:
    """Something to do again and again.

    Attributes:
        name: for the log.
        first_s: when it is done for the first time, after the server has started.
        every_s: how long after its end it is done again.
        do: does it; returns how much there was to do.
    """

    name: str
    first_s: float
    every_s: float
    do: Callable[[Parts], int]


def reap(parts: Parts) -> int:
    """Requeues the trials of workers that were not heard of."""
    return trials.reap(parts.store)


def end_paused(parts: Parts) -> int:
    """Ends the trials that wait at a rung of a search that is over."""
    for count in range(AT_ONCE):
        with parts.store.read() as session:
            job_id = phases.leftover(session)
        if job_id is None:
            return count
        with parts.store.write() as session:
            left = phases.end_paused(session, job_id)
        gc.forget(parts.store, parts.artifacts, left)
    return AT_ONCE


def expire_answers(parts: Parts) -> int:
    """Forgets answers whose Idempotency-Keys are free again."""
    with parts.store.write() as session:
        return answers.expire(session)


def expire_logins(parts: Parts) -> int:
    """Forgets the logins of browsers that have ended."""
    with parts.store.write() as session:
        return logins.expire(session)


def collect_files(parts: Parts) -> int:
    """Deletes files that nobody needs, and says which ones are missing."""
    found = gc.collect(parts.store, parts.artifacts, older_than_s=gc.grace_s(parts.settings.lease_s))
    for row in found.dangling:
        log.error("artifact %s (%s) is missing; restore it from a backup", row.sha256, row.of)
    return len(found.orphans) + len(found.unfinished) + found.checkpoints


CHORES: Final = (
    Chore("lost leases", 5.0, 5.0, reap),
    Chore("paused trials", 5.0, 15.0, end_paused),
    Chore("old answers", 60.0, 3600.0, expire_answers),
    Chore("old logins", 60.0, 3600.0, expire_logins),
    Chore("unneeded files", 300.0, 3600.0, collect_files),
)
"""All that there is to do, each in a thread of its own: a long one keeps no other from being done."""


@dataclass(eq=False, slots=True)
class Upkeep:
    """Does chores for as long as the block runs.

    Attributes:
        parts: of the app.
        chores: what is to be done.
    """

    parts: Parts
    chores: Sequence[Chore] = CHORES
    _stopping: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        for chore in self.chores:
            thread = threading.Thread(target=self._repeat, args=(chore,), name=f"upkeep: {chore.name}", daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(STOP_S)

    def _repeat(self, chore: Chore) -> None:
        wait_s, troubled = chore.first_s, False
        while not self._stopping.wait(wait_s):
            troubled = self._do(chore, quiet=troubled)
            wait_s = chore.every_s

    def _do(self, chore: Chore, *, quiet: bool) -> bool:
        """Does a chore; whether it has failed. Of failures in a row only the first is told."""
        try:
            count = chore.do(self.parts)
        except (DBAPIError, ArtifactsAway) as error:
            if not quiet:
                log.warning("%s: not now, and tried again: %s", chore.name, getattr(error, "orig", error))
            return True
        except Exception:  # whatever it is, the other chores and the next time must not suffer from it
            if not quiet:
                log.exception("%s: failed, and tried again", chore.name)
            return True
        if count:
            log.info("%s: %d", chore.name, count)
        return False
