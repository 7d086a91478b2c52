"""What every pruner promises (nas.search.pruner), run over all of them."""

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeAlias, get_args

import pytest

from nas.search.options import PruningSpec
from nas.search.pruner import Pruner, Step, held_back
from nas.search.pruning import PRUNERS, make_pruner
from nas.search.strategy import Observation
from tests.search.rungs import grown

LENGTHS = (1, 2, 3, 4, 5, 8, 9, 12, 27, 98, 200)

Make: TypeAlias = Callable[[], Pruner]


@pytest.fixture(params=list(PRUNERS))
def make(request: pytest.FixtureRequest) -> Make:
    return lambda: make_pruner(PruningSpec(method=request.param))


def test_every_method_that_a_job_may_name_has_a_pruner() -> None:
    assert set(PRUNERS) == set(get_args(PruningSpec.model_fields["method"].annotation))


@pytest.mark.parametrize("method", ["halving", "hyperband"])
def test_the_options_reach_the_pruner(method: Any) -> None:
    assert make_pruner(PruningSpec(method=method, eta=2)).stages(0, 8) == (2, 4, 8)
    assert make_pruner(PruningSpec(method=method, first=1)).stages(0, 9) == (1, 3, 9)


@pytest.mark.parametrize("epochs", LENGTHS)
def test_stages_ascend_to_the_whole_training(make: Make, epochs: int) -> None:
    for number in range(50):
        stages = make().stages(number, epochs)
        assert stages[-1] == epochs
        assert stages[0] >= 1
        assert all(low < high for low, high in pairwise(stages))


def test_nothing_is_promoted_where_nothing_waits(make: Make) -> None:
    running = [Observation(number, "x", False, False, 3, 0.5, rungs=((3, 0.5),)) for number in range(9)]
    finished = [replace(seen, finished=True) for seen in running]
    broken = [Observation(number, "x", True, False, 0, None, infeasible=True) for number in range(9)]
    for history in ([], running, finished, broken):
        for closing in (False, True):
            assert make().promote(history, 9, closing=closing) is None


@pytest.mark.parametrize("objectives", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_what_holds_all_through_a_search(make: Make, seed: int, objectives: int) -> None:
    """Only who waits is promoted; who followed the search answers like a new one; none changes what it is shown."""
    followed, rng = make(), random.Random(seed)
    last: list[Observation[Any]] = []
    for history in grown(make(), 9, 25, rng, objectives=objectives):
        shown = list(history)
        for closing in (False, True):
            found = make().promote(history, 9, closing=closing)
            assert found == followed.promote(history, 9, closing=closing)
            assert found is None or history[found].paused
        for seen in history:
            if seen.rungs and not seen.finished and seen.epoch == seen.rungs[-1][0]:
                assert make().after(seen.number, history, 9) == followed.after(seen.number, history, 9)
        assert history == shown
        last = history
    assert any(seen.complete for seen in last)
    assert make().promote(last, 9, closing=True) is None


def test_another_search_is_not_taken_for_the_one_before(make: Make) -> None:
    asked = make()
    for seed in (0, 1, 0):
        for history in list(grown(make(), 9, 15, random.Random(seed)))[::7]:
            assert asked.promote(history, 9, closing=False) == make().promote(history, 9, closing=False)


def test_a_search_of_a_few_trials_ends_with_one_that_is_trained_to_the_end(make: Make) -> None:
    """Whatever fails, as long as something is left that waits."""
    for seed in range(30):
        *_, last = grown(make(), 27, 1 + seed % 5, random.Random(seed))
        failed = sum(seen.finished and not seen.complete for seen in last)
        assert any(seen.complete for seen in last) or failed == len(last)


def test_only_trials_that_pause_are_promoted(make: Make) -> None:
    history = [Observation(number, "x", False, False, 3, 0.5, rungs=((3, 0.5),)) for number in range(9)]
    if make().after(8, history, 9) != Step.PAUSE:
        paused = [replace(seen, paused=True) for seen in history]
        assert make().promote(paused, 9, closing=True) is None


def test_so_many_epochs_are_held_back_as_the_furthest_trial_needs() -> None:
    paused = Observation(0, "x", False, False, 11, 0.5, paused=True, rungs=((4, 0.4), (11, 0.5)))
    running = Observation(1, "x", False, False, 7, 0.5)
    failed = Observation(2, "x", True, False, 50, None)
    complete = Observation(3, "x", True, True, 98, 0.1)
    assert held_back([], 98) == 98
    assert held_back([running, failed], 98) == 91
    assert held_back([paused, running, failed], 98) == 87
    assert held_back([paused, complete, running], 98) == 0
