"""Where the time of one attempt at a trial goes, so that people see what to wait for, or to mend."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from nas.train.epoch import EpochResult

PARTS: Final = {
    "prepare": "choosing the candidate, measuring what it costs, reading the data, waiting for room on the device",
    "train": "steps of training",
    "validate": "validation after each epoch",
    "write": "checkpoints and rows",
    "other": "what is none of these: building the network; of a report the scores, the package and its proof",
}
"""part → what happens in it."""


class Spent:
    """The seconds of an attempt by part, since it was made; for one thread. A second counts for one part only.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun = clock()
        self._seconds = dict.fromkeys(PARTS, 0.0)
        self._open: list[tuple[str, float]] = []

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Counts the block's seconds for a part, without those that count for another one within it."""
        self._close()
        self._open.append((part, self._clock()))
        try:
            yield
        finally:
            self._close()
            self._open.pop()
            if self._open:
                self._open[-1] = (self._open[-1][0], self._clock())

    def trained(self, result: EpochResult) -> None:
        """Counts an epoch, which tells itself what it took."""
        self._seconds["validate"] += result.validation_s
        self._seconds["train"] += result.seconds - result.validation_s

    def so_far(self) -> dict[str, float]:
        """The seconds of each part until now; together they are what has passed."""
        self._close()
        known = {part: seconds for part, seconds in self._seconds.items() if part != "other"}
        rest = self._clock() - self._begun - sum(known.values())
        return {part: round(seconds, 4) for part, seconds in (known | {"other": max(0.0, rest)}).items()}

    def _close(self) -> None:
        """Counts what has passed for the part that is open."""
        if self._open:
            part, since = self._open[-1]
            moment = self._clock()
            self._seconds[part] += moment - since
            self._open[-1] = (part, moment)
