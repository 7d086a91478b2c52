"""CMA-ES over the numbers of a space; what is chosen by name is drawn at random.

Hansen 2016, The CMA Evolution Strategy: A Tutorial; the cmaes package. Optuna's sampler keeps its state pickled in its
trials. Here the distribution is computed from the history again for each proposal, generation by generation.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from cmaes import CMA
from numpy.typing import NDArray

from nas.search.fronts import merits
from nas.search.prospects import Prospect, prospects
from nas.search.strategy import C, Observation
from nas.space import Categorical, Integer, Real, Space
from nas.space.parameters import has_choice

Number: TypeAlias = Integer | Real

SPREAD: Final = 1 / 6
"""Standard deviation at the start, as a share of each range; the mean is its middle."""

WINDOW: Final = 32
"""The newest generations, from so many on and fewer than twice as many, are replayed; CMA-ES forgets older ones."""


class CmaEs:
    """Draws from a normal distribution that is adapted to the better half of each generation.

    Generations are made up of the trials with a score in the order of their numbers, whoever proposed them. Those that
    failed or break a limit are left out, as if they had been drawn again.

    Args:
        startup: trials with a score before which candidates are random.
    """

    def __init__(self, startup: int = 1) -> None:
        self._startup = startup
        self._space: Space[Any] | None = None
        self._points: dict[int, tuple[Any, NDArray[np.float64]]] = {}

    def propose(self, space: Space[C], history: Sequence[Observation[C]], seed: int) -> C:
        """See Strategy."""
        if self._space != space:
            self._space, self._points = space, {}
        rng = np.random.default_rng(seed)
        drawn, numbers, known = space.sample(rng), numbers_of(space), prospects(history)
        if len(known) < self._startup or not numbers:
            return drawn
        optimizer = self._replayed(space, known, numbers)
        optimizer.reseed_rng(int(rng.integers(2**32)))
        chosen = optimizer.ask()
        values = {name: _value(found, float(at)) for (name, found), at in zip(numbers.items(), chosen, strict=True)}
        return space.decode(space.encode(drawn) | values)

    def _replayed(self, space: Space[C], known: Sequence[Prospect[C]], numbers: dict[str, Number]) -> CMA:
        """CMA-ES after all whole generations."""
        bounds = np.tile([0.0, 1.0], (len(numbers), 1))
        found = CMA(mean=np.full(len(numbers), 0.5), sigma=SPREAD, bounds=bounds, seed=0)
        size = found.population_size
        generations = len(known) // size
        first = max(0, generations // WINDOW - 1) * WINDOW
        ranked = merits([prospect.values for prospect in known])
        for generation in range(first, generations):
            members = range(generation * size, (generation + 1) * size)
            found.tell([(self._point(space, known[index], numbers), -ranked[index]) for index in members])
        return found

    def _point(self, space: Space[C], prospect: Prospect[C], numbers: dict[str, Number]) -> NDArray[np.float64]:
        """A candidate's numbers as shares of their ranges."""
        kept = self._points.get(prospect.number)
        if kept is None or kept[0] != prospect.candidate:
            values = space.encode(prospect.candidate)
            point = np.array([_share(found, values[name]) for name, found in numbers.items()])
            kept = self._points[prospect.number] = prospect.candidate, point
        return kept[1]


def numbers_of(space: Space[Any]) -> dict[str, Number]:
    """The numeric parameters with more than one value."""
    return {
        name: found
        for name, found in space.distributions().items()
        if not isinstance(found, Categorical) and has_choice(found)
    }


def _ends(found: Number) -> tuple[float, float]:
    """Of the scale; a whole number reaches half-way to its neighbours."""
    half = 0.5 if isinstance(found, Integer) else 0.0
    low, high = found.low - half, found.high + half
    return (math.log(low), math.log(high)) if found.log else (low, high)


def _share(found: Number, value: Any) -> float:
    low, high = _ends(found)
    return ((math.log(value) if found.log else value) - low) / (high - low)


def _value(found: Number, share: float) -> int | float:
    low, high = _ends(found)
    scaled = low + share * (high - low)
    value = math.exp(scaled) if found.log else scaled
    return min(found.high, max(found.low, round(value) if isinstance(found, Integer) else value))
