"""Random search: the baseline that every strategy has to beat (Li, Talwalkar 2019)."""

from collections.abc import Sequence

import numpy as np

from nas.search.strategy import C, Observation
from nas.space import Space


class RandomSearch:
    """Draws candidates uniformly, whatever the history says."""

    def propose(self, space: Space[C], history: Sequence[Observation[C]], seed: int) -> C:
        """See Strategy."""
        return space.sample(np.random.default_rng(seed))
