"""What every strategy promises (nas.search.strategy), run over all of them."""

import random
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest

from nas.search.catalog import STRATEGIES
from nas.search.strategy import Observation, Strategy
from nas.space import CellSpace
from tests.search.histories import completed, draw, growing

SPACE = CellSpace(("skip_connect", "max_pool_3x3", "sep_conv_3x3"), nodes=2, channels=4, cells=3)
OTHER = CellSpace(("skip_connect", "sep_conv_3x3"), nodes=1, channels=4, cells=3)
SINGLE = CellSpace(("sep_conv_3x3",), nodes=1, channels=4, cells=3)

SEEDS = range(8)


Make: TypeAlias = Callable[[], Strategy]


@pytest.fixture(params=list(STRATEGIES))
def make(request: pytest.FixtureRequest) -> Make:
    return STRATEGIES[request.param].make


def test_a_proposal_is_of_the_space_however_much_is_known(make: Make) -> None:
    strategy, history = make(), completed(draw(SPACE, 30))
    for count in (0, 1, 5, 10, 11, 30):
        for seed in SEEDS:
            assert SPACE.contains(strategy.propose(SPACE, history[:count], seed))


def test_the_same_history_and_seed_give_the_same_proposal(make: Make) -> None:
    for count in (0, 5, 25):
        history = completed(draw(SPACE, count))
        for seed in SEEDS:
            assert make().propose(SPACE, history, seed) == make().propose(SPACE, list(history), seed)


@pytest.mark.parametrize("count", [0, 25])
def test_another_seed_gives_another_proposal(make: Make, count: int) -> None:
    history = completed(draw(SPACE, count))
    assert len({make().propose(SPACE, history, seed) for seed in range(20)}) > 3


def test_being_asked_before_changes_no_answer(make: Make) -> None:
    """With shorter and longer histories, with the same and with other seeds, and twice the same."""
    history = completed(draw(SPACE, 30))
    asked = make()
    for count, seed in [(30, 1), (12, 2), (12, 2), (13, 2), (0, 3), (30, 4), (29, 4), (30, 1)]:
        assert asked.propose(SPACE, history[:count], seed) == make().propose(SPACE, history[:count], seed)


def test_another_history_of_the_same_length_is_not_taken_for_the_one_before(make: Make) -> None:
    candidates, asked = draw(SPACE, 20), make()
    for scores in ([number / 20 for number in range(20)], [1 - number / 20 for number in range(20)]):
        history = completed(candidates, scores)
        for seed in SEEDS:
            assert asked.propose(SPACE, history, seed) == make().propose(SPACE, history, seed)
    for history in (completed(draw(SPACE, 20, seed=1)), completed(draw(SPACE, 20, seed=2))):
        assert asked.propose(SPACE, history, 0) == make().propose(SPACE, history, 0)


def test_a_finished_trial_that_is_corrected_counts_as_corrected(make: Make) -> None:
    history, asked = completed(draw(SPACE, 20)), make()
    asked.propose(SPACE, history, 0)
    first = history[0]
    corrected = [Observation(first.number, first.candidate, True, True, first.epoch, 1.0), *history[1:]]
    for seed in SEEDS:
        assert asked.propose(SPACE, corrected, seed) == make().propose(SPACE, corrected, seed)


@pytest.mark.parametrize("job", range(3))
def test_a_strategy_that_followed_a_job_answers_like_one_that_did_not(make: Make, job: int) -> None:
    """Trials run side by side, get on, are lost and start over, are completed, pruned or fail, in any order."""
    followed = make()
    for step, history in enumerate(growing(draw(SPACE, 30, seed=job), random.Random(job))):
        proposal = followed.propose(SPACE, history, step)
        assert SPACE.contains(proposal)
        assert proposal == make().propose(SPACE, history, step), history


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
    make: Make, before: tuple[bool, int, float | None], after: tuple[bool, int, float | None]
) -> None:
    candidates = draw(SPACE, 24)

    def history(of_the_last: tuple[bool, int, float | None]) -> list[Observation]:
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
        asked.propose(SPACE, history(before), seed)
        assert asked.propose(SPACE, history(after), seed) == make().propose(SPACE, history(after), seed)


@pytest.mark.parametrize(
    ("finished", "epoch", "accuracy"),
    [
        pytest.param(False, 0, None, id="running, nothing known"),
        pytest.param(False, 2, 0.4, id="running"),
        pytest.param(True, 2, 0.4, id="pruned"),
        pytest.param(True, 0, None, id="failed"),
        pytest.param(True, 2, None, id="diverged"),
    ],
)
@pytest.mark.parametrize("complete", [0, 5, 20])
def test_trials_of_every_kind_are_understood(
    make: Make, complete: int, finished: bool, epoch: int, accuracy: float | None
) -> None:
    candidates = draw(SPACE, complete + 15)
    history = completed(candidates[:complete]) + [
        Observation(number, candidate, finished, False, epoch, accuracy)
        for number, candidate in enumerate(candidates[complete:], complete)
    ]
    for seed in SEEDS:
        assert SPACE.contains(make().propose(SPACE, history, seed))


def test_numbers_may_be_missing_from_a_history(make: Make) -> None:
    history = [observation for observation in completed(draw(SPACE, 30)) if observation.number % 3]
    asked = make()
    for count in (5, 20):
        assert asked.propose(SPACE, history[:count], 0) == make().propose(SPACE, history[:count], 0)


def test_a_candidate_may_have_been_tried_before(make: Make) -> None:
    history = completed(draw(SPACE, 1) * 20)
    assert SPACE.contains(make().propose(SPACE, history, 0))


def test_a_space_of_one_candidate_is_proposed(make: Make) -> None:
    [only] = draw(SINGLE, 1)
    strategy = make()
    for count in (0, 5, 20):
        assert strategy.propose(SINGLE, completed([only] * count), 0) == only


def test_one_strategy_serves_several_spaces(make: Make) -> None:
    strategy = make()
    for space in (SPACE, OTHER, SPACE, SINGLE, OTHER):
        history = completed(draw(space, 15))
        assert strategy.propose(space, history, 0) == make().propose(space, history, 0)


def test_a_strategy_does_not_change_the_history_that_it_is_shown(make: Make) -> None:
    history = completed(draw(SPACE, 15))
    before = list(history)
    make().propose(SPACE, history, 0)
    assert history == before


def test_a_strategy_draws_from_no_generator_but_its_own(make: Make) -> None:
    random.seed(0)
    np.random.seed(0)
    make().propose(SPACE, completed(draw(SPACE, 15)), 0)
    first = (random.random(), np.random.random())
    random.seed(0)
    np.random.seed(0)
    assert (random.random(), np.random.random()) == first
