from collections import Counter
from dataclasses import replace
from math import comb
from statistics import mean
from typing import Any

import pytest

from nas.search.evolution import Evolution
from nas.search.fronts import merits
from nas.search.random import RandomSearch
from nas.search.strategy import Observation, Strategy
from nas.seeds import derive
from nas.space import Candidate, CategoricalSpace, CellSpace, Choices
from tests.search.histories import completed, draw, score

WIDE = CategoricalSpace({f"edge {index}": tuple(range(10)) for index in range(12)})
"""Random candidates differ in about eleven parameters, so that a child's parent can be told."""


def parent_of(child: Choices, history: list[Observation[Choices]]) -> int | None:
    """The number of the trial from which it differs in one parameter."""
    found = [
        observation.number
        for observation in history
        if sum(child[name] != observation.candidate[name] for name in child) == 1
    ]
    assert len(found) < 2
    return found[0] if found else None


def parents(strategy: Strategy, history: list[Observation[Choices]], draws: int = 400) -> Counter[int | None]:
    return Counter(parent_of(strategy.propose(WIDE, history, seed), history) for seed in range(draws))


def test_until_the_population_is_full_candidates_are_random() -> None:
    history = completed(draw(WIDE, 20))
    for count in (0, 1, 19):
        for seed in range(5):
            proposed = Evolution(20, 5).propose(WIDE, history[:count], seed)
            assert proposed == RandomSearch().propose(WIDE, [], seed)
    assert None not in parents(Evolution(20, 5), history, 50)


def test_parents_are_the_best_of_a_random_tournament() -> None:
    """The r-th best of 20 wins a tournament of 5 if it is drawn and the other four are worse ones."""
    history = completed(draw(WIDE, 20), [(7 * number % 20) / 20 for number in range(20)])
    found = parents(Evolution(20, 5), history, 2_000)
    ranked = sorted(history, key=lambda one: -(one.score or 0))
    expected = [2_000 * comb(20 - rank, 4) / comb(20, 5) for rank in range(1, 17)]
    assert sum(expected) == pytest.approx(2_000)
    seen = [found[one.number] for one in ranked]
    assert sum(seen[16:]) == 0
    often = [(count, chance) for count, chance in zip(seen, expected, strict=False) if chance > 10]
    assert sum((count - chance) ** 2 / chance for count, chance in often) < 32.9  # 12 degrees of freedom, 1 in 1,000


def test_the_oldest_die_however_good_they_are() -> None:
    scores = [1.0 if number < 10 else number / 100 for number in range(30)]
    found = parents(Evolution(20, 20), completed(draw(WIDE, 30), scores))
    assert found == {29: 400}
    found = parents(Evolution(20, 3), completed(draw(WIDE, 30), scores))
    assert set(found) <= set(range(10, 30))


def test_a_tournament_larger_than_the_population_takes_all() -> None:
    history = completed(draw(WIDE, 10), [0.5, 0.9, 0.1, *[0.2] * 7])
    assert parents(Evolution(10, 50), history, 20) == {1: 20}


def test_trials_that_failed_take_no_place_in_the_population() -> None:
    history = [
        observation if observation.number % 2 else replace(observation, complete=False, score=None, infeasible=True)
        for observation in completed(draw(WIDE, 20), [number / 20 for number in range(20)])
    ]
    found = parents(Evolution(10, 1), history)
    assert set(found) == {1, 3, 5, 7, 9, 11, 13, 15, 17, 19}
    proposed = Evolution(11, 1).propose(WIDE, history, 0)
    assert parent_of(proposed, history) is None  # not full yet


def test_trials_that_wait_at_a_rung_may_be_parents() -> None:
    """Two waiting trials with the same score at their rung: the one that was promoted is ahead by what was gained."""
    first, second, third = draw(WIDE, 3)
    history: list[Observation[Choices]] = [
        Observation(0, first, False, False, 4, 0.60, paused=True, rungs=((4, 0.60),)),
        Observation(1, second, True, True, 8, 0.69, rungs=((4, 0.59), (8, 0.69))),
        Observation(2, third, False, False, 4, 0.50, paused=True, rungs=((4, 0.50),)),
    ]
    assert parents(Evolution(3, 3), history, 20) == {0: 20}  # promises 0.70
    later = replace(history[1], score=0.75, rungs=((4, 0.59), (8, 0.75)))
    assert parents(Evolution(3, 3), [history[0], later, history[2]], 20) == {0: 20}  # promises 0.76
    promoted = replace(history[0], paused=False, epoch=6, score=0.1)
    assert parents(Evolution(3, 3), [promoted, *history[1:]], 20) == {0: 20}  # its last rung counts


def test_with_several_objectives_parents_are_the_best_by_rank_and_crowding() -> None:
    values = [(0.9, -9.0), (0.5, -5.0), (0.8, -9.5), (0.7, -6.0), (0.4, -5.5)]
    history = [
        Observation(number, candidate, True, True, 8, one[0], others=one[1:])
        for number, (candidate, one) in enumerate(zip(draw(WIDE, 5), values, strict=True))
    ]
    ranked = merits(values)
    assert set(parents(Evolution(5, 5), history, 20)) == {0, 1}  # the ends of the front
    assert [index for index in range(5) if ranked[index] == max(ranked)] == [0, 1]
    assert set(parents(Evolution(5, 3), history, 200)) <= {0, 1, 3}  # two of five are dominated


def test_evolution_finds_better_cells_than_random_search() -> None:
    space = CellSpace(("skip_connect", "max_pool_3x3", "sep_conv_3x3", "sep_conv_5x5"), nodes=2)

    def last(strategy: Strategy, job: int) -> float:
        history: list[Observation[Any]] = []
        for number in range(150):
            candidate: Candidate = strategy.propose(space, history, derive(job, number))
            history.append(Observation(number, candidate, True, True, 8, score(candidate)))
        return mean(score(observation.candidate) for observation in history[-25:])

    assert all(last(Evolution(), job) > last(RandomSearch(), job) + 0.3 for job in range(3))
