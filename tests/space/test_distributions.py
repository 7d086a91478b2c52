import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.space import Categorical, Distribution, Integer, Real

KINDS: list[Distribution] = [
    Categorical(("a", "b", "c", None)),
    Integer(2, 9),
    Integer(1, 300, log=True),
    Real(-1.0, 2.0),
    Real(1e-4, 1e-1, log=True),
]
logs = st.booleans()
integers = st.builds(
    lambda low, more, log: Integer(low + log, low + log + more, log), st.integers(0, 50), st.integers(0, 5_000), logs
)
reals = st.builds(
    lambda low, more, log: Real(low + 1e-3 * log, low + 1e-3 * log + more, log), st.floats(0, 9), st.floats(0, 99), logs
)
numbers = st.one_of(integers, reals)


def chi_square(found: Counter[int], shares: list[float]) -> float:
    total = found.total()
    return sum((found[index] - total * share) ** 2 / (total * share) for index, share in enumerate(shares))


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(("low", "high"), [(0.5, 4.0), (1e-4, 1.0)])
def test_real_numbers_are_drawn_uniformly_on_their_scale(low: float, high: float, log: bool) -> None:
    rng, found = np.random.default_rng(0), Real(low, high, log)
    drawn = [found.sample(rng) for _ in range(8_000)]
    assert all(low <= value <= high for value in drawn)
    tenth: Counter[int] = Counter()
    for value in drawn:
        share = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
        tenth[min(9, int(10 * share))] += 1
    assert chi_square(tenth, [0.1] * 10) < 27.9  # exceeded once in a thousand: 9 degrees of freedom


def test_whole_numbers_are_drawn_uniformly() -> None:
    rng, found = np.random.default_rng(0), Integer(-2, 7)
    drawn = Counter(found.sample(rng) + 2 for _ in range(8_000))
    assert set(drawn) == set(range(10))
    assert chi_square(drawn, [0.1] * 10) < 27.9


@pytest.mark.parametrize(("low", "high"), [(1, 12), (3, 10)])
def test_whole_numbers_on_a_logarithmic_scale_have_their_share_of_it(low: int, high: int) -> None:
    """A number n reaches from n - ½ to n + ½."""
    rng, found = np.random.default_rng(0), Integer(low, high, log=True)
    drawn = Counter(found.sample(rng) - low for _ in range(20_000))
    whole = math.log((high + 0.5) / (low - 0.5))
    shares = [math.log((n + 0.5) / (n - 0.5)) / whole for n in range(low, high + 1)]
    assert sum(shares) == pytest.approx(1)
    assert chi_square(drawn, shares) < 31.3  # 11 degrees of freedom


def test_true_is_not_one_and_a_number_is_no_text() -> None:
    assert not Categorical((1, 2)).contains(True)
    assert not Categorical((True, False)).contains(1)
    assert not Categorical(("1", None)).contains(1)
    assert not Categorical((1, 2)).contains(1.0)
    for found in (Integer(0, 2), Real(0, 2)):
        for foreign in (True, "1", None, math.nan, -1, 3):
            assert not found.contains(foreign)
    assert not Integer(0, 2).contains(1.0)
    assert Categorical((None, "1")).contains(None)
    assert Real(0, 2).contains(1)


@pytest.mark.parametrize("found", KINDS[1:])
def test_both_ends_belong_to_a_range_and_nothing_beyond(found: Integer | Real) -> None:
    assert found.contains(found.low)
    assert found.contains(found.high)
    assert not found.contains(found.low - 1e-9)
    assert not found.contains(found.high + 1e-9)
    assert not found.contains(found.low - 1)
    assert not found.contains(found.high + 1)


@pytest.mark.parametrize("found", KINDS)
def test_a_mutation_is_another_value_of_the_range(found: Distribution) -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        value = found.sample(rng)
        changed = found.mutate(value, rng)
        assert found.contains(changed)
        assert changed != value


@given(numbers, st.integers(0, 2**32))
def test_whatever_the_range_draws_mutations_and_neighbours_keep_it(found: Integer | Real, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for value in (found.low, found.high, found.sample(rng)):
        changed = found.mutate(value, rng)
        beside = list(found.neighbours(value))
        assert all(found.contains(other) for other in (value, changed, *beside))
        assert value not in beside
        assert len(set(beside)) == len(beside) <= 2
        if isinstance(found, Integer):
            assert (changed != value) == (found.low < found.high) == bool(beside)


def test_mutations_of_a_number_do_not_pile_up_at_the_ends() -> None:
    """A normal distribution cut off at the ends has less there than in the middle."""
    rng = np.random.default_rng(0)
    for low, high, log in ((0, 20, False), (1, 400, True)):
        counts = Counter(Integer(low, high, log).mutate(Integer(low, high, log).high - 1, rng) for _ in range(4_000))
        assert counts[high] <= 1.5 * counts[high - 2]
    changed = [Real(0.0, 1.0).mutate(0.95, rng) for _ in range(1_000)]
    assert len(set(changed)) == 1_000


def test_near_numbers_are_likelier_mutations_than_far_ones() -> None:
    rng = np.random.default_rng(0)
    counts = Counter(Integer(0, 100).mutate(50, rng) for _ in range(10_000))
    near = sum(counts[n] for n in range(40, 61))
    assert 0.34 < near / 10_000 < 0.43  # half a standard deviation to either side: 0.38
    decades = [math.log10(float(str(Real(1e-4, 1.0, log=True).mutate(1e-2, rng)))) for _ in range(10_000)]
    assert 0.34 < sum(-2.4 < decade < -1.6 for decade in decades) / 10_000 < 0.43


def test_mutations_reach_every_choice_equally() -> None:
    rng = np.random.default_rng(0)
    counts = Counter("abcd".index(str(Categorical(tuple("abcd")).mutate("b", rng))) for _ in range(6_000))
    assert counts[1] == 0
    assert chi_square(Counter({0: counts[0], 1: counts[2], 2: counts[3]}), [1 / 3] * 3) < 13.8


def test_neighbours_of_a_whole_number_are_beside_it() -> None:
    assert list(Integer(2, 9).neighbours(5)) == [4, 6]
    assert list(Integer(2, 9).neighbours(2)) == [3]
    assert list(Integer(2, 9).neighbours(9)) == [8]
    assert list(Integer(4, 4).neighbours(4)) == []


def test_neighbours_on_a_logarithmic_scale_are_a_step_of_the_range_away_and_one_at_least() -> None:
    found = Integer(1, 2**20, log=True)  # a twentieth of the scale is a factor of two
    assert [list(found.neighbours(value)) for value in (1, 2, 1024, 2**20)] == [[2], [1, 4], [512, 2048], [2**19]]
    assert list(Integer(10, 20, log=True).neighbours(15)) == [14, 16]
    for value in range(1, 226):
        for other in Integer(1, 300, log=True).neighbours(value):
            assert other == pytest.approx(value * 300 ** (1 / 20 if other > value else -1 / 20), abs=1)


def test_neighbours_of_a_real_number_are_a_twentieth_of_the_range_away() -> None:
    assert list(Real(0.0, 2.0).neighbours(1.0)) == pytest.approx([0.9, 1.1])
    assert list(Real(1e-4, 1.0, log=True).neighbours(1e-2)) == pytest.approx([10**-2.2, 10**-1.8])
    assert list(Real(0.0, 2.0).neighbours(0.0)) == [0.1]
    assert list(Real(0.0, 2.0).neighbours(1.99)) == pytest.approx([1.89, 2.0])


def test_steps_lead_from_one_end_of_a_scale_to_the_other() -> None:
    for found in (Integer(3, 4_000, log=True), Real(1e-4, 1e-1, log=True), Real(-1.0, 1.0)):
        walk = [float(found.low)]
        while len(walk) < 200 and walk[-1] < found.high:
            value = int(walk[-1]) if isinstance(found, Integer) else walk[-1]
            walk.append(max(float(other) for other in found.neighbours(value)))
        assert all(before < after for before, after in pairwise(walk))
        assert walk[-1] == found.high
        assert len(walk) <= 30


def test_all_other_choices_are_neighbours() -> None:
    assert list(Categorical((None, 0.5, "x")).neighbours(0.5)) == [None, "x"]
    assert list(Categorical((3,)).neighbours(3)) == []


def test_where_there_is_one_value_nothing_can_be_changed() -> None:
    rng = np.random.default_rng(0)
    for found, value in ((Categorical(("a",)), "a"), (Integer(4, 4, log=True), 4), (Real(0.5, 0.5), 0.5)):
        assert found.sample(rng) == found.mutate(value, rng) == value


@pytest.mark.parametrize("choices", [(), ("a", "a"), (1, True), (0.0, -0.0), (1, 1.0), (None, None)])
def test_choices_that_are_none_or_equal_are_refused(choices: tuple[str | float | None, ...]) -> None:
    with pytest.raises(ValueError, match="choices that all differ"):
        Categorical(choices)


@pytest.mark.parametrize("kind", [Integer, Real])
@pytest.mark.parametrize(("low", "high", "log"), [(2, 1, False), (0, 2, True), (-1, 2, True)])
def test_a_range_upside_down_or_without_a_logarithm_is_refused(
    kind: type[Integer | Real], low: int, high: int, log: bool
) -> None:
    with pytest.raises(ValueError, match=f"low is {low} and high is {high}"):
        kind(low, high, log)


@pytest.mark.parametrize("found", KINDS[1:])
def test_what_is_no_number_has_no_neighbours(found: Integer | Real) -> None:
    for foreign in ("5", None):
        with pytest.raises(TypeError, match="is no number"):
            list(found.neighbours(foreign))
