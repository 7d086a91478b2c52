import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from nas.search.fronts import merits
from nas.search.prospects import Prospect, excerpt, prospects, standing
from nas.search.strategy import Observation
from nas.space import CategoricalSpace
from tests.search.histories import draw, growing

SPACE = CategoricalSpace({f"edge {index}": ("a", "b", "c") for index in range(5)})


def paused(number: int, *scores: float, epochs: tuple[int, ...] = (4, 11, 33, 98)) -> Observation[str]:
    """A trial with those scores at its rungs; trained to the end if it reached the last one."""
    rungs = tuple(zip(epochs, scores, strict=False))
    done = len(scores) == len(epochs)
    return Observation(number, f"c{number}", done, done, rungs[-1][0], scores[-1], paused=not done, rungs=rungs)


def first_values(history: list[Observation[Any]]) -> dict[int, float]:
    return {prospect.number: round(prospect.values[0], 6) for prospect in prospects(history)}


def test_trials_at_one_rung_keep_their_scores() -> None:
    assert first_values([paused(0, 0.5), paused(1, 0.7)]) == {0: 0.5, 1: 0.7}


def test_the_median_gain_of_those_that_went_on_is_added() -> None:
    history = [paused(0, 0.5), paused(1, 0.6, 0.7), paused(2, 0.6, 0.8), paused(3, 0.6, 0.95)]
    assert first_values(history) == {0: 0.7, 1: 0.7, 2: 0.8, 3: 0.95}


def test_gains_add_up_over_the_rungs() -> None:
    history = [paused(0, 0.5), paused(1, 0.5, 0.6), paused(2, 0.5, 0.6, 0.9), paused(3, 0.5, 0.6, 0.8, 0.85)]
    assert first_values(history) == {0: 0.9, 1: 0.9, 2: 0.95, 3: 0.85}


def test_brackets_with_other_rungs_are_understood() -> None:
    """Hyperband's trials begin at different rungs: one goes from 4 to 33, another from 11."""
    history = [
        paused(0, 0.5),
        paused(1, 0.5, 0.8, epochs=(4, 33, 98)),
        paused(2, 0.6, epochs=(11, 33, 98)),
        paused(3, 0.6, 0.75, epochs=(11, 33, 98)),
    ]
    assert first_values(history) == {0: 0.8, 1: 0.8, 2: 0.75, 3: 0.75}


def test_where_no_trial_tells_what_comes_next_nothing_is_added() -> None:
    stopped = Observation(0, "a", True, False, 5, 0.5)
    assert first_values([stopped, Observation(1, "b", True, True, 98, 0.9)]) == {0: 0.5, 1: 0.9}


def test_a_trial_that_is_stopped_between_rungs_goes_on_from_its_last_score() -> None:
    stopped = replace(paused(0, 0.5, 0.6), finished=True, paused=False, epoch=20, score=0.65)
    assert first_values([stopped, paused(1, 0.5)]) == {0: 0.65, 1: 0.65}


def test_a_trial_counts_by_its_score_once_that_stands() -> None:
    running = Observation(0, "a", False, False, 3, 0.9)
    assert standing(running) is None
    assert standing(replace(running, finished=True)) == (3, 0.9)
    assert standing(replace(running, finished=True, score=None)) is None
    assert standing(replace(running, paused=True)) == (3, 0.9)
    assert standing(Observation(0, "a", True, False, 0, None, infeasible=True)) is None


def test_a_trial_that_was_promoted_and_runs_counts_by_its_last_rung() -> None:
    promoted = replace(paused(0, 0.5, 0.6), paused=False, epoch=20, score=0.1)
    assert standing(promoted) == (11, 0.6)
    assert standing(replace(promoted, finished=True, score=None)) is None
    assert first_values([promoted, paused(1, 0.5)]) == {0: 0.6, 1: 0.6}


def test_further_objectives_stay_as_they_are() -> None:
    history = [replace(paused(0, 0.5), others=(-3.0, 7.0)), replace(paused(1, 0.5, 0.7), others=(-4.0, 8.0))]
    assert [prospect.values[1:] for prospect in prospects(history)] == [(-3.0, 7.0), (-4.0, 8.0)]
    assert first_values(history) == {0: 0.7, 1: 0.7}


def test_the_order_within_a_rung_is_kept_all_through_a_job() -> None:
    for history in growing(draw(SPACE, 30), random.Random(0)):
        found = {prospect.number: prospect.values[0] for prospect in prospects(history)}
        at = {one.number: place for one in history if (place := standing(one)) is not None}
        assert found.keys() == at.keys()
        for one, (epoch, score) in at.items():
            for other, (its_epoch, its_score) in at.items():
                if epoch == its_epoch and score < its_score:
                    assert found[one] < found[other]


def made(count: int, objectives: int = 1) -> list[Prospect[int]]:
    rng = random.Random(count)
    return [Prospect(number, number, tuple(rng.random() for _ in range(objectives))) for number in range(count)]


@pytest.mark.parametrize("objectives", [1, 2])
def test_an_excerpt_holds_the_best_the_newest_and_some_of_the_others(objectives: int) -> None:
    found = made(1_000, objectives)
    shown = [prospect.number for prospect in excerpt(found, 100)]
    ranked = merits([prospect.values for prospect in found])
    best = sorted(range(1_000), key=lambda index: (-ranked[index], index))
    assert set(best[:25]) <= set(shown)
    assert set(range(950, 1_000)) <= set(shown)
    others = [number for number in shown if number < 950 and number not in best[:25]]
    assert 8 <= len(others) <= 25
    assert max(right - left for left, right in pairwise(others)) <= 200
    assert shown == sorted(set(shown))
    assert len(shown) <= 100


def test_a_short_history_is_shown_as_it_is() -> None:
    assert excerpt(made(100), 100) == made(100)
    assert len(excerpt(made(101), 100)) < 101


def test_an_excerpt_changes_little_from_trial_to_trial() -> None:
    """So that what was encoded before can be used again."""
    found = made(3_050)
    shown = [{one.number for one in excerpt(found[:count], 100)} for count in range(3_000, 3_050)]
    assert sum(len(after - before) for before, after in pairwise(shown)) < 100
