from collections import Counter
from statistics import mean
from typing import Any

import numpy as np
import pytest
from cmaes import CMA

from nas.search.cmaes import WINDOW, CmaEs, _share, _value
from nas.search.random import RandomSearch
from nas.search.strategy import Observation, Strategy
from nas.seeds import derive
from nas.space import Candidate, Categorical, FixedSpace, Integer, JointSpace, Real, known
from tests.search.histories import completed, draw

BASE = FixedSpace(Candidate(known("DARTS_V2")))
REALS = JointSpace(BASE, (("recipe.ema", Real(0.0, 2.0)), ("recipe.lr", Real(1e-4, 1.0, log=True))))
MIXED = JointSpace(
    BASE,
    (
        ("space.channels", Integer(4, 64, log=True)),
        ("recipe.randaugment", Integer(0, 9)),
        ("recipe.ema", Real(0.0, 1.0)),
        ("recipe.flip", Categorical((False, True))),
        ("recipe.epochs", Integer(5, 5)),
    ),
)
GENERATION = 6
"""Trials of a generation with two or three parameters."""


def shares(candidate: Candidate) -> tuple[float, float]:
    """Where a candidate of REALS stands in the two ranges."""
    recipe: dict[str, Any] = dict(candidate.recipe)
    return recipe["ema"] / 2, float(np.log10(recipe["lr"]) / 4 + 1)


def near(candidate: Candidate) -> float:
    return -sum((share - best) ** 2 for share, best in zip(shares(candidate), (0.2, 0.7), strict=True))


def of_the_package(history: list[Observation[Candidate]]) -> CMA:
    """What the cmaes package makes of the generations, one after the other."""
    found = CMA(mean=np.array([0.5, 0.5]), sigma=1 / 6, bounds=np.array([[0.0, 1.0], [0.0, 1.0]]))
    for start in range(0, len(history) - GENERATION + 1, GENERATION):
        block = history[start : start + GENERATION]
        found.tell([(np.array(shares(one.candidate)), -(one.score or 0.0)) for one in block])
    return found


def drawn(strategy: Strategy, history: list[Observation[Candidate]], count: int = 1_000) -> Any:
    return np.array([shares(strategy.propose(REALS, history, seed)) for seed in range(count)])


@pytest.mark.parametrize("trials", [1, 5, 6, 11, 40])
def test_it_draws_from_the_distribution_that_the_package_computes(trials: int) -> None:
    history = completed(draw(REALS, trials), [near(candidate) for candidate in draw(REALS, trials)])
    reference = of_the_package(history)
    theirs = np.array([reference.ask() for _ in range(600)])
    ours = drawn(CmaEs(), history)
    spread = theirs.std(axis=0)
    assert np.abs(ours.mean(axis=0) - theirs.mean(axis=0)).max() < 0.2 * spread.max()
    assert np.abs(ours.std(axis=0) / spread - 1).max() < 0.15
    assert abs(np.corrcoef(ours.T)[0, 1] - np.corrcoef(theirs.T)[0, 1]) < 0.2


def test_before_enough_is_known_candidates_are_random() -> None:
    history = completed(draw(MIXED, 9))
    for seed in range(5):
        random = RandomSearch().propose(MIXED, [], seed)
        assert CmaEs().propose(MIXED, [], seed) == random
        assert CmaEs(10).propose(MIXED, history, seed) == random
        assert CmaEs(9).propose(MIXED, history, seed) != random


def best_of(strategy: Strategy, job: int) -> float:
    history: list[Observation[Candidate]] = []
    for number in range(120):
        candidate = strategy.propose(REALS, history, derive(job, number))
        history.append(Observation(number, candidate, True, True, 8, near(candidate)))
    return mean(near(one.candidate) for one in history[-10:])


def test_it_closes_in_on_the_best_numbers() -> None:
    for job in range(3):
        assert best_of(CmaEs(), job) > -1e-3 > best_of(RandomSearch(), job)


def test_what_is_chosen_by_name_is_drawn_at_random_and_whole_numbers_are_whole() -> None:
    history = completed(draw(MIXED, 30))
    found = [CmaEs().propose(MIXED, history, seed) for seed in range(200)]
    assert all(MIXED.contains(candidate) for candidate in found)
    flips = Counter(dict(candidate.recipe)["flip"] for candidate in found)
    assert 70 < flips[True] < 130


def test_each_whole_number_has_an_equal_part_of_its_scale() -> None:
    numbers = Integer(0, 9)
    assert [_share(numbers, value) for value in range(10)] == pytest.approx([0.05 + value / 10 for value in range(10)])
    assert [_value(numbers, share / 100 + 0.005) for share in range(100)] == [share // 10 for share in range(100)]
    assert [_value(numbers, share) for share in (0.0, 1.0)] == [0, 9]


def test_trials_without_a_score_are_left_out() -> None:
    history = completed(draw(REALS, 18), [near(candidate) for candidate in draw(REALS, 18)])
    failed = [
        Observation(one.number, one.candidate, True, False, 0, None, infeasible=True) if one.number % 3 else one
        for one in history
    ]
    assert CmaEs().propose(REALS, failed, 0) == CmaEs().propose(REALS, history[::3], 0)
    assert CmaEs().propose(REALS, failed, 0) != CmaEs().propose(REALS, history, 0)


def test_the_order_of_scores_counts_and_not_their_size() -> None:
    candidates = draw(REALS, 30)
    scores = [near(candidate) for candidate in candidates]
    one, other = completed(candidates, scores), completed(candidates, [100 + score**3 for score in scores])
    assert CmaEs().propose(REALS, one, 0) == CmaEs().propose(REALS, other, 0)


def test_with_several_objectives_the_front_leads() -> None:
    """The second objective pulls the other way, so that the mean stays between the two optima."""
    candidates = draw(REALS, 60)
    history = [
        Observation(number, one, True, True, 8, -(shares(one)[0] ** 2), others=(-((shares(one)[0] - 1) ** 2),))
        for number, one in enumerate(candidates)
    ]
    alone = [Observation(one.number, one.candidate, True, True, 8, one.score) for one in history]
    assert drawn(CmaEs(), alone, 200)[:, 0].mean() < 0.4 < drawn(CmaEs(), history, 200)[:, 0].mean()


def test_old_generations_are_forgotten() -> None:
    trials = 2 * WINDOW * GENERATION
    candidates = draw(REALS, trials)
    history = completed(candidates, [near(candidate) for candidate in candidates])
    turned = [Observation(one.number, one.candidate, True, True, 8, -(one.score or 0.0)) for one in history]
    half = WINDOW * GENERATION
    assert CmaEs().propose(REALS, turned[:half] + history[half:], 0) == CmaEs().propose(REALS, history, 0)
    assert CmaEs().propose(REALS, turned[:half] + history[half:-1], 0) != CmaEs().propose(REALS, history[:-1], 0)
