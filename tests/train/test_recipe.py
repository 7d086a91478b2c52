import json
from typing import Any

import pytest
from pydantic import ValidationError

from nas.train.recipe import Recipe


def test_a_recipe_comes_back_from_json() -> None:
    recipe = Recipe(
        epochs=8,
        batch_size=32,
        lr=0.2,
        warmup=0.05,
        momentum=0.8,
        weight_decay=1e-4,
        clip_norm=None,
        label_smoothing=0.2,
        schedule="multi_step",
        milestones=(0.1, 0.9),
        early_stop=3,
        shift=3,
    )
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    assert Recipe.from_json({"epochs": 8}) == Recipe(epochs=8)


@pytest.mark.parametrize(("side", "shift"), [(1, 1), (8, 1), (15, 1), (16, 2), (32, 4)])
def test_images_are_shifted_by_up_to_an_eighth_of_their_side(side: int, shift: int) -> None:
    assert Recipe.for_images((1, side, side), epochs=5) == Recipe(epochs=5, shift=shift)


def test_oblong_images_are_shifted_by_up_to_an_eighth_of_their_shorter_side() -> None:
    assert Recipe.for_images((3, 40, 24), epochs=5).shift == Recipe.for_images((3, 24, 40), epochs=5).shift == 3


@pytest.mark.parametrize(
    ("chosen", "then"),
    [
        ({"optimizer": "adam"}, {"lr": 0.01, "weight_decay": 5e-4}),
        ({"optimizer": "adamw"}, {"lr": 0.01, "weight_decay": 0.05}),
        ({"optimizer": "adamw", "lr": 0.5}, {"lr": 0.5, "weight_decay": 0.05}),
        ({"schedule": "one_cycle"}, {"warmup": 0.0, "gamma": 0.1}),
        ({"schedule": "cyclic", "warmup": 0.2}, {"warmup": 0.2}),
        ({"schedule": "step"}, {"warmup": 0.1, "gamma": 0.1}),
        ({"schedule": "exponential", "gamma": 0.9}, {"warmup": 0.1, "gamma": 0.9}),
        ({"shift": 0}, {"shift": 0}),
    ],
)
def test_what_is_chosen_decides_what_is_good_with_it(chosen: dict[str, Any], then: dict[str, Any]) -> None:
    found = Recipe.for_images((1, 8, 8), epochs=4, **chosen).to_json()
    assert {name: found[name] for name in then} == then


@pytest.mark.parametrize("epochs", [1, 10, 300])
def test_exponential_decay_ends_at_a_hundredth_of_the_peak_unless_it_is_chosen(epochs: int) -> None:
    gamma = Recipe.for_images((1, 8, 8), epochs=epochs, schedule="exponential").gamma
    assert gamma**epochs == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("epochs", "4"),
        ("epochs", True),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("momentum", 1.0),
        ("warmup", 1.1),
        ("gamma", 0.0),
        ("milestones", (0.75, 0.5)),
        ("milestones", (0.5, 0.5)),
        ("milestones", (0.0, 0.5)),
        ("milestones", (0.5, 1.0)),
        ("ema", 1.0),
        ("swa", 1.0),
        ("early_stop", 0),
        ("optimizer", "lion"),
        ("loss", ""),
        ("unheard_of", 1),
    ],
)
def test_an_impossible_recipe_names_the_field(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        Recipe.model_validate({"epochs": 4, field: value})
    assert [error["loc"][0] for error in caught.value.errors()] == [field]


@pytest.mark.parametrize("rungs", [(), (1,), (2, 6, 18)])
def test_rungs_are_epochs_before_the_last_one(rungs: tuple[int, ...]) -> None:
    recipe = Recipe(epochs=19, rungs=rungs)
    assert recipe.rungs == rungs
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


@pytest.mark.parametrize(
    ("rungs", "complaint"),
    [
        ([3, 2], "they have to be ascending"),
        ([2, 2], "they have to be ascending"),
        ([0, 2], "greater than or equal to 1"),
        ([2, 8], "the last rung is 8; it has to be below epochs, which is 8"),
        ([2, 9], "the last rung is 9; it has to be below epochs"),
        (["2"], "valid integer"),
        ([2.5], "valid integer"),
        (2, "valid tuple"),
    ],
)
def test_other_rungs_are_refused_with_the_reason(rungs: Any, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Recipe.model_validate({"epochs": 8, "rungs": rungs})
