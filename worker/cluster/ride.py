"""A trial on its way on a node: its training goes on in a thread, and waits only where the driver has to decide."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from nas.errors import Diverged, Stopped
from nas.store.artifacts import ArtifactStore, Stored
from nas.store.claims import next_stage
from nas.store.states import Phase
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from worker.orders import Order, Outcome, tag_of

SAVE_S: Final = 1.0
"""Checkpoints are this far apart at least: of epochs that are shorter only the last one gets one."""

SAVING_SHARE: Final = 0.1
"""Of the time of a training, that its checkpoints take at the most."""


@dataclass(frozen=True, eq=False, slots=True)
class Told:
    """Epochs that were done, to be written together.

    Attributes:
        epochs: in order.
        checkpoint: that follows the last of them; None at the end of a training, which needs none any more.
        logs: epoch → its TensorBoard log, if the job wants them.
    """

    epochs: tuple[EpochResult, ...]
    checkpoint: Stored | None
    logs: Mapping[int, Stored]


@dataclass(frozen=True, eq=False, slots=True)
class News:
    """What there is to tell of a trial since the last time.

    Attributes:
        told: epochs.
        waits: whether the training stands still until the driver has decided.
        outcome: what it leaves, once it is through.
        failure: what it ended with instead.
        node: the id of the node in its cluster.
        place: where that is, for people: `cuda@10.0.0.5`.
    """

    told: tuple[Told, ...]
    waits: bool
    outcome: Outcome | None
    failure: Exception | None
    node: str
    place: str

    @property
    def last(self) -> EpochResult | None:
        """The newest epoch, if there is one."""
        return self.told[-1].epochs[-1] if self.told else None

    @property
    def files(self) -> list[Stored]:
        """What the node has stored."""
        left = self.outcome
        found = [told.checkpoint for told in self.told]
        found += [left.weights, left.package, left.candidates] if left is not None else []
        return [stored for stored in found if stored is not None]

    @property
    def ended(self) -> bool:
        """Whether the trial is through, well or not."""
        return self.outcome is not None or self.failure is not None


class Ride:
    """One order's way through this node, in a thread that begins when it is first asked for news.

    Args:
        order: what to do.
        artifacts: where its checkpoints go.
        node, place: of this node.
    """

    def __init__(self, order: Order, artifacts: ArtifactStore, *, node: str, place: str) -> None:
        claim = order.claim
        self.order = order
        self.content = b""
        self._artifacts = artifacts
        self._node, self._place = node, place
        self._compared = claim.phase == Phase.SEARCH
        self._lockstep = self._compared and claim.spec.scheduler is not None  # Ray's schedulers look at every epoch
        self._stage = claim.stage
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._epochs: list[EpochResult] = []
        self._logs: dict[int, Stored] = {}
        self._told: list[Told] = []
        self._waits = self._waits_known = self._stop = False
        self._outcome: Outcome | None = None
        self._failure: Exception | None = None
        self._save_at = 0.0

    def start(self, work: Callable[["Ride"], Outcome], failed: Callable[[Exception], Exception]) -> None:
        """Begins, once.

        Args:
            work: does it; it asks should_stop, and calls on_epoch.
            failed: makes of what that raised what can travel.
        """
        if self._thread is None:
            self._save_at = time.monotonic() + SAVE_S
            self._thread = threading.Thread(target=self._run, args=(work, failed), name="ride", daemon=True)
            self._thread.start()

    def news(self, within_s: float) -> News:
        """What there is since the last time, within that time at the latest.

        A training that was told to wait goes on with that: who asks again has decided so.
        """
        with self._changed:
            if self._waits and self._waits_known:  # it may have come to its rung since anybody last asked
                self._waits = False
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._waits or self._ended, timeout=within_s)
            self._waits_known = self._waits
            told, self._told = tuple(self._told), []
            return News(told, self._waits, self._outcome, self._failure, self._node, self._place)

    def stop(self, within_s: float) -> bool:
        """Ends the training at its next batch; whether that is done within the time."""
        with self._changed:
            self._stop = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(within_s)
        return self._thread is None or not self._thread.is_alive()

    def should_stop(self) -> bool:
        """Whether the training has to end at once."""
        return self._stop

    def on_epoch(self, result: EpochResult, take: Callable[[], Checkpoint], events: bytes | None) -> bool:
        """Notes an epoch, and saves it where its time has come, or the driver has to decide. Raises Stopped."""
        claim = self.order.claim
        self._epochs.append(result)
        if events is not None:
            self._logs[result.epoch] = self._artifacts.put(events)
        if result.epoch < claim.epochs:
            waits = self._lockstep or (self._compared and result.epoch >= self._stage)
            if waits or time.monotonic() >= self._save_at:
                self._save(take, waits=waits)
            if waits:
                self._stage = next_stage(claim.spec, claim.index, result.epoch)
        if self._stop:
            raise Stopped
        return True

    @property
    def _ended(self) -> bool:
        return self._outcome is not None or self._failure is not None

    def _save(self, take: Callable[[], Checkpoint], *, waits: bool) -> None:
        begun = time.monotonic()
        content = take().to_bytes(tag=tag_of(self.order.claim))
        stored = self._artifacts.put(content)
        took_s = time.monotonic() - begun
        with self._changed:
            self.content = content if self._lockstep else b""
            self._tell(stored)
            self._waits = waits
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waits or self._stop)
        self._save_at = time.monotonic() + max(SAVE_S, took_s / SAVING_SHARE)

    def _tell(self, checkpoint: Stored | None) -> None:
        if self._epochs:
            self._told.append(Told(tuple(self._epochs), checkpoint, dict(self._logs)))
        self._epochs, self._logs = [], {}

    def _run(self, work: Callable[["Ride"], Outcome], failed: Callable[[Exception], Exception]) -> None:
        outcome = failure = None
        try:
            outcome = work(self)
        except Exception as error:  # whatever it is, the driver hears of it, and this process goes on
            failure = failed(error)
        with self._changed:
            if outcome is not None or isinstance(failure, Diverged):
                self._tell(None)  # after anything else it would go on from the last checkpoint, and train them again
            self._outcome, self._failure = outcome, failure
            self._changed.notify_all()
