"""Scores of supernets, and how alike two orders are."""

import math
from itertools import combinations

import numpy as np
import pytest

from nas.oneshot.judging import kendall_tau


def test_kendalls_tau_is_the_share_of_pairs_in_the_same_order_less_that_in_the_other() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        pairs = [(float(a), float(b)) for a, b in rng.integers(0, 4, (6, 2))]
        if len({a for a, _ in pairs}) < 2 or len({b for _, b in pairs}) < 2:
            continue
        signs = [(np.sign(p[0] - q[0]), np.sign(p[1] - q[1])) for p, q in combinations(pairs, 2)]
        both = sum(a * b for a, b in signs)
        untied = [sum(1 for sign in signs if sign[side]) for side in (0, 1)]
        assert kendall_tau(pairs) == pytest.approx(both / math.sqrt(untied[0] * untied[1]))
    assert kendall_tau([(1.0, 10.0), (2.0, 20.0), (3.0, 30.0)]) == pytest.approx(1.0)


@pytest.mark.parametrize("pairs", [[], [(1.0, 2.0)], [(1.0, 2.0), (1.0, 3.0)], [(1.0, 2.0), (3.0, 2.0)]])
def test_there_is_no_tau_without_an_order(pairs: list[tuple[float, float]]) -> None:
    assert kendall_tau(pairs) is None
