"""Exhaustive search: every candidate of a small space once, in random order."""

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any, Final

import numpy as np

from nas.errors import SpaceExhausted
from nas.search.digests import Digests
from nas.search.strategy import C, Observation
from nas.space import Categorical, Distribution, Real, Space, Value

LARGEST: Final = 10_000
"""Combinations of parameters that a grid may have."""


class Grid:
    """Draws from the candidates that the history lacks, each equally likely: all together a random order."""

    def __init__(self) -> None:
        self._space: Space[Any] | None = None
        self._all: dict[str, Any] = {}
        self._digests = Digests()

    def propose(self, space: Space[C], history: Sequence[Observation[C]], seed: int) -> C:
        """See Strategy. Raises SpaceExhausted once every candidate is in the history."""
        if self._space != space:
            self._all, self._space = _candidates(space), space
        missing = self._all.keys() - set(self._digests.of(space, history))
        if not missing:
            raise SpaceExhausted(f"all {len(self._all)} candidates of the space are tried")
        # A set has no order of its own: that of the grid, which is the same in every process, stands in for it.
        left = [candidate for digest, candidate in self._all.items() if digest in missing]
        found: C = left[int(np.random.default_rng(seed).integers(len(left)))]
        return found


def refuses(space: Space[Any]) -> str | None:
    """Why a space is none for a grid, and how to mend that; None if it is one."""
    distributions = space.distributions()
    endless = [name for name, found in distributions.items() if isinstance(found, Real) and found.low < found.high]
    if endless:
        return f'a grid cannot try every number of {", ".join(endless)}: give them {{"choices": […]}}'
    count = prod(len(_values(found)) for found in distributions.values())
    if count > LARGEST:
        return (
            f"a grid would have {count:,} candidates, and {LARGEST:,} are the most: "
            "open fewer parameters or choices, or take another strategy"
        )
    return None


def _candidates(space: Space[C]) -> dict[str, C]:
    """All candidates by their digests, the first one of each."""
    found: dict[str, C] = {}
    distributions = space.distributions()
    for values in product(*(_values(distribution) for distribution in distributions.values())):
        candidate = space.decode(dict(zip(distributions, values, strict=True)))
        found.setdefault(space.digest(candidate), candidate)
    return found


def _values(distribution: Distribution) -> Sequence[Value]:
    match distribution:
        case Categorical(choices):
            return choices
        case Real(low):
            return (low,)
        case _:
            return range(distribution.low, distribution.high + 1)
