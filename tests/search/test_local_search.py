from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from nas.search.local_search import LocalSearch
from nas.search.proposing import proposals
from nas.search.strategy import Observation
from nas.space import CategoricalSpace, CellSpace, Choices
from tests.search.histories import completed, draw

SPACE = CategoricalSpace({f"edge {index}": ("a", "b", "c") for index in range(5)})
GOOD = dict(zip(SPACE.distributions(), "abcab", strict=True))


def smooth(candidate: Choices) -> float:
    """One optimum, and a step to it from everywhere."""
    return sum(candidate[name] == GOOD[name] for name in candidate) / 5


def rugged(candidate: Choices) -> float:
    """Many local optima."""
    return float(np.random.default_rng(["abc".index(str(value)) for value in candidate.values()]).random())


def beside(one: Choices, other: Choices) -> bool:
    return sum(one[name] != other[name] for name in one) == 1


def searched(objective: Any, trials: int, job: int, startup: int = 5, broken: int = 0) -> list[Observation[Choices]]:
    """A job with one worker; one trial in `broken` breaks a limit."""
    strategy = LocalSearch(startup)
    history: list[Observation[Choices]] = []
    while len(history) < trials:
        tried = {observation.candidate for observation in history}
        found = proposals(strategy, SPACE, history, number=len(history), seed=job)
        candidate = next(one for one in found if one not in tried)
        bad = bool(broken) and len(history) % broken == 0
        number = len(history)
        history.append(
            Observation(number, candidate, True, not bad, 8 * (not bad), None if bad else objective(candidate), bad)
        )
    return history


@pytest.mark.parametrize(("objective", "broken"), [(smooth, 0), (rugged, 0), (rugged, 4)])
@pytest.mark.parametrize("job", range(4))
def test_every_step_is_that_of_plain_local_search(objective: Any, broken: int, job: int) -> None:
    """White et al. 2021: from the best of the start, untried neighbours until one is better; anew if none is left."""
    history = searched(objective, 120, job, broken=broken)
    tried: set[Choices] = set()
    climb: list[Observation[Choices]] = []
    restarts = 0
    for observation in history:
        scored = [one for one in climb if one.score is not None]
        if len(scored) >= 5:
            incumbent = max(scored, key=lambda one: one.score or 0)
            left = [one for one in SPACE.neighbours(incumbent.candidate) if one not in tried]
            if left:
                assert observation.candidate in left
            else:
                restarts += 1
                climb = []
        tried.add(observation.candidate)
        climb.append(observation)
    assert restarts > 0


def test_a_smooth_hill_is_climbed_in_a_few_steps() -> None:
    for job in range(5):
        assert max(smooth(one.candidate) for one in searched(smooth, 50, job)) == 1


def test_neighbours_come_in_random_order() -> None:
    history = completed(draw(SPACE, 5), [0.1, 0.9, 0.2, 0.3, 0.4])
    proposed = [LocalSearch(5).propose(SPACE, history, seed) for seed in range(200)]
    assert all(beside(one, history[1].candidate) for one in proposed)
    assert len(set(proposed)) == 10
    assert len({LocalSearch(6).propose(SPACE, history, seed) for seed in range(30)}) > 15  # still random


def test_a_better_neighbour_becomes_where_the_search_stands() -> None:
    first, *_ = draw(SPACE, 1)
    path = [first]
    for _ in range(3):
        path.append(next(one for one in SPACE.neighbours(path[-1]) if one not in path))
    history = completed(path, [0.1, 0.3, 0.2, 0.4])
    for count, at in ((1, 0), (2, 1), (3, 1), (4, 3)):
        for seed in range(10):
            assert beside(LocalSearch(1).propose(SPACE, history[:count], seed), path[at])


def test_neighbours_that_run_or_failed_are_not_tried_again() -> None:
    [first] = draw(SPACE, 1)
    around = list(SPACE.neighbours(first))
    history = [
        *completed([first]),
        *(Observation(1 + index, one, index % 2 == 0, False, 0, None) for index, one in enumerate(around[:-1])),
    ]
    assert {LocalSearch(1).propose(SPACE, history, seed) for seed in range(20)} == {around[-1]}
    history.append(Observation(20, around[-1], False, False, 0, None))
    assert len({LocalSearch(1).propose(SPACE, history, seed) for seed in range(20)}) > 10  # a new start


def test_isomorphic_neighbours_are_one() -> None:
    space = CellSpace(("skip_connect", "sep_conv_3x3"), nodes=2)
    history = completed(draw(space, 1))
    left: set[str] = {space.digest(one) for one in space.neighbours(history[0].candidate)}
    left -= {space.digest(history[0].candidate)}
    for number in range(1, len(left) + 1):
        candidate = LocalSearch(1).propose(space, history, number)
        left.remove(space.digest(candidate))
        history.append(Observation(number, candidate, True, True, 8, -1.0))
    assert not left


def test_trials_that_wait_at_a_rung_are_compared_by_what_they_promise() -> None:
    first, second, third = draw(SPACE, 3)
    history: list[Observation[Choices]] = [
        Observation(0, first, False, False, 4, 0.60, paused=True, rungs=((4, 0.60),)),
        Observation(1, second, True, True, 8, 0.69, rungs=((4, 0.59), (8, 0.69))),
        Observation(2, third, False, False, 4, 0.50, paused=True, rungs=((4, 0.50),)),
    ]
    assert all(beside(LocalSearch(3).propose(SPACE, history, seed), first) for seed in range(5))
    history[2] = replace(history[2], score=0.61, rungs=((4, 0.61),))
    assert all(beside(LocalSearch(3).propose(SPACE, history, seed), third) for seed in range(5))


def test_with_several_objectives_it_stands_on_the_front() -> None:
    values = [(0.9, -9.0), (0.8, -9.5), (0.2, -2.0)]
    history = [
        Observation(number, candidate, True, True, 8, one[0], others=one[1:])
        for number, (candidate, one) in enumerate(zip(draw(SPACE, 3), values, strict=True))
    ]
    for seed in range(10):
        proposed = LocalSearch(3).propose(SPACE, history, seed)
        assert beside(proposed, history[0].candidate) or beside(proposed, history[2].candidate)


def test_climbs_follow_one_another_upwards() -> None:
    """Within a climb the incumbents' scores rise."""
    history = searched(smooth, 40, 0)
    best = [max(smooth(one.candidate) for one in history[: index + 1]) for index in range(4, 20)]
    assert all(before <= after for before, after in pairwise(best))
    assert best[-1] == 1
