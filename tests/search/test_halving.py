import random
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.search.fronts import merits
from nas.search.halving import FIRST_RUNG, Halving, rungs
from nas.search.strategy import Observation
from tests.search.rungs import at_rung, grown


@pytest.mark.parametrize(
    ("epochs", "eta", "expected"),
    [
        (1, 3, (1,)),
        (2, 3, (2,)),
        (4, 3, (4,)),
        (5, 3, (2, 5)),
        (8, 3, (3, 8)),
        (9, 3, (3, 9)),
        (12, 3, (4, 12)),
        (81, 3, (3, 9, 27, 81)),
        (98, 3, (4, 11, 33, 98)),
        (200, 3, (2, 7, 22, 67, 200)),
        (16, 4, (4, 16)),
        (5, 2, (3, 5)),
        (64, 2, (2, 4, 8, 16, 32, 64)),
        (1000, 100, (10, 1000)),
    ],
)
def test_rungs_are_an_etath_of_an_etath_of_the_epochs(epochs: int, eta: int, expected: tuple[int, ...]) -> None:
    assert rungs(epochs, eta) == expected
    assert Halving(eta).stages(7, epochs) == expected


@given(st.integers(1, 2_000), st.integers(2, 10))
def test_rungs_ascend_to_the_whole_training(epochs: int, eta: int) -> None:
    found = rungs(epochs, eta)
    assert found[-1] == epochs
    assert all(low < high for low, high in pairwise(found))
    assert found[0] >= FIRST_RUNG or epochs == 1
    for steps, rung in enumerate(reversed(found)):
        assert abs(rung - epochs / eta**steps) <= 0.5
    assert epochs / eta ** len(found) < FIRST_RUNG - 0.5  # there is no room for one more


@given(st.integers(1, 2_000), st.integers(2, 10), st.integers(1, 2_000))
def test_a_first_rung_that_is_asked_for_is_the_first(epochs: int, eta: int, first: int) -> None:
    found = rungs(epochs, eta, first)
    assert found[0] == min(first, epochs)
    assert found[-1] == epochs
    ratios = [high / low for low, high in pairwise(found)]
    assert all(ratio < eta**1.5 + 1 / low for ratio, low in zip(ratios, found, strict=False))


@pytest.mark.parametrize(
    ("first", "expected"),
    [(1, (1, 3, 10, 31, 98)), (4, (4, 12, 34, 98)), (11, (11, 33, 98)), (60, (60, 98)), (98, (98,)), (200, (98,))],
)
def test_rungs_from_a_given_one_have_equal_ratios_near_eta(first: int, expected: tuple[int, ...]) -> None:
    assert rungs(98, 3, first) == expected


def test_one_in_eta_of_those_at_a_rung_goes_on_the_best_first() -> None:
    history = [at_rung(number, 4, score) for number, score in enumerate([0.2, 0.9, 0.1, 0.5, 0.8, 0.3])]
    pruner = Halving()
    assert pruner.promote(history[:1], 98, closing=False) is None
    assert pruner.promote(history[:2], 98, closing=False) is None
    assert pruner.promote(history[:3], 98, closing=False) == 1
    assert pruner.promote(history, 98, closing=False) == 1
    history[1] = replace(history[1], paused=False)  # it runs
    assert pruner.promote(history, 98, closing=False) == 4
    history[4] = at_rung(4, 11, 0.85, (4, 0.8))
    assert pruner.promote(history, 98, closing=False) is None


def test_who_was_promoted_keeps_its_place_among_the_best() -> None:
    """Six have reached the rung, two of them the best, and both are promoted: the third best stays."""
    history = [at_rung(number, 4, score) for number, score in enumerate([0.6, 0.5, 0.4, 0.3, 0.9, 0.8])]
    history[4] = replace(history[4], paused=False, finished=True, complete=True, epoch=98, score=0.1)
    history[5] = replace(history[5], paused=False, finished=True, score=None)  # it has diverged since
    assert Halving().promote(history, 98, closing=False) is None
    later = [*history, *(at_rung(number, 4, 0.0) for number in (6, 7, 8))]
    assert Halving().promote(later, 98, closing=False) == 0


def test_the_top_rung_comes_first() -> None:
    low = [at_rung(number, 4, 0.9) for number in range(9)]
    high = [at_rung(number, 33, 0.1, (4, 0.1), (11, 0.1)) for number in range(9, 12)]
    assert Halving().promote([*low, *high], 98, closing=False) == 9
    assert Halving().promote(low, 98, closing=False) == 0


def test_the_last_rung_of_a_shorter_training_is_no_rung() -> None:
    """What ended at 33 of 33 epochs is trained to the end."""
    history = [replace(at_rung(number, 33, 0.5, (4, 0.5), (11, 0.5)), paused=True) for number in range(3)]
    assert Halving().promote(history, 33, closing=False) is None
    assert Halving().promote(history, 98, closing=False) == 0


def test_of_five_trials_exactly_one_is_trained_to_the_end() -> None:
    """Rungs at 4, 11 and 33 of 98 epochs; the best at the first rung goes all the way, whatever it scores there."""
    pruner, promoted = Halving(), []
    history = [at_rung(number, 4, score) for number, score in enumerate([0.1, 0.4, 0.5, 0.2, 0.3])]
    while (number := pruner.promote(history, 98, closing=True)) is not None:
        promoted.append(number)
        history[number] = advanced(history[number], pruner.stages(number, 98), 0.0)
    assert promoted == [2, 2, 2]
    assert [observation.complete for observation in history] == [False, False, True, False, False]
    assert pruner.promote(history, 98, closing=True) is None


def test_another_one_is_trained_to_the_end_if_the_promoted_one_fails() -> None:
    history = [at_rung(number, 4, score) for number, score in enumerate([0.1, 0.4, 0.5, 0.2, 0.3])]
    history[2] = replace(history[2], paused=False, finished=True, score=None)
    assert Halving().promote(history, 98, closing=False) is None
    assert Halving().promote(history, 98, closing=True) == 1
    history[1] = replace(history[1], paused=False, finished=True, score=None)
    assert Halving().promote(history, 98, closing=True) == 4


def test_trials_that_broke_a_limit_or_failed_before_the_first_rung_are_not_counted() -> None:
    paused = [at_rung(number, 4, 0.5 + number / 10) for number in range(2)]
    others = [
        Observation(2, "x", True, False, 0, None, infeasible=True),
        Observation(3, "x", True, False, 3, None),
        Observation(4, "x", False, False, 3, 0.9),
    ]
    assert Halving().promote([*paused, *others], 98, closing=False) is None
    assert Halving().promote([*paused, *others, at_rung(5, 4, 0.0)], 98, closing=False) == 1


def test_several_objectives_are_ordered_by_front_and_crowding() -> None:
    values = [(0.1, -9.0), (0.5, -5.0), (0.4, -6.0), (0.9, -20.0), (0.2, -1.0), (0.3, -8.0)]
    history = [replace(at_rung(number, 4, score), others=(other,)) for number, (score, other) in enumerate(values)]
    first = Halving().promote(history, 98, closing=False)
    assert first == max(range(6), key=lambda number: (merits(values)[number], -number))
    assert first in (3, 4)  # an end of the first front


def advanced(observation: Observation[Any], stages: tuple[int, ...], score: float) -> Observation[Any]:
    reached = next(stage for stage in stages if stage > observation.epoch)
    if reached == stages[-1]:
        return replace(observation, paused=False, finished=True, complete=True, epoch=reached, score=score)
    return replace(observation, epoch=reached, score=score, rungs=(*observation.rungs, (reached, score)))


def plainly_promoted(history: Sequence[Observation[Any]], epochs: int, *, closing: bool, eta: int = 3) -> int | None:
    """Li et al. 2020, algorithm 2, get_job: from the top rung down, whoever is in the top share and not promoted."""
    for rung in reversed(rungs(epochs, eta)[:-1]):
        reached = {seen.number: (dict(seen.rungs)[rung], *seen.others) for seen in history if rung in dict(seen.rungs)}
        merit = dict(zip(reached, merits(list(reached.values())), strict=True))
        waiting = [seen.number for seen in history if seen.paused and seen.epoch == rung]
        best = sorted(reached, key=lambda number: (-merit[number], number))
        for number in best[: len(reached) // eta]:
            if number in waiting:
                return number
        standing = [seen for seen in history if seen.number in reached and not (seen.finished and not seen.complete)]
        if closing and waiting and all(seen.number in waiting for seen in standing):
            return next(number for number in best if number in waiting)
    return None


@pytest.mark.parametrize("objectives", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_promotions_are_those_of_the_published_algorithm(seed: int, objectives: int) -> None:
    """Also if the same pruner has followed the search and others in between."""
    followed, rng = Halving(), random.Random(seed)
    for history in grown(Halving(), 9, 30, rng, objectives=objectives):
        for closing in (False, True):
            expected = plainly_promoted(history, 9, closing=closing)
            assert Halving().promote(history, 9, closing=closing) == expected
            assert followed.promote(history, 9, closing=closing) == expected
        if rng.random() < 0.1:
            shorter = history[: rng.randrange(len(history) + 1)]
            assert followed.promote(shorter, 9, closing=False) == plainly_promoted(shorter, 9, closing=False)


@pytest.mark.parametrize("objectives", [1, 2])
def test_promoting_among_ten_thousand_trials_takes_little_time(objectives: int) -> None:
    """A bound that only another complexity class would break: 1 and 10 ms are usual."""
    rng = random.Random(0)
    history = [at_rung(number, 4, rng.random(), others=(rng.random(),) * (objectives - 1)) for number in range(10_000)]
    pruner = Halving()
    pruner.promote(history, 98, closing=False)
    best = float("inf")
    for number in range(5):
        history[number] = replace(history[number], paused=False)
        began = time.perf_counter()
        pruner.promote(history, 98, closing=False)
        best = min(best, time.perf_counter() - began)
    assert best < 0.2
