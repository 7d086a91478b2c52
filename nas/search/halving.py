"""Asynchronous successive halving: of the trials that reach a rung, one in eta goes on (ASHA).

Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning, algorithm 2, the form that promotes: every trial
pauses at every rung, and goes on from its checkpoint once it is among the best.
"""

from collections.abc import Sequence
from typing import Any, Final

from nas.search.pruner import Step
from nas.search.standings import Standings
from nas.search.strategy import Observation

FIRST_RUNG: Final = 2
"""No rung after a single epoch: batch-norm statistics have hardly settled by then, and the order is mostly luck."""


class Halving:
    """Pauses trials at rungs and promotes the best.

    Args:
        eta: one trial in so many goes on, and trains so many times as long.
        first: epochs of the first rung; None: what eta gives, at least FIRST_RUNG.
    """

    annealed: Final = True

    def __init__(self, eta: int = 3, first: int | None = None) -> None:
        self._eta, self._first = eta, first
        self._standings = Standings(lambda number: 0)

    def stages(self, number: int, epochs: int) -> tuple[int, ...]:
        """See Pruner."""
        return rungs(epochs, self._eta, self._first)

    def after(self, number: int, history: Sequence[Observation[Any]], epochs: int) -> Step:
        """See Pruner."""
        return Step.PAUSE

    def promote(self, history: Sequence[Observation[Any]], epochs: int, *, closing: bool) -> int | None:
        """See Pruner. Takes O(log n) a trial that has changed, and comparing n references."""
        self._standings.follow(history)
        for epoch in reversed(self.stages(0, epochs)[:-1]):
            found = promoted(self._standings, epoch, self._eta, closing=closing)
            if found is not None:
                return found
        return None


def rungs(epochs: int, eta: int, first: int | None = None) -> tuple[int, ...]:
    """The epochs at which trials are compared, and `epochs` itself; ascending.

    They are epochs/eta, epochs/eta² and so on, rounded, down to FIRST_RUNG: 4, 11, 33 and 98 for 98 and 3. With
    `first` they are as many steps of equal ratio from `first` to `epochs` as come nearest to a ratio of eta.
    """
    found = [epochs]
    if first is None:
        while (rung := _rounded(epochs, eta ** len(found))) >= FIRST_RUNG:
            found.append(rung)
    elif first < epochs:
        steps = 1
        while first**2 * eta ** (2 * steps + 1) <= epochs**2:  # as long as one more step comes nearer, in ratio
            steps += 1
        found += [round(first * (epochs / first) ** (step / steps)) for step in range(steps)]
    return tuple(sorted(set(found)))


def promoted(standings: Standings, epoch: int, eta: int, *, closing: bool, bracket: int = 0) -> int | None:
    """The paused trial at the rung that is among the best 1/eta of all that have reached it, or None.

    Args:
        standings: of the history.
        epoch: of the rung.
        eta: see Halving.
        closing: see Pruner.
        bracket: of the trials that are compared.
    """
    rung = standings.at(epoch, bracket)
    found = rung.best_paused()
    if found is None:
        return None
    number, better = found
    if better < len(rung.values) // eta:
        return number
    none_above = len(rung.values) == len(rung.paused | rung.failed)
    return number if closing and none_above else None


def _rounded(epochs: int, divisor: int) -> int:
    """Half goes up, as one rounds by hand."""
    return (2 * epochs + divisor) // (2 * divisor)
