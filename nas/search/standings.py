"""Who has reached which rung, and who waits there: kept up with a history as it grows."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import compress, count
from operator import is_not
from typing import Any

from nas.search.fronts import merits
from nas.search.strategy import Observation

Place = tuple[float, int]
"""Of a trial at a rung: its merit turned round, and its number, which decides between equals."""


@dataclass(slots=True)
class Rung:
    """The trials of a bracket that have reached an epoch.

    Attributes:
        values: trial → its objectives there.
        paused: the trials that wait there.
        failed: those that reached it and will not be trained to the end.
    """

    values: dict[int, tuple[float, ...]] = field(default_factory=dict)
    paused: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    _reached: list[Place] = field(default_factory=list)
    _waiting: list[Place] = field(default_factory=list)
    _stale: bool = False

    def best_paused(self) -> tuple[int, int] | None:
        """The best trial that waits here, and how many of all that have reached the rung are better."""
        if not self.paused:
            return None
        if self._stale:  # with several objectives a further trial may change the merit of all
            numbers = sorted(self.values)  # of equal values, merits may prefer the first
            found = merits([self.values[number] for number in numbers])
            self._reached = sorted((-merit, number) for merit, number in zip(found, numbers, strict=True))
            self._waiting = [place for place in self._reached if place[1] in self.paused]
            self._stale = False
        return self._waiting[0][1], bisect_left(self._reached, self._waiting[0])

    def add(self, number: int, values: tuple[float, ...], observation: Observation[Any], *, last: bool) -> None:
        """Enters a trial; `last`: it has not got any further."""
        self.values[number] = values
        if last and observation.paused:
            self.paused.add(number)
        if observation.finished and not observation.complete:
            self.failed.add(number)
        if len(values) > 1:
            self._stale = True
            return
        insort(self._reached, (-values[0], number))
        if number in self.paused:
            insort(self._waiting, (-values[0], number))

    def remove(self, number: int) -> None:
        """Takes a trial out again."""
        values = self.values.pop(number)
        if len(values) > 1:
            self._stale = True
        else:
            del self._reached[bisect_left(self._reached, (-values[0], number))]
            if number in self.paused:
                del self._waiting[bisect_left(self._waiting, (-values[0], number))]
        self.paused.discard(number)
        self.failed.discard(number)


class Standings:
    """The rungs of a history.

    What it holds depends on the last history that it followed and on nothing else; that the one before is kept only
    spares reading again what has not changed.

    Args:
        bracket: trial number → the bracket in which it is compared.
    """

    def __init__(self, bracket: Callable[[int], int]) -> None:
        self._bracket = bracket
        self._kept: list[Observation[Any]] = []
        self._rungs: defaultdict[tuple[int, int], Rung] = defaultdict(Rung)

    def follow(self, history: Sequence[Observation[Any]]) -> None:
        """Reads what has changed."""
        kept = self._kept
        while len(kept) > len(history):
            self._remove(kept.pop())
        changed = list(compress(count(), map(is_not, kept, history)))
        for index in changed:
            self._remove(kept[index])
        for index in changed:
            kept[index] = history[index]
            self._add(history[index])
        for observation in history[len(kept) :]:
            kept.append(observation)
            self._add(observation)

    def at(self, epoch: int, bracket: int = 0) -> Rung:
        """The rung at an epoch."""
        return self._rungs[bracket, epoch]

    def _add(self, observation: Observation[Any]) -> None:
        bracket = self._bracket(observation.number)
        for epoch, score in observation.rungs:
            last = epoch == observation.rungs[-1][0]
            values = (score, *observation.others)
            self._rungs[bracket, epoch].add(observation.number, values, observation, last=last)

    def _remove(self, observation: Observation[Any]) -> None:
        bracket = self._bracket(observation.number)
        for epoch, _ in observation.rungs:
            self._rungs[bracket, epoch].remove(observation.number)
