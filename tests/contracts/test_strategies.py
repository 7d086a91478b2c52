"""What every strategy promises (nas.search.strategy), run over all of them.

Where a strategy refuses a space it is not asked about it. Supernets' strategies propose nothing (test_prepared.py).
"""

import random
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pytest

from nas.errors import SpaceExhausted
from nas.search.catalog import STRATEGIES, make_strategy
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
from tests.search.histories import completed, cost, draw, growing, halved

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
    "few choices": CategoricalSpace({f"edge {index}": ("a", "b", None) for index in range(4)}),
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

PROPOSING = [name for name, entry in STRATEGIES.items() if entry.prepares != "supernet"]
EXHAUSTIVE = {"grid"}
"""Those that may have nothing more to propose."""

SLOW = {"gp"}
"""Those that take a twentieth of a second, and are asked less often."""

Make: TypeAlias = Callable[[], Strategy]


def searched(names: list[str], spaces: dict[str, Space[Any]]) -> list[Any]:
    """The strategies, each with the spaces that it can search."""
    return [
        pytest.param((name, space), id=f"{name}-{label}")
        for name in names
        for label, space in spaces.items()
        if STRATEGIES[name].refuses(space) is None
    ]


@pytest.fixture(params=searched(PROPOSING, SPACES))
def pair(request: pytest.FixtureRequest) -> tuple[str, Space[Any]]:
    found: tuple[str, Space[Any]] = request.param
    return found


@pytest.fixture
def make(pair: tuple[str, Space[Any]]) -> Make:
    return partial(make_strategy, pair[0])


@pytest.fixture
def space(pair: tuple[str, Space[Any]]) -> Space[Any]:
    return pair[1]


@pytest.fixture
def seeds(pair: tuple[str, Space[Any]]) -> range:
    return range(1 if pair[0] in SLOW else 4)


def asked(strategy: Strategy, name: str, space: Space[Any], history: list[Observation[Any]], seed: int = 0) -> Any:
    """What it proposes, which has to be of the space; None if it has nothing more, and may."""
    try:
        proposal = strategy.propose(space, history, seed)
    except SpaceExhausted:
        assert name in EXHAUSTIVE
        tried = {space.digest(observation.candidate) for observation in history}
        assert {space.digest(candidate) for candidate in draw(space, 200, seed=9)} <= tried
        return None
    assert space.contains(proposal)
    return proposal


@pytest.mark.parametrize(
    "pair",
    searched([name for name in PROPOSING if name not in SLOW], SPACES | MORE) + searched([*SLOW], SPACES),
    indirect=True,
)
def test_a_proposal_is_of_the_space_however_much_is_known(
    make: Make, pair: tuple[str, Space[Any]], seeds: range
) -> None:
    name, space = pair
    strategy = make()
    for history in (completed(draw(space, 30)), halved(draw(space, 30), objectives=2 if name in SLOW else 3)):
        for count in (0, 11, 30) if name in SLOW else (0, 1, 5, 10, 11, 24, 25, 30):
            for seed in seeds:
                asked(strategy, name, space, history[:count], seed)


def test_the_same_history_and_seed_give_the_same_proposal(make: Make, space: Space[Any], seeds: range) -> None:
    for count in (0, 25):
        for history in (completed(draw(space, count)), halved(draw(space, count), objectives=2)):
            for seed in seeds:
                assert make().propose(space, history, seed) == make().propose(space, list(history), seed)


@pytest.mark.parametrize("count", [0, 25])
def test_asking_again_gives_another_proposal(make: Make, space: Space[Any], count: int) -> None:
    """With another seed, at the latest once the first proposal has a trial of its own."""
    history = completed(draw(space, count))
    first = make().propose(space, history, 0)
    history.append(Observation(count, first, False, False, 0, None))
    assert {make().propose(space, history, seed) for seed in range(1, 6)} - {first}


def test_being_asked_before_changes_no_answer(make: Make, space: Space[Any]) -> None:
    """With shorter and longer histories, with the same and with other seeds, and twice the same."""
    history = completed(draw(space, 30))
    kept = make()
    for count, seed in [(30, 1), (12, 2), (12, 2), (0, 3), (30, 4), (29, 4)]:
        assert kept.propose(space, history[:count], seed) == make().propose(space, history[:count], seed)


def test_another_history_of_the_same_length_is_not_taken_for_the_one_before(
    make: Make, space: Space[Any], seeds: range
) -> None:
    candidates, kept = draw(space, 30), make()
    for scores in ([number / 30 for number in range(30)], [1 - number / 30 for number in range(30)]):
        history = completed(candidates, scores)
        for seed in seeds:
            assert kept.propose(space, history, seed) == make().propose(space, history, seed)
    for history in (completed(draw(space, 30, seed=1)), completed(draw(space, 30, seed=2))):
        assert kept.propose(space, history, 0) == make().propose(space, history, 0)


def test_a_finished_trial_that_is_corrected_counts_as_corrected(make: Make, space: Space[Any], seeds: range) -> None:
    history, kept = completed(draw(space, 30)), make()
    kept.propose(space, history, 0)
    first = history[0]
    corrected = [Observation(first.number, first.candidate, True, True, first.epoch, 1.0), *history[1:]]
    for seed in seeds:
        assert kept.propose(space, corrected, seed) == make().propose(space, corrected, seed)


@pytest.mark.parametrize(("job", "objectives"), [(0, 1), (1, 2)])
def test_a_strategy_that_followed_a_job_answers_like_one_that_did_not(
    make: Make, pair: tuple[str, Space[Any]], job: int, objectives: int
) -> None:
    """Trials run side by side, pause and are promoted, are lost, completed, stopped or fail, in any order."""
    name, space = pair
    kept, often = make(), 60 if name in SLOW else 10
    for step, history in enumerate(growing(draw(space, 40, seed=job), random.Random(job), objectives=objectives)):
        if step % often == 0:
            proposal = kept.propose(space, history, step)
            assert space.contains(proposal)
            assert proposal == make().propose(space, history, step), history


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param((False, 3, 0.99), (True, 3, None), id="diverged after good epochs"),
        pytest.param((False, 3, 0.99), (True, 2, 0.01), id="lost, started over and stopped earlier"),
        pytest.param((False, 3, 0.99), (False, 0, None), id="lost and started over"),
        pytest.param((False, 0, None), (True, 0, None), id="failed at once"),
        pytest.param((False, 0, None), (True, 3, 0.5), id="stopped"),
    ],
)
def test_what_was_known_of_running_trials_before_does_not_count(
    make: Make, space: Space[Any], before: tuple[bool, int, float | None], after: tuple[bool, int, float | None]
) -> None:
    candidates = draw(space, 34)

    def history(of_the_last: tuple[bool, int, float | None]) -> list[Observation[Any]]:
        finished, epoch, accuracy = of_the_last
        return halved(candidates[:30]) + [
            Observation(number, candidate, finished, False, epoch, accuracy)
            for number, candidate in enumerate(candidates[30:], 30)
        ]

    kept = make()
    kept.propose(space, history(before), 0)
    assert kept.propose(space, history(after), 0) == make().propose(space, history(after), 0)


def test_epochs_of_trials_that_run_do_not_count(make: Make, space: Space[Any], seeds: range) -> None:
    """Where they stand may be lost again, and is known to one worker sooner than to another."""
    candidates = draw(space, 34)

    def history(epoch: int, accuracy: float | None) -> list[Observation[Any]]:
        return halved(candidates[:30]) + [
            Observation(number, candidate, False, False, epoch, accuracy)
            for number, candidate in enumerate(candidates[30:], 30)
        ]

    for seed in seeds:
        assert make().propose(space, history(0, None), seed) == make().propose(space, history(3, 0.99), seed)


@pytest.mark.parametrize(
    ("finished", "epoch", "accuracy", "infeasible"),
    [
        pytest.param(False, 0, None, False, id="running, nothing known"),
        pytest.param(False, 2, 0.4, False, id="running"),
        pytest.param(True, 2, 0.4, False, id="stopped"),
        pytest.param(True, 0, None, False, id="failed"),
        pytest.param(True, 2, None, False, id="diverged"),
        pytest.param(True, 0, None, True, id="infeasible"),
    ],
)
def test_trials_of_every_kind_are_understood(
    make: Make, space: Space[Any], finished: bool, epoch: int, accuracy: float | None, infeasible: bool
) -> None:
    for complete in (0, 25):
        candidates = draw(space, complete + 15)
        history = completed(candidates[:complete]) + [
            Observation(number, candidate, finished, False, epoch, accuracy, infeasible)
            for number, candidate in enumerate(candidates[complete:], complete)
        ]
        assert space.contains(make().propose(space, history, 0))


@pytest.mark.parametrize("objectives", [1, 2])
def test_a_score_of_a_trial_that_failed_is_none_and_not_zero(make: Make, space: Space[Any], objectives: int) -> None:
    """Scores may be below zero, as those are that are minimised: a failed trial must not become the best one."""
    candidates = draw(space, 36)
    known = completed(candidates[:30], [-5 - number / 32 for number in range(30)], objectives)
    history = [
        *known,
        *(
            Observation(number, candidate, True, False, 0, None, number % 2 == 0, others=(cost(candidate),))
            for number, candidate in enumerate(candidates[30:], 30)
        ),
    ]
    shifted = [
        Observation(one.number, one.candidate, one.finished, one.complete, one.epoch, one.score + 10, others=one.others)
        if one.score is not None
        else one
        for one in history
    ]
    one, other = (space.encode(make().propose(space, found, 0)) for found in (history, shifted))
    assert one == {name: pytest.approx(value) if isinstance(value, float) else value for name, value in other.items()}


def test_numbers_may_be_missing_from_a_history(make: Make, space: Space[Any]) -> None:
    history = [observation for observation in completed(draw(space, 45)) if observation.number % 3]
    kept = make()
    for count in (5, 30):
        assert kept.propose(space, history[:count], 0) == make().propose(space, history[:count], 0)


def test_a_candidate_may_have_been_tried_before(make: Make, space: Space[Any]) -> None:
    history = completed(draw(space, 1) * 30)
    assert space.contains(make().propose(space, history, 0))


@pytest.mark.parametrize("pair", searched(PROPOSING, SINGLES), indirect=True)
def test_a_space_of_one_candidate_is_proposed(make: Make, pair: tuple[str, Space[Any]]) -> None:
    name, single = pair
    [only] = draw(single, 1)
    strategy = make()
    for count in (0, 5, 30):
        proposal = asked(strategy, name, single, completed([only] * count))
        assert proposal == only or (proposal is None and count > 0)


@pytest.mark.parametrize("name", PROPOSING)
def test_one_strategy_serves_several_spaces(name: str) -> None:
    several = SPACES | SINGLES if name in SLOW else SPACES | MORE | SINGLES
    spaces = [one for one in several.values() if STRATEGIES[name].refuses(one) is None]
    strategy = make_strategy(name)
    for space in (*spaces, *reversed(spaces)):
        history = completed(draw(space, 15))
        assert asked(strategy, name, space, history) == asked(make_strategy(name), name, space, history)


def test_a_strategy_does_not_change_the_history_that_it_is_shown(make: Make, space: Space[Any]) -> None:
    history = halved(draw(space, 30))
    before = list(history)
    make().propose(space, history, 0)
    assert history == before


def test_a_strategy_draws_from_no_generator_but_its_own(make: Make, space: Space[Any]) -> None:
    random.seed(0)
    np.random.seed(0)
    make().propose(space, completed(draw(space, 30)), 0)
    first = (random.random(), np.random.random())
    random.seed(0)
    np.random.seed(0)
    assert (random.random(), np.random.random()) == first


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_that_refuses_a_space_says_why_in_a_sentence(name: str) -> None:
    for space in (SPACES | MORE | SINGLES).values():
        why = STRATEGIES[name].refuses(space)
        assert why is None or len(why.split()) > 8
