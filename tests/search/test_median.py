import random
import statistics
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from nas.search.median import OTHERS, Median
from nas.search.pruner import Step
from nas.search.strategy import Observation

optuna.logging.set_verbosity(optuna.logging.WARNING)


def at_stage(number: int, stage: int, score: float, *before: tuple[int, float]) -> Observation[str]:
    return Observation(number, f"{number}", False, False, stage, score, rungs=(*before, (stage, score)))


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (1, (1,)),
        (2, (1, 2)),
        (4, (1, 2, 3, 4)),
        (20, (4, 6, 7, 9, 11, 13, 15, 16, 18, 20)),
        (98, (19, 28, 36, 45, 54, 63, 72, 80, 89, 98)),
        (100, (19, 28, 37, 46, 55, 64, 73, 82, 91, 100)),
    ],
)
def test_stages_are_even_after_a_warm_up(epochs: int, expected: tuple[int, ...]) -> None:
    assert Median().stages(0, epochs) == expected


def test_who_is_below_the_median_of_the_others_stops() -> None:
    others = [at_stage(number, 19, score) for number, score in enumerate([0.1, 0.2, 0.3, 0.4, 0.5])]
    for score, expected in [(0.29, Step.STOP), (0.3, Step.GO_ON), (0.31, Step.GO_ON)]:
        assert Median().after(5, [*others, at_stage(5, 19, score)], 98) == expected


def test_the_best_score_so_far_counts() -> None:
    others = [at_stage(number, 28, score) for number, score in enumerate([0.1, 0.2, 0.3, 0.4, 0.5])]
    assert Median().after(5, [*others, at_stage(5, 28, 0.1, (19, 0.35))], 98) == Step.GO_ON
    assert Median().after(5, [*others, at_stage(5, 28, 0.1, (19, 0.25))], 98) == Step.STOP


def test_a_few_others_are_not_enough_to_stop_one() -> None:
    others = [at_stage(number, 19, 0.9) for number in range(OTHERS)]
    worst = at_stage(OTHERS, 19, 0.1)
    assert Median().after(OTHERS, [*others, worst], 98) == Step.STOP
    assert Median().after(OTHERS, [*others[1:], worst], 98) == Step.GO_ON
    elsewhere = replace(others[0], rungs=((28, 0.9),))
    assert Median().after(OTHERS, [elsewhere, *others[1:], worst], 98) == Step.GO_ON


def test_with_several_objectives_the_median_is_that_of_the_merits() -> None:
    """The other objective alone sets the trials apart: of one that is cheap nothing is stopped."""
    others = [replace(at_stage(number, 19, 0.5), others=(-10.0 * number,)) for number in range(5)]
    for cost, expected in [(-5.0, Step.GO_ON), (-35.0, Step.STOP)]:
        assert Median().after(5, [*others, replace(at_stage(5, 19, 0.5), others=(cost,))], 98) == expected


@pytest.mark.parametrize("seed", range(5))
def test_it_stops_what_optunas_median_pruner_stops(seed: int) -> None:
    """Where all others are trained to the end, as Optuna looks at these only."""
    rng = random.Random(seed)
    stages = Median().stages(0, 98)
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(OTHERS))
    history: list[Observation[Any]] = []
    for number in range(25):
        curve = [(stage, rng.random()) for stage in stages]
        trial = study.ask()
        stopped = False
        for index, (stage, score) in enumerate(curve[:-1]):
            trial.report(score, stage)
            there = Observation(number, "x", False, False, stage, score, rungs=tuple(curve[: index + 1]))
            assert (Median().after(number, [*history, there], 98) == Step.STOP) == trial.should_prune()
            stopped = stopped or trial.should_prune()
        if stopped:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, curve[-1][1])
            history.append(Observation(number, "x", True, True, 98, curve[-1][1], rungs=tuple(curve[:-1])))
    assert 5 <= len(history) < 25


def test_the_median_of_an_even_number_lies_between_the_middle_two() -> None:
    scores = [0.1, 0.2, 0.4, 0.6, 0.7, 0.8]
    others = [at_stage(number, 19, score) for number, score in enumerate(scores)]
    assert statistics.median(scores) == 0.5
    assert Median().after(6, [*others, at_stage(6, 19, 0.49)], 98) == Step.STOP
    assert Median().after(6, [*others, at_stage(6, 19, 0.51)], 98) == Step.GO_ON
