"""What every strategy promises (nas.search.strategy), run over all of them."""

import random
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest

from nas.search.catalog import STRATEGIES
from nas.search.strategy import Observation, Strategy
from nas.space import (
    Candidate,
    Categorical,
    CategoricalSpace,
    CellSpace,
    FixedSpace,
    Integer,
    JointSpace,
    LayerSpace,
    Real,
    Space,
    known,
)
from tests.search.histories import completed, draw, growing

NUMBERS = (
    ("space.channels", Integer(4, 64, log=True)),
    ("space.tail", Integer(-2, 3)),
    ("recipe.lr", Real(1e-4, 1.0, log=True)),
    ("recipe.ema", Real(0.0, 0.9)),
    ("recipe.flip", Categorical((False, True))),
    ("recipe.clip_norm", Categorical((None, 1.0, 5.0))),
)
SPACES: dict[str, Space[Any]] = {
    "cells": CellSpace(("skip_connect", "max_pool_3x3", "sep_conv_3x3"), nodes=2),
    "named choices": CategoricalSpace({f"edge {index}": ("a", "b", None, 0.5, True) for index in range(6)}),
    "numbers": JointSpace(FixedSpace(Candidate(known("DARTS_V2"))), NUMBERS),
}
MORE: dict[str, Space[Any]] = {
    "layers": LayerSpace(most=4),
    "few cells": CellSpace(("skip_connect", "sep_conv_3x3"), nodes=1),
    "cells with numbers": JointSpace(CellSpace(("skip_connect", "sep_conv_3x3"), nodes=1), NUMBERS),
    "layers with numbers": JointSpace(LayerSpace(most=3), NUMBERS[2:]),
}
SINGLES: dict[str, Space[Any]] = {
    "cells": CellSpace(("sep_conv_3x3",), nodes=1),
    "a fixed network": JointSpace(FixedSpace(Candidate(known("DARTS_V2"))), ()),
    "named choices": CategoricalSpace({"op": ("a",)}),
}

SEEDS = range(4)


Make: TypeAlias = Callable[[], Strategy]


@pytest.fixture(params=list(STRATEGIES))
def make(request: pytest.FixtureRequest) -> Make:
    return STRATEGIES[request.param].make


@pytest.fixture(params=list(SPACES))
def space(request: pytest.FixtureRequest) -> Space[Any]:
    return SPACES[request.param]


@pytest.mark.parametrize("space", (SPACES | MORE).values(), ids=SPACES | MORE)
def test_a_proposal_is_of_the_space_however_much_is_known(make: Make, space: Space[Any]) -> None:
    strategy, history = make(), completed(draw(space, 30))
    for count in (0, 1, 5, 10, 11, 30):
        for seed in SEEDS:
            assert space.contains(strategy.propose(space, history[:count], seed))


def test_the_same_history_and_seed_give_the_same_proposal(make: Make, space: Space[Any]) -> None:
    for count in (0, 5, 25):
        history = completed(draw(space, count))
        for seed in SEEDS:
            assert make().propose(space, history, seed) == make().propose(space, list(history), seed)


@pytest.mark.parametrize("count", [0, 25])
def test_another_seed_gives_another_proposal(make: Make, space: Space[Any], count: int) -> None:
    history = completed(draw(space, count))
    assert len({make().propose(space, history, seed) for seed in range(20)}) > 3


def test_being_asked_before_changes_no_answer(make: Make, space: Space[Any]) -> None:
    """With shorter and longer histories, with the same and with other seeds, and twice the same."""
    history = completed(draw(space, 30))
    asked = make()
    for count, seed in [(30, 1), (12, 2), (12, 2), (13, 2), (0, 3), (30, 4), (29, 4), (30, 1)]:
        assert asked.propose(space, history[:count], seed) == make().propose(space, history[:count], seed)


def test_another_history_of_the_same_length_is_not_taken_for_the_one_before(make: Make, space: Space[Any]) -> None:
    candidates, asked = draw(space, 20), make()
    for scores in ([number / 20 for number in range(20)], [1 - number / 20 for number in range(20)]):
        history = completed(candidates, scores)
        for seed in SEEDS:
            assert asked.propose(space, history, seed) == make().propose(space, history, seed)
    for history in (completed(draw(space, 20, seed=1)), completed(draw(space, 20, seed=2))):
        assert asked.propose(space, history, 0) == make().propose(space, history, 0)


def test_a_finished_trial_that_is_corrected_counts_as_corrected(make: Make, space: Space[Any]) -> None:
    history, asked = completed(draw(space, 20)), make()
    asked.propose(space, history, 0)
    first = history[0]
    corrected = [Observation(first.number, first.candidate, True, True, first.epoch, 1.0), *history[1:]]
    for seed in SEEDS:
        assert asked.propose(space, corrected, seed) == make().propose(space, corrected, seed)


@pytest.mark.parametrize(
    ("name", "job"), [("cells", 0), ("cells", 1), ("cells", 2), ("named choices", 0), ("numbers", 0)]
)
def test_a_strategy_that_followed_a_job_answers_like_one_that_did_not(make: Make, name: str, job: int) -> None:
    """Trials run side by side, get on, are lost and start over, are completed, pruned or fail, in any order."""
    followed, space = make(), SPACES[name]
    for step, history in enumerate(growing(draw(space, 30, seed=job), random.Random(job))):
        proposal = followed.propose(space, history, step)
        assert space.contains(proposal)
        assert proposal == make().propose(space, history, step), history


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param((False, 3, 0.99), (True, 3, None), id="diverged after good epochs"),
        pytest.param((False, 3, 0.99), (True, 2, 0.01), id="lost, started over and pruned earlier"),
        pytest.param((False, 3, 0.99), (False, 0, None), id="lost and started over"),
        pytest.param((False, 1, 0.01), (True, 3, 0.99), id="got on and pruned"),
        pytest.param((False, 0, None), (True, 0, None), id="failed at once"),
        pytest.param((False, 0, None), (True, 3, 0.5), id="pruned"),
    ],
)
def test_what_was_known_of_running_trials_before_does_not_count(
    make: Make, space: Space[Any], before: tuple[bool, int, float | None], after: tuple[bool, int, float | None]
) -> None:
    candidates = draw(space, 24)

    def history(of_the_last: tuple[bool, int, float | None]) -> list[Observation[Any]]:
        finished, epoch, accuracy = of_the_last
        return [
            Observation(number, candidate, True, False, 2, number / 40)
            for number, candidate in enumerate(candidates[:20])
        ] + [
            Observation(number, candidate, finished, False, epoch, accuracy)
            for number, candidate in enumerate(candidates[20:], 20)
        ]

    for seed in range(12):
        asked = make()
        asked.propose(space, history(before), seed)
        assert asked.propose(space, history(after), seed) == make().propose(space, history(after), seed)


@pytest.mark.parametrize(
    ("finished", "epoch", "accuracy", "infeasible"),
    [
        pytest.param(False, 0, None, False, id="running, nothing known"),
        pytest.param(False, 2, 0.4, False, id="running"),
        pytest.param(True, 2, 0.4, False, id="pruned"),
        pytest.param(True, 0, None, False, id="failed"),
        pytest.param(True, 2, None, False, id="diverged"),
        pytest.param(True, 0, None, True, id="infeasible"),
    ],
)
@pytest.mark.parametrize("complete", [0, 5, 20])
def test_trials_of_every_kind_are_understood(
    make: Make,
    space: Space[Any],
    complete: int,
    finished: bool,
    epoch: int,
    accuracy: float | None,
    infeasible: bool,
) -> None:
    candidates = draw(space, complete + 15)
    history = completed(candidates[:complete]) + [
        Observation(number, candidate, finished, False, epoch, accuracy, infeasible)
        for number, candidate in enumerate(candidates[complete:], complete)
    ]
    for seed in SEEDS:
        assert space.contains(make().propose(space, history, seed))


def test_numbers_may_be_missing_from_a_history(make: Make, space: Space[Any]) -> None:
    history = [observation for observation in completed(draw(space, 30)) if observation.number % 3]
    asked = make()
    for count in (5, 20):
        assert asked.propose(space, history[:count], 0) == make().propose(space, history[:count], 0)


def test_a_candidate_may_have_been_tried_before(make: Make, space: Space[Any]) -> None:
    history = completed(draw(space, 1) * 20)
    assert space.contains(make().propose(space, history, 0))


@pytest.mark.parametrize("single", SINGLES.values(), ids=SINGLES)
def test_a_space_of_one_candidate_is_proposed(make: Make, single: Space[Any]) -> None:
    [only] = draw(single, 1)
    strategy = make()
    for count in (0, 5, 20):
        assert strategy.propose(single, completed([only] * count), 0) == only


def test_one_strategy_serves_several_spaces(make: Make) -> None:
    strategy, spaces = make(), [*SPACES.values(), *MORE.values(), *SINGLES.values()]
    for space in (*spaces, *reversed(spaces)):
        history = completed(draw(space, 15))
        proposal = strategy.propose(space, history, 0)
        assert proposal == make().propose(space, history, 0)
        assert space.contains(proposal)


def test_a_strategy_does_not_change_the_history_that_it_is_shown(make: Make, space: Space[Any]) -> None:
    history = completed(draw(space, 15))
    before = list(history)
    make().propose(space, history, 0)
    assert history == before


def test_a_strategy_draws_from_no_generator_but_its_own(make: Make, space: Space[Any]) -> None:
    random.seed(0)
    np.random.seed(0)
    make().propose(space, completed(draw(space, 15)), 0)
    first = (random.random(), np.random.random())
    random.seed(0)
    np.random.seed(0)
    assert (random.random(), np.random.random()) == first
