"""The heartbeat: keeps a worker's leases alive, and notices when one is lost."""

import logging
import threading
from types import TracebackType
from typing import Self

from sqlalchemy.exc import SQLAlchemyError

from nas.errors import LeaseLost
from nas.store import trials, workers
from nas.store.claims import Claim
from nas.store.session import Store

log = logging.getLogger(__name__)

LONGEST_BEAT_S = 5.0
"""A cancelled trial stops within this time, however long its epochs are."""


class Heartbeat:
    """A thread that renews the lease of the current trial and says that the worker is alive.

    Args:
        store: the database.
        worker: the worker's id.
        lease_s: the length of a lease; three beats fit into one.
    """

    def __init__(self, store: Store, worker: str, lease_s: float) -> None:
        self._store = store
        self._worker = worker
        self._lease_s = lease_s
        self._claim: Claim | None = None
        self._lost = threading.Event()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def keep(self, claim: Claim | None) -> None:
        """Renews this claim from now on; None: no claim."""
        with self._lock:
            self._claim = claim
            self._lost.clear()

    @property
    def lost(self) -> bool:
        """Whether the claim was found to be lost."""
        return self._lost.is_set()

    def _run(self) -> None:
        while not self._ended.wait(min(self._lease_s / 3, LONGEST_BEAT_S)):
            try:
                with self._lock, self._store.write() as session:
                    workers.seen(session, self._worker)
                    if self._claim is not None and not self.lost:
                        trials.renew(session, self._claim, self._lease_s)
            except LeaseLost:
                self._lost.set()
            except SQLAlchemyError as error:
                # The next beat tries again; if the database stays away, the lease runs out, which is right.
                log.warning("the heartbeat did not reach the database: %s", error)
