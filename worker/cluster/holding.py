"""A driver's hold on its job: renewed by a thread, which looks at the same time how the job stands."""

import logging
import time
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from nas.errors import LeaseLost
from nas.store import drivers
from nas.store.claims import Claim
from nas.store.drivers import Drive
from nas.store.session import Store
from worker.lease import LONGEST_BEAT_S
from worker.pulse import Pulse

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""A job that was cancelled or paused is noticed within this time."""


class Holding(Pulse):
    """A thread that keeps the lease of a Ray job's driver, as long as it is entered.

    Args:
        store: the database.
        job_id, worker, term: the lease, as nas.store.drivers.take gave it.
        lease_s: its length.
    """

    def __init__(self, store: Store, job_id: str, worker: str, term: int, lease_s: float) -> None:
        self._beat_s = min(lease_s / 3, LONGEST_BEAT_S)
        super().__init__("driver", min(LOOK_S, self._beat_s), self._look_again)
        self._store, self._lease_s = store, lease_s
        self._lease = job_id, worker, term
        self._renew_at = time.monotonic() + self._beat_s
        # One value: who read half of it before the next look and half after would take a new trial for a lost one.
        self._look: tuple[Drive, float] | None = None
        self._lost = False

    @property
    def lost(self) -> bool:
        """Whether another worker drives the job by now, or it is gone."""
        return self._lost

    @property
    def seen(self) -> Drive | None:
        """How the job stood a moment ago; None before the first look."""
        return None if self._look is None else self._look[0]

    def misses(self, claim: Claim, since: float) -> bool:
        """Whether a claim that was made at that moment (time.monotonic) is seen to be lost."""
        seen = self._seen_after(since)
        return self.lost or (seen is not None and (claim.trial_id, claim.attempt) not in seen.running)

    def search_over(self, since: float) -> bool:
        """Whether the search of the job was seen to be over after that moment; it may have been extended since."""
        seen = self._seen_after(since)
        return seen is not None and seen.search_over

    def _seen_after(self, since: float) -> Drive | None:
        """How the job stood, if that was looked up after that moment."""
        look = self._look
        return look[0] if look is not None and look[1] > since else None

    def _look_again(self) -> bool:
        begun = time.monotonic()
        try:
            if begun >= self._renew_at:
                with self._store.write() as session:
                    drivers.renew(session, *self._lease, self._lease_s)
                self._renew_at = begun + self._beat_s
            with self._store.read() as session:
                seen = drivers.look(session, *self._lease)
        except LeaseLost as lost:
            log.warning("%s; nothing more is written", lost)
            seen = None
        except SQLAlchemyError as error:  # if it stays away, the lease runs out, which is right
            log.warning("the driver's lease was not renewed: %s", error)
            return True
        if seen is None:
            self._lost = True
            return False
        self._look = seen, begun
        return True
