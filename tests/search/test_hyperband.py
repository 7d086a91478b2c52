import random
from collections import Counter
from itertools import pairwise

import pytest

from nas.search.halving import rungs
from nas.search.hyperband import Hyperband, cycle
from nas.search.strategy import Observation
from tests.search.rungs import at_rung, grown
from tests.search.test_halving import plainly_promoted


def bracket_of(number: int, epochs: int = 98) -> int:
    """The brackets have one rung fewer each, so their stages tell."""
    pruner = Hyperband()
    return len(pruner.stages(0, epochs)) - len(pruner.stages(number, epochs))


def test_a_bracket_has_the_rungs_of_the_one_before_less_the_first() -> None:
    pruner = Hyperband()
    assert {pruner.stages(number, 98) for number in range(100)} == {(4, 11, 33, 98), (11, 33, 98), (33, 98), (98,)}
    assert pruner.stages(0, 98) == (4, 11, 33, 98)
    assert {Hyperband(4, 5).stages(number, 80) for number in range(100)} == {(5, 20, 80), (20, 80), (80,)}
    assert {pruner.stages(number, 1) for number in range(100)} == {(1,)}


@pytest.mark.parametrize(("epochs", "eta"), [(98, 3), (27, 3), (200, 3), (1000, 4), (64, 2)])
def test_all_brackets_cost_about_the_same(epochs: int, eta: int) -> None:
    """If one in eta is promoted at each rung, and pays only the new epochs."""
    stages = rungs(epochs, eta)
    counts = Counter(cycle(stages, eta))
    costs = []
    for bracket in range(len(stages)):
        trials, cost, before = float(counts[bracket]), 0.0, 0
        for rung in stages[bracket:]:
            cost += trials * (rung - before)
            trials, before = trials / eta, rung
        costs.append(cost)
    assert max(costs) < 1.15 * min(costs)


@pytest.mark.parametrize("epochs", [98, 27])
def test_the_brackets_are_mixed_evenly(epochs: int) -> None:
    """However long the search, every bracket has its share of the trials, give or take one or two."""
    turns = cycle(rungs(epochs, 3), 3)
    shares = {bracket: count / len(turns) for bracket, count in Counter(turns).items()}
    counts = Counter[int]()
    for number in range(3 * len(turns)):
        counts[bracket_of(number, epochs)] += 1
        for bracket, share in shares.items():
            assert abs(counts[bracket] - share * (number + 1)) < 2


def test_a_trial_is_compared_within_its_bracket_only() -> None:
    firsts = [number for number in range(60) if bracket_of(number) == 1][:3]
    zeroth = [number for number in range(60) if bracket_of(number) == 0][:3]
    better = [at_rung(number, 11, 0.9, (4, 0.9)) for number in zeroth]
    worse = [at_rung(number, 11, 0.1 + number / 1000) for number in firsts]
    history = sorted([*better[:2], *worse], key=lambda seen: seen.number)
    assert Hyperband().promote(history, 98, closing=False) == firsts[2]
    assert Hyperband().promote(history[:-1], 98, closing=False) is None


@pytest.mark.parametrize("seed", range(4))
def test_each_bracket_is_a_search_by_halving_of_its_own(seed: int) -> None:
    """Whoever is promoted, halving promotes among the trials of its bracket; None only if all brackets give none."""
    followed, rng = Hyperband(), random.Random(seed)
    brackets = range(len(rungs(27, 3)))
    for history in grown(Hyperband(), 27, 40, rng):
        for closing in (False, True):
            found = Hyperband().promote(history, 27, closing=closing)
            assert followed.promote(history, 27, closing=closing) == found
            alone = []
            for bracket in brackets:
                members = [seen for seen in history if bracket_of(seen.number, 27) == bracket]
                alone.append(plainly_promoted(members, 27, closing=closing))
            promoted = [number for number in alone if number is not None]
            assert (found is None) == (not promoted)
            if found is not None:
                assert found in promoted
                assert history[found].epoch == max(history[number].epoch for number in promoted)  # the top rung first


def test_one_pruner_serves_trainings_of_different_length() -> None:
    history = [at_rung(number, 3, number / 10) for number in range(5)]
    shared = Hyperband()
    for epochs in (27, 9, 27, 98, 9):
        assert shared.promote(history, epochs, closing=True) == Hyperband().promote(history, epochs, closing=True)


def test_the_turns_are_as_many_as_they_say() -> None:
    turns = cycle((4, 11, 33, 98), 3)
    assert set(turns) == {0, 1, 2, 3}
    assert turns.count(3) == 4
    assert all(turns.count(low) > turns.count(high) for low, high in pairwise(range(4)))


def test_nothing_to_promote_in_an_empty_history() -> None:
    assert Hyperband().promote([], 98, closing=True) is None
    running = [Observation(0, "x", False, False, 0, None)]
    assert Hyperband().promote(running, 98, closing=False) is None
