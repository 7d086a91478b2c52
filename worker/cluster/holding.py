"""A driver's hold on its job: renewed by a thread, which looks at the same time how the job stands."""

import logging
import threading
import time
from types import TracebackType
from typing import Final, Self

from sqlalchemy.exc import SQLAlchemyError

from nas.errors import LeaseLost
from nas.store import drivers
from nas.store.claims import Claim
from nas.store.drivers import Drive
from nas.store.session import Store
from worker.lease import LONGEST_BEAT_S

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""A job that was cancelled or paused is noticed within this time."""


class Holding:
    """A thread that keeps the lease of a Ray job's driver, as long as it is entered.

    Args:
        store: the database.
        job_id, worker, term: the lease, as nas.store.drivers.take gave it.
        lease_s: its length.
    """

    def __init__(self, store: Store, job_id: str, worker: str, term: int, lease_s: float) -> None:
        self._store, self._lease_s = store, lease_s
        self._lease = job_id, worker, term
        self._seen: Drive | None = None
        self._seen_at = 0.0
        self._lost = threading.Event()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name="driver", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._left.set()
        self._thread.join()

    @property
    def lost(self) -> bool:
        """Whether another worker drives the job by now, or it is gone."""
        return self._lost.is_set()

    @property
    def seen(self) -> Drive | None:
        """How the job stood a moment ago; None before the first look."""
        return self._seen

    def misses(self, claim: Claim, since: float) -> bool:
        """Whether a claim that was made at that moment (time.monotonic) is seen to be lost."""
        seen = self._seen
        gone = seen is not None and (claim.trial_id, claim.attempt) not in seen.running
        return self.lost or (gone and self._seen_at > since)

    def search_over(self, since: float) -> bool:
        """Whether the search of the job was seen to be over after that moment; it may have been extended since."""
        return self._seen is not None and self._seen.search_over and self._seen_at > since

    def _run(self) -> None:
        renew_at = time.monotonic() + self._beat_s
        while not self._left.wait(min(LOOK_S, self._beat_s)):
            begun = time.monotonic()
            try:
                if begun >= renew_at:
                    with self._store.write() as session:
                        drivers.renew(session, *self._lease, self._lease_s)
                    renew_at = begun + self._beat_s
                with self._store.read() as session:
                    seen = drivers.look(session, *self._lease)
            except LeaseLost as lost:
                log.warning("%s; nothing more is written", lost)
                seen = None
            except SQLAlchemyError as error:  # if it stays away, the lease runs out, which is right
                log.warning("the driver's lease was not renewed: %s", error)
                continue
            if seen is None:
                self._lost.set()
                return
            self._seen, self._seen_at = seen, begun

    @property
    def _beat_s(self) -> float:
        return min(self._lease_s / 3, LONGEST_BEAT_S)
