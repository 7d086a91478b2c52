"""Regularized evolution: the best of a few young trials is varied, and trials die of age, not of a bad score.

Real et al. 2019, Regularized Evolution for Image Classifier Architecture Search, algorithm 1.
"""

from collections.abc import Sequence

import numpy as np

from nas.search.fronts import merits
from nas.search.prospects import prospects
from nas.search.strategy import C, Observation
from nas.space import Space


class Evolution:
    """Draws `tournament` of the youngest `population` trials and varies the best of them in one parameter.

    Trials that failed or break a limit take no place in the population; until it is full, candidates are random.

    Args:
        population: of trials that may be parents.
        tournament: drawn from it without replacement.
    """

    def __init__(self, population: int = 25, tournament: int = 8) -> None:
        self._population, self._tournament = population, tournament

    def propose(self, space: Space[C], history: Sequence[Observation[C]], seed: int) -> C:
        """See Strategy."""
        rng = np.random.default_rng(seed)
        young = prospects(history)[-self._population :]
        if len(young) < self._population:
            return space.sample(rng)
        ranked = merits([prospect.values for prospect in young])
        drawn = rng.choice(len(young), min(self._tournament, len(young)), replace=False)
        return space.mutate(young[max(drawn.tolist(), key=ranked.__getitem__)].candidate, rng)
