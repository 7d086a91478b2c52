"""The heartbeat: one thread a process keeps all its leases alive, and notices which of them are lost."""

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from sqlalchemy.exc import SQLAlchemyError

from nas.store import trials, workers
from nas.store.claims import Claim
from nas.store.session import Store
from worker.pulse import Pulse

log = logging.getLogger(__name__)

LONGEST_BEAT_S = 5.0
"""A cancelled trial stops within this time, however long its epochs are."""


class Heartbeat(Pulse):
    """A thread that renews the leases of all trials that its process holds, and says that its workers are alive.

    Args:
        store: the database.
        worker: the process's own worker id; it is alive as long as the heartbeat is.
        lease_s: the length of a lease; three beats fit into one.
        between: called after each beat; nothing that takes long, or raises.
    """

    def __init__(self, store: Store, worker: str, lease_s: float, between: Callable[[], None] = lambda: None) -> None:
        super().__init__("heartbeat", min(lease_s / 3, LONGEST_BEAT_S), self._beat)
        self._store = store
        self._worker = worker
        self._lease_s = lease_s
        self._between = between
        self._grips: set[Grip] = set()
        self._lock = threading.Lock()

    def grip(self, worker: str | None = None) -> "Grip":
        """A hold on one trial at a time, for as long as it is not closed.

        Args:
            worker: the id that its trials are claimed under, alive as long as the grip is; None: the process's.
        """
        grip = Grip(self, self._worker if worker is None else worker)
        with self._lock:
            self._grips.add(grip)
        return grip

    def forget(self, grip: "Grip") -> None:
        """Renews nothing more of a grip; for the grip."""
        with self._lock:
            self._grips.discard(grip)

    def beat(self) -> None:
        """Renews all that is held, in one statement, and tells the grips of what is lost.

        Raises:
            SQLAlchemyError: the database is away.
        """
        with self._lock:
            grips = tuple(self._grips)
        kept = [(grip, claim) for grip in grips if (claim := grip.claim) is not None and not grip.lost]
        with self._store.write() as session:
            workers.seen(session, {self._worker, *(grip.worker for grip in grips)})
            held = trials.renew_all(session, [claim for _, claim in kept], self._lease_s)
        for grip, claim in kept:
            if (claim.trial_id, claim.attempt) not in held:
                grip.lose(claim)

    def _beat(self) -> bool:
        try:
            self.beat()
        except SQLAlchemyError as error:
            # The next beat tries again; if the database stays away, the leases run out, which is right.
            log.warning("the heartbeat did not reach the database: %s", error)
        self._between()
        return True


class Grip:
    """A hold on one trial at a time; Heartbeat.grip makes it.

    Attributes:
        worker: the id that its trials are claimed under.
    """

    def __init__(self, heartbeat: Heartbeat, worker: str) -> None:
        self.worker = worker
        self._heartbeat = heartbeat
        self._claim: Claim | None = None
        self._lost = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go; the heartbeat forgets it, and nothing of it is renewed any more."""
        self._heartbeat.forget(self)
        self.keep(None)

    def beside(self) -> "Grip":
        """Another hold under the same worker's id, for who has several trials at once."""
        return self._heartbeat.grip(self.worker)

    def keep(self, claim: Claim | None) -> None:
        """Renews this claim from now on; None: no claim."""
        with self._lock:
            self._claim, self._lost = claim, False

    @property
    def claim(self) -> Claim | None:
        """What is renewed."""
        return self._claim

    @property
    def lost(self) -> bool:
        """Whether the claim was found to be lost."""
        return self._lost

    def lose(self, claim: Claim) -> None:
        """Says that a claim was found to be lost; by now the grip may hold another one, which is not."""
        with self._lock:
            if self._claim is claim:
                self._lost = True
