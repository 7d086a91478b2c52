"""Local search: all neighbours of the best candidate so far, and a step to the first one that is better.

White et al. 2021, Exploring the Loss Landscape in Neural Architecture Search: local search is a strong baseline where
training is not too noisy.
"""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import numpy as np

from nas.search.digests import Digests
from nas.search.fronts import merits
from nas.search.prospects import Prospect, prospects
from nas.search.strategy import C, Observation
from nas.space import Space


class LocalSearch:
    """Climbs from the best of some random trials; where no neighbour is left to try, it starts over at random.

    Where it stands follows from the history alone, trial by trial. Neighbours count as tried however they ended; those
    that failed or break a limit are never stepped to.

    Args:
        startup: random trials with a score at each start.
    """

    def __init__(self, startup: int = 10) -> None:
        self._startup = startup
        self._digests = Digests()
        self._space: Space[Any] | None = None
        self._neighbours: dict[Any, dict[str, Any]] = {}

    def propose(self, space: Space[C], history: Sequence[Observation[C]], seed: int) -> C:
        """See Strategy."""
        if self._space != space:
            self._space, self._neighbours = space, {}
        rng = np.random.default_rng(seed)
        tried: dict[str, int] = {}
        for observation, digest in zip(history, self._digests.of(space, history), strict=True):
            tried.setdefault(digest, observation.number)
        incumbent = self._climb(space, prospects(history), tried)
        around = {} if incumbent is None else self._around(space, incumbent)
        left = [candidate for digest, candidate in around.items() if digest not in tried]
        return left[int(rng.integers(len(left)))] if left else space.sample(rng)

    def _climb(self, space: Space[C], known: Sequence[Prospect[C]], tried: Mapping[str, int]) -> C | None:
        """Where the search stands after these trials; None while it starts.

        Args:
            space, known: see Strategy, prospects.
            tried: digest → the first trial that has it.
        """
        ranked = merits([prospect.values for prospect in known])
        start = best = 0  # of this climb: its first trial, and its best one
        last = inf  # the trial of the last neighbour that was left
        for index, prospect in enumerate(known):
            if prospect.number > last:  # this one was proposed to start over
                start, best, last = index, index, inf
            better = ranked[index] > ranked[best]
            best = index if better else best
            count = index - start + 1
            if count == self._startup or (better and count > self._startup):
                around = self._around(space, known[best].candidate)
                last = max((tried.get(digest, inf) for digest in around), default=-1)
        return known[best].candidate if len(known) - start >= self._startup else None

    def _around(self, space: Space[C], candidate: C) -> dict[str, C]:
        """The neighbours of a candidate by their digests."""
        if candidate not in self._neighbours:
            self._neighbours[candidate] = {space.digest(found): found for found in space.neighbours(candidate)}
        return self._neighbours[candidate]
