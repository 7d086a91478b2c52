from collections import Counter

import numpy as np

from nas.search.random import RandomSearch
from nas.search.strategy import Observation
from nas.space import CellSpace

SPACE = CellSpace(("skip_connect", "sep_conv_3x3"), nodes=1)


def test_random_search_draws_as_the_space_does() -> None:
    for seed in range(20):
        assert RandomSearch().propose(SPACE, [], seed) == SPACE.sample(np.random.default_rng(seed))


def test_random_search_does_not_learn() -> None:
    candidate = RandomSearch().propose(SPACE, [], 0)
    history = [Observation(number, candidate, True, True, 8, 1.0) for number in range(30)]
    for seed in range(20):
        assert RandomSearch().propose(SPACE, history, seed) == RandomSearch().propose(SPACE, [], seed)


def test_over_many_seeds_random_search_finds_all_candidates_equally_often() -> None:
    drawn = Counter(RandomSearch().propose(SPACE, [], seed) for seed in range(8_000))
    assert len(drawn) == 16
    assert sum((count - 500) ** 2 / 500 for count in drawn.values()) < 37.7  # 15 degrees of freedom, once in a thousand
