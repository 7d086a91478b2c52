import random
from itertools import pairwise

import pytest

from nas.search.pruning import ETA, FIRST_RUNG, promotes, rungs


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (1, ()),
        (2, ()),
        (3, ()),
        (4, (2,)),
        (5, (2,)),
        (8, (3,)),
        (9, (3,)),
        (27, (3, 9)),
        (28, (2, 4, 10)),
        (81, (3, 9, 27)),
        (98, (2, 4, 11, 33)),
    ],
)
def test_rungs_are_a_third_a_ninth_and_so_on_of_the_epochs(epochs: int, expected: tuple[int, ...]) -> None:
    assert rungs(epochs) == expected


def test_rungs_ascend_and_leave_epochs_to_save() -> None:
    for epochs in range(1, 1_001):
        found = rungs(epochs)
        assert list(found) == sorted(set(found))
        assert all(FIRST_RUNG <= rung < epochs for rung in found)
        assert bool(found) == (epochs > ETA)
        for lower, upper in pairwise((*found, epochs)):
            assert (lower - 1) * ETA < upper <= lower * ETA  # a third, rounded up


def test_the_first_trial_at_a_rung_goes_on() -> None:
    for accuracy in (0.0, 0.1, 1.0):
        assert promotes(accuracy, [accuracy])


def test_with_fewer_than_three_trials_only_the_best_goes_on() -> None:
    assert promotes(0.6, [0.5, 0.6])
    assert not promotes(0.5, [0.6, 0.5])
    assert promotes(0.6, [0.5, 0.6, 0.4])
    assert not promotes(0.5, [0.5, 0.6, 0.4])


def test_the_best_third_goes_on_and_nobody_else() -> None:
    rng = random.Random(0)
    for _ in range(500):
        accuracies = rng.sample(range(1_000), rng.randint(3, 40))
        others = [accuracy / 1_000 for accuracy in accuracies]
        going_on = [accuracy for accuracy in others if promotes(accuracy, others)]
        assert sorted(going_on) == sorted(others)[len(others) - len(others) // ETA :]


def test_who_is_as_good_as_the_last_of_the_best_third_goes_on_too() -> None:
    assert promotes(0.7, [0.7, 0.7, 0.7, 0.9, 0.1, 0.2])
    assert not promotes(0.69, [0.7, 0.69, 0.7, 0.9, 0.1, 0.2])


def test_the_order_in_which_trials_came_does_not_matter() -> None:
    rng = random.Random(0)
    others = [rng.random() for _ in range(17)]
    going_on = {accuracy for accuracy in others if promotes(accuracy, others)}
    rng.shuffle(others)
    assert {accuracy for accuracy in others if promotes(accuracy, others)} == going_on
