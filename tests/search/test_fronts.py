import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.search.fronts import BLOCK, fronts, merits

Values = list[tuple[float, ...]]


def dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(a >= b for a, b in zip(one, other, strict=True)) and one != other


def plain_fronts(values: Values) -> list[int]:
    """By the definition: what nothing that is left dominates is the next front."""
    found, left, rank = [-1] * len(values), set(range(len(values))), 0
    while left:
        front = {i for i in left if not any(dominates(values[j], values[i]) for j in left)}
        for i in front:
            found[i] = rank
        left, rank = left - front, rank + 1
    return found


def plain_crowding(front: Values) -> list[float]:
    """Deb et al. 2002, crowding-distance-assignment, line by line."""
    found = [0.0] * len(front)
    for objective in range(len(front[0])):
        order = sorted(range(len(front)), key=lambda i: front[i][objective])
        low, high = front[order[0]][objective], front[order[-1]][objective]
        found[order[0]] = found[order[-1]] = math.inf
        for place in range(1, len(order) - 1):
            if high > low:
                gap = front[order[place + 1]][objective] - front[order[place - 1]][objective]
                found[order[place]] += gap / (high - low)
    return found


@st.composite
def tables(draw: st.DrawFn, sizes: tuple[int, int] = (0, 60)) -> Values:
    """Few levels, so that there are ties and equal values, or many."""
    width = draw(st.integers(1, 5))
    number = st.integers(0, draw(st.sampled_from([1, 3, 1000]))).map(float)
    return draw(st.lists(st.tuples(*[number] * width), min_size=sizes[0], max_size=sizes[1]))


@given(tables())
def test_the_rank_is_the_number_of_fronts_to_peel_off_first(values: Values) -> None:
    assert fronts(values) == plain_fronts(values)


@pytest.mark.parametrize("objectives", [2, 3, 5])
def test_ranks_across_blocks_are_those_of_the_definition(objectives: int) -> None:
    rng = np.random.default_rng(objectives)
    values = [tuple(row) for row in rng.integers(0, 12, (2 * BLOCK + 50, objectives)).astype(float).tolist()]
    assert fronts(values) == plain_fronts(values)


def test_one_objective_makes_a_front_of_each_value() -> None:
    assert fronts([(3.0,), (5.0,), (3.0,), (1.0,)]) == [1, 0, 1, 2]


@pytest.mark.parametrize("values", [[(-math.inf, 1.0), (0.0, 0.0), (math.inf, -1.0), (-math.inf, 0.0)]])
def test_infinite_values_are_ordered_as_numbers_are(values: Values) -> None:
    assert fronts(values) == [0, 0, 0, 1]
    assert all(map(math.isfinite, merits(values)))


def test_nothing_has_no_ranks_and_no_merits() -> None:
    assert fronts([]) == []
    assert merits([]) == []


def test_with_one_objective_the_merit_is_the_value() -> None:
    assert merits([(0.5,), (-2.0,), (0.5,)]) == [0.5, -2.0, 0.5]


@given(tables((1, 40)))
def test_merits_order_by_front_and_then_by_crowding_distance(values: Values) -> None:
    if len(values[0]) == 1:
        return
    values = sorted(set(values))  # which of equal values is the end of its front is a matter of their order
    found, ranks = merits(values), plain_fronts(values)
    for rank in set(ranks):
        members = [i for i, other in enumerate(ranks) if other == rank]
        worse = [found[i] for i, other in enumerate(ranks) if other > rank]
        assert min(found[i] for i in members) > max(worse, default=-math.inf)
        crowding = plain_crowding([values[i] for i in members])
        for a, i in enumerate(members):
            for b, j in enumerate(members):
                if crowding[a] > crowding[b] + 1e-9:
                    assert found[i] > found[j]


def test_the_lonely_member_of_a_front_comes_before_the_crowded_one() -> None:
    values = [(0.0, 10.0), (1.0, 9.0), (2.0, 8.0), (6.0, 4.0), (10.0, 0.0)]
    found = merits(values)
    assert sorted(range(5), key=lambda i: -found[i]) == [0, 4, 3, 2, 1]
    assert found[0] == found[4] == 0.5  # the ends
    assert found[3] == pytest.approx(1.6 / 2.6 / 2)
