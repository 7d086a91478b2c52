import json
import math

import pytest

from nas.train.recipe import Recipe


def test_the_learning_rate_climbs_linearly_to_its_peak_and_falls_by_half_a_cosine() -> None:
    recipe = Recipe(epochs=10, lr=0.4, warmup=0.1)
    rates = [recipe.learning_rate(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.04)
    assert rates[4] == pytest.approx(0.2)
    assert rates[9] == rates[10] == 0.4
    assert rates[55] == pytest.approx(0.2)  # half the cosine, at 10 + 90 / 2
    assert rates[99] == pytest.approx(0.4 * (1 + math.cos(math.pi * 89 / 90)) / 2)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_the_last_learning_rate_is_almost_nothing() -> None:
    assert 0 < Recipe(epochs=10, lr=0.1).learning_rate(999, 1_000) < 1e-6


def test_without_warm_up_the_first_learning_rate_is_the_peak() -> None:
    recipe = Recipe(epochs=10, lr=0.3, warmup=0.0)
    assert recipe.learning_rate(0, 100) == 0.3
    assert recipe.learning_rate(50, 100) == pytest.approx(0.15)


def test_with_nothing_but_warm_up_the_last_learning_rate_is_the_peak() -> None:
    recipe = Recipe(epochs=1, lr=0.3, warmup=1.0)
    assert [recipe.learning_rate(step, 3) for step in range(3)] == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize("warmup", [0.0, 0.1, 1.0])
def test_a_training_of_one_step_takes_it_at_the_peak(warmup: float) -> None:
    assert Recipe(epochs=1, lr=0.3, warmup=warmup).learning_rate(0, 1) == 0.3


def test_a_part_of_a_step_of_warm_up_is_a_whole_one() -> None:
    recipe = Recipe(epochs=1, lr=0.3, warmup=0.1)
    assert [recipe.learning_rate(step, 11) for step in range(3)] == pytest.approx([0.15, 0.3, 0.3])


def test_a_recipe_comes_back_from_json() -> None:
    recipe = Recipe(8, 32, 0.2, 0.05, 0.8, 1e-4, 1.0, 0.2, 3)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    assert Recipe.from_json({"epochs": 8}) == Recipe(epochs=8)


@pytest.mark.parametrize(("side", "shift"), [(1, 1), (8, 1), (15, 1), (16, 2), (32, 4)])
def test_images_are_shifted_by_up_to_an_eighth_of_their_side(side: int, shift: int) -> None:
    assert Recipe.for_images(side, epochs=5) == Recipe(epochs=5, shift=shift)
