"""Hyperband: brackets of successive halving that begin at different rungs, in case the first one ranks badly.

Li et al. 2018, Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization, run asynchronously as in Li et
al. 2020, section 3.3: a trial's number says its bracket, and the brackets grow side by side.
"""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any, Final

from nas.search.halving import promoted, rungs
from nas.search.pruner import Step
from nas.search.standings import Standings
from nas.search.strategy import Observation


class Hyperband:
    """Halving in brackets: the first has all rungs, the next ones each one rung fewer, the last trains all to the end.

    Args:
        eta, first: see Halving.
    """

    annealed: Final = True

    def __init__(self, eta: int = 3, first: int | None = None) -> None:
        self._eta, self._first = eta, first
        self._standings: dict[int, Standings] = {}

    def stages(self, number: int, epochs: int) -> tuple[int, ...]:
        """See Pruner."""
        return rungs(epochs, self._eta, self._first)[self._bracket(number, epochs) :]

    def after(self, number: int, history: Sequence[Observation[Any]], epochs: int) -> Step:
        """See Pruner."""
        return Step.PAUSE

    def promote(self, history: Sequence[Observation[Any]], epochs: int, *, closing: bool) -> int | None:
        """See Pruner: the top rung first, and at a rung the bracket with the most rungs first."""
        if epochs not in self._standings:
            self._standings[epochs] = Standings(lambda number: self._bracket(number, epochs))
        standings = self._standings[epochs]
        standings.follow(history)
        stages = rungs(epochs, self._eta, self._first)
        for index, epoch in reversed(list(enumerate(stages[:-1]))):
            for bracket in range(index + 1):
                found = promoted(standings, epoch, self._eta, closing=closing, bracket=bracket)
                if found is not None:
                    return found
        return None

    def _bracket(self, number: int, epochs: int) -> int:
        turns = cycle(rungs(epochs, self._eta, self._first), self._eta)
        return turns[number % len(turns)]


LEAST: Final = 4
"""Trials of the dearest bracket in a cycle: enough for the brackets' shares to be met within an eighth."""


@cache
def cycle(stages: tuple[int, ...], eta: int) -> tuple[int, ...]:
    """Brackets for as many trials one after the other, mixed evenly, such that all brackets cost about the same epochs.

    A trial of a bracket is expected to cost its first rung, and a part eta, eta², … of each further stage: a promoted
    trial pays only the new epochs.
    """
    costs = []
    for bracket in range(len(stages)):
        first, *further = stages[bracket:]
        costs.append(
            first + sum((b - a) / eta**step for step, (a, b) in enumerate(pairwise((first, *further)), start=1))
        )
    sizes = [round(LEAST * max(costs) / cost) for cost in costs]
    found: list[int] = []
    counts = [0] * len(sizes)
    for _ in range(sum(sizes)):
        # Whoever is furthest behind its share comes next; of equals, the bracket with the most rungs.
        bracket = min(range(len(sizes)), key=lambda index: ((counts[index] + 0.5) / sizes[index], index))
        counts[bracket] += 1
        found.append(bracket)
    return tuple(found)
