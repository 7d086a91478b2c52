"""A device takes as many trials at once as its memory has room for; who does not fit waits, and nobody is passed over.

Room is kept by prediction, before anything is allocated. What was really held is measured as the trials run, and
corrects the next predictions.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Final

from nas.errors import Stopped
from worker.devices import Device

log = logging.getLogger(__name__)

SHARE: Final = 0.9
"""Of the device's memory; the rest is for what lies between the allocator's blocks."""

WORKSPACE_BYTES: Final = 64 * 2**20
"""Scratch space of the libraries for each lane, which they keep: up to 32 MiB of cuBLAS a stream, and some of cuDNN."""

LEAK_BYTES: Final = 64 * 2**20
"""So much may be in use beyond what is known of; more is memory that nobody gave back."""

LOOK_S: Final = 0.1
"""How often a trial that waits asks whether it has to stop."""

FIRST_FACTOR: Final = 1.25
"""What predictions are multiplied by before anything was measured."""

QUANTILE: Final = 0.95
"""Of the ratios of measured to predicted: so many trials stay within what they were given."""

LEAST_FACTOR: Final = 0.5
"""Below it no prediction is trusted to be so much too high."""

TELLING_BYTES: Final = 64 * 2**20
"""Predictions from which on a ratio is learned from."""

FEW: Final = 5
"""Ratios from which on they are believed."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a trial will take.

    Attributes:
        peak_bytes: predicted, without the data set; None: nobody knows, so that it runs alone.
        spare_bytes: that stay reserved for it besides, such as those of a warm-up before a capture.
        data: name of its data set on the device, which trials of the same one share; and its size.
        data_bytes: of that.
        alone: whether it has to have the device to itself.
    """

    peak_bytes: int | None
    spare_bytes: int = 0
    data: str = ""
    data_bytes: int = 0
    alone: bool = False


class Learned:
    """How far predictions are off: ratios of measured to predicted bytes, the latest ones."""

    def __init__(self, kept: int = 64) -> None:
        self._ratios: deque[float] = deque(maxlen=kept)

    def add(self, measured_bytes: int, predicted_bytes: int) -> None:
        """Learns from one training; a small one tells more of the libraries than of itself."""
        if measured_bytes > 0 and predicted_bytes >= TELLING_BYTES:
            self._ratios.append(measured_bytes / predicted_bytes)

    @property
    def factor(self) -> float:
        """What to multiply a prediction by."""
        if len(self._ratios) < FEW:
            return max([FIRST_FACTOR, *self._ratios])
        return max(LEAST_FACTOR, sorted(self._ratios)[ceil(QUANTILE * len(self._ratios)) - 1])


@dataclass(eq=False, slots=True)
class Held:
    """A trial's part of the device.

    Attributes:
        need: what it was given.
        shared: whether another trial was on the device at any time since.
        peak_bytes: the most that was measured for it, without the data set.
    """

    need: Need
    shared: bool = False
    peak_bytes: int = 0


class Room:
    """The memory of one device, shared by the lanes of a process.

    Args:
        device: whose memory.
        learned: from earlier trials.
        share: of it that trials may have.
    """

    def __init__(self, device: Device, learned: Learned, share: float = SHARE) -> None:
        self.device = device
        self.learned = learned
        self.leaked_bytes = 0  # found after the last trial, and not to be freed
        self._share = share
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._held: list[Held] = []
        self._draining = False
        self._workspaces = 0
        self._idle_bytes = device.allocated_bytes()  # what is in use while no trial is

    def enter(self, need: Need, should_stop: Callable[[], bool]) -> Held:
        """Waits until there is room, in the order of arrival.

        Whatever comes to an empty device is let in, however large: it cannot have more room than that.

        Raises:
            Stopped: `should_stop` said so while it waited.
        """
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket or not self._fits(need):
                    if should_stop():
                        raise Stopped
                    self._changed.wait(LOOK_S)
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
            self._measure()
            held = Held(need, shared=self.device.is_shared())
            self._held.append(held)
            self._workspaces = max(self._workspaces, len(self._held))
            if len(self._held) > 1:
                for other in self._held:
                    other.shared = True
        return held

    def peak_bytes(self, held: Held) -> int:
        """The most that was measured for a trial so far; learned from."""
        with self._changed:
            self._measure()
            if held.need.peak_bytes is not None:
                self.learned.add(held.peak_bytes, held.need.peak_bytes)
            return held.peak_bytes

    def leave(self, held: Held) -> None:
        """Gives a trial's room back, and looks whether its memory is free as well."""
        with self._changed:
            self._measure()
            self._held.remove(held)
            if self.device.exact:
                self._verify()
            elif not self._held:
                self._idle_bytes = self.device.allocated_bytes()
            self._changed.notify_all()

    def _fits(self, need: Need) -> bool:
        if not self._held:
            return True
        if self._draining or any(_alone(each) for each in (need, *(held.need for held in self._held))):
            return False
        wanted = self._expected([need, *(held.need for held in self._held)])
        return wanted + self._idle_bytes <= self.device.total_bytes() * self._share

    def _expected(self, needs: list[Need]) -> int:
        """What trials will have in use and reserved, with each data set once."""
        factor = self.learned.factor
        own = sum(ceil(factor * (need.peak_bytes or 0)) + need.spare_bytes + WORKSPACE_BYTES for need in needs)
        return own + sum({need.data: need.data_bytes for need in needs}.values())

    def _measure(self) -> None:
        """Shares the peak since the last change among those that were there, by what was predicted for them."""
        peak_bytes = self.device.take_peak_bytes() - self._idle_bytes
        if not self._held:
            return
        peak_bytes -= sum({held.need.data: held.need.data_bytes for held in self._held}.values())
        predicted = sum(held.need.peak_bytes or 0 for held in self._held)
        for held in self._held:
            part = (held.need.peak_bytes or 0) / predicted if predicted else 1 / len(self._held)
            held.peak_bytes = max(held.peak_bytes, round(part * peak_bytes))

    def _verify(self) -> None:
        """What is in use beyond the trials that are left is a leak; while others run, no more than a suspicion."""
        needs = [held.need for held in self._held]
        allowed = self._expected(needs) + self._workspaces * WORKSPACE_BYTES + LEAK_BYTES
        found = self.device.allocated_bytes()
        if found > allowed:
            self.device.tidy()
            found = self.device.allocated_bytes()
        over = found > allowed
        if needs:
            if over and not self._draining:
                log.warning(
                    "%.1f MB are in use that no trial should have; others wait until all are through", found / 1e6
                )
            self._draining = self._draining or over
            return
        self._draining = False
        self._idle_bytes = found
        self.leaked_bytes = found if over else 0
        if over:
            log.error("%.1f MB of the device were not given back by trials that have ended", found / 1e6)


def _alone(need: Need) -> bool:
    return need.alone or need.peak_bytes is None


class Seat:
    """A lane's place in a room, for one trial at a time; without a room there is always space.

    Args:
        room: of the process's device.
    """

    def __init__(self, room: Room | None = None) -> None:
        self._room = room
        self._held: Held | None = None

    def take(self, need: Need, should_stop: Callable[[], bool]) -> None:
        """Waits for room. Raises Stopped."""
        if self._room is not None:
            self.leave()
            self._held = self._room.enter(need, should_stop)

    def leave(self) -> None:
        """Gives the room back, if any was taken."""
        if self._room is not None and self._held is not None:
            held, self._held = self._held, None
            self._room.leave(held)

    @property
    def shared(self) -> bool:
        """Whether the trial has had others beside it on the device."""
        return self._held is not None and self._held.shared

    def peak_bytes(self) -> int | None:
        """What was measured for the trial; None if nothing was."""
        if self._room is None or self._held is None:
            return None
        return self._room.peak_bytes(self._held) or None
