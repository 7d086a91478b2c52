"""What a trial of a population may change of its recipe in the middle of its training, and what comes of it."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from nas.objectives import ObjectiveForm
from nas.search.options import METHODS_OF, SchedulerSpec
from nas.search.population import MUTABLE, mutable, mutated, unsuitable
from nas.space import Candidate
from nas.space.distributions import Categorical, Distribution, Integer, Real
from nas.spec import RecipeSpec
from nas.train.checkpoint import Checkpoint
from nas.train.optimizers import OPTIMIZERS
from nas.train.recipe import DEFAULT_LR, Recipe
from tests.support import candidate
from tests.train.runs import digits, small, train

TRAIN, VALIDATION = digits(60)

BETWEEN: dict[str, tuple[float | None, float]] = {
    "lr": (0.01, 0.1),
    "momentum": (0.5, 0.95),
    "beta2": (0.9, 0.999),
    "weight_decay": (0.0, 0.1),
    "l1": (0.0, 1e-3),
    "l2": (0.0, 1e-2),
    "label_smoothing": (0.0, 0.3),
    "clip_norm": (None, 0.01),
    "clip_value": (None, 0.001),
    "weight_clip": (None, 0.1),
    "lr_floor": (0.0, 0.5),
    "shift": (0, 2),
    "cutout": (0.0, 0.5),
    "jitter": (0.0, 0.5),
    "mixup": (0.0, 0.4),
    "cutmix": (0.0, 1.0),
    "randaugment": (0, 2),
    "magnitude": (0.1, 0.9),
}
"""Two values of each field, of which one turns off whatever can be turned off."""


def held(checkpoint: Checkpoint) -> dict[Any, Any]:
    """The names and shapes of all that a checkpoint holds."""
    whole: dict[Any, dict[str, Any]] = {"network": checkpoint.network, **checkpoint.networks, **checkpoint.optimizer}
    return {part: {name: tensor.shape for name, tensor in tensors.items()} for part, tensors in whole.items()}


def test_the_table_names_fields_of_the_recipe() -> None:
    assert BETWEEN.keys() == MUTABLE.keys() <= Recipe.model_fields.keys()


CASES = [(name, "nesterov") for name in MUTABLE] + [
    (name, optimizer) for name, reader in MUTABLE.items() if reader == "optimizer" for optimizer in ("rmsprop", "adamw")
]


@pytest.mark.parametrize(("name", "optimizer"), CASES)
def test_a_training_goes_on_under_a_recipe_with_another_value(name: str, optimizer: str) -> None:
    fixed = {"epochs": 2, "batch_size": 30, "optimizer": optimizer, "lr": DEFAULT_LR[optimizer], "ema": 0.9}
    one, other = (Recipe.model_validate(fixed | {"randaugment": 1, name: value}) for value in BETWEEN[name])
    for before, after in ((one, other), (other, one)):
        begun = train(small(), TRAIN, VALIDATION, before)
        resumed = train(small(), TRAIN, VALIDATION, after, resume=Checkpoint.from_bytes(begun.checkpoints[0]))
        assert [result.epoch for result in resumed.results] == [2]
        last, unchanged = resumed.checkpoints[-1], begun.checkpoints[-1]
        assert held(Checkpoint.from_bytes(last)) == held(Checkpoint.from_bytes(unchanged))
        assert (last == unchanged) == ((name, optimizer) == ("beta2", "nesterov"))  # which has none


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_momentum_is_neither_turned_on_nor_off(optimizer: str) -> None:
    fields: dict[str, Distribution] = {"momentum": Categorical((0.0, 0.5, 0.9))}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        off, on = (replace(candidate(0), recipe=(("momentum", value),)) for value in (0.0, 0.9))
        assert dict(mutated(off, fields, 1.0, rng).recipe)["momentum"] == 0
        changed = dict(mutated(on, fields, 1.0, rng).recipe)["momentum"]
        assert isinstance(changed, float)
        assert changed > 0
    fixed = {"epochs": 2, "batch_size": 30, "optimizer": optimizer, "lr": DEFAULT_LR[optimizer]}
    recipe = Recipe.model_validate(fixed)
    begun = train(small(), TRAIN, VALIDATION, recipe)
    other = recipe.model_copy(update={"momentum": changed})
    assert train(small(), TRAIN, VALIDATION, other, resume=Checkpoint.from_bytes(begun.checkpoints[0])).results


FIELDS: dict[str, Distribution] = {
    "lr": Real(0.01, 0.3, log=True),
    "shift": Integer(0, 4),
    "randaugment": Integer(1, 8, log=True),
    "weight_decay": Categorical((1e-4, 5e-4, 5e-3)),
    "clip_norm": Categorical((None, 1.0, 5.0)),
}


def recipes(resample: float, count: int = 300) -> list[dict[str, Any]]:
    """A line of descendants."""
    start = {"lr": 0.1, "shift": 1, "randaugment": 2, "weight_decay": 5e-4, "clip_norm": None, "schedule": "cosine"}
    found = [replace(candidate(3), recipe=tuple(sorted(start.items())))]
    rng = np.random.default_rng(0)
    for _ in range(count):
        found.append(mutated(found[-1], FIELDS, resample, rng))
    assert all(other.architecture == found[0].architecture and other.shape == found[0].shape for other in found)
    assert all([name for name, _ in other.recipe] == sorted(start) for other in found)
    return [dict(other.recipe) for other in found]


@pytest.mark.parametrize("resample", [0.0, 0.25, 1.0])
def test_values_stay_within_what_the_job_allows_and_come_to_all_of_it(resample: float) -> None:
    line = recipes(resample)
    for name, distribution in FIELDS.items():
        assert all(distribution.contains(recipe[name]) for recipe in line)
    assert {recipe["schedule"] for recipe in line} == {"cosine"}
    assert {recipe["weight_decay"] for recipe in line} == {1e-4, 5e-4, 5e-3}
    assert {recipe["clip_norm"] for recipe in line} == {None, 1.0, 5.0}
    assert {recipe["shift"] for recipe in line} == {0, 1, 2, 3, 4}


def test_without_drawing_anew_a_value_changes_by_a_fifth_or_to_the_next_choice() -> None:
    line = recipes(0.0)
    choices = FIELDS["weight_decay"].choices  # type: ignore[union-attr]
    for before, after in pairwise(line):
        allowed = {min(0.3, 1.2 * before["lr"]), max(0.01, 0.8 * before["lr"])}
        assert min(abs(after["lr"] - value) for value in allowed) < 1e-12
        steps = choices.index(after["weight_decay"]) - choices.index(before["weight_decay"])
        assert abs(steps) <= 1
        assert abs(after["shift"] - before["shift"]) <= 1


def test_a_field_that_the_candidate_did_not_choose_is_drawn() -> None:
    rng = np.random.default_rng(0)
    assert {name for name, _ in mutated(candidate(0), FIELDS, 0.0, rng).recipe} == FIELDS.keys()
    far = replace(candidate(0), recipe=(("lr", 5.0),))  # of a start from elsewhere
    assert FIELDS["lr"].contains(dict(mutated(far, FIELDS, 0.0, rng).recipe)["lr"])


def test_only_fields_that_may_change_are_mutable() -> None:
    opened = {"lr": {"low": 0.01, "high": 0.3}, "batch_size": {"choices": [16, 32]}, "cutout": {"choices": [0.0, 0.3]}}
    recipe = RecipeSpec.model_validate(opened)
    assert mutable(recipe.open("")) == {"lr": Real(0.01, 0.3), "cutout": Categorical((0.0, 0.3))}


OPEN: list[tuple[str, Distribution]] = [("lr", Real(0.01, 0.3))]
PBT: dict[str, Any] = {"method": "pbt"}


@pytest.mark.parametrize(
    ("scheduler", "recipe", "metrics", "parallel", "field"),
    [
        (PBT, OPEN, ("accuracy",), None, None),
        (PBT, OPEN, ("params", "accuracy"), 2, None),
        ({"method": "asha"}, [], ("accuracy",), 1, None),
        ({"method": "asha", "first": 8}, [], ("accuracy",), 1, None),
        ({"method": "asha", "first": 9}, [], ("accuracy",), 1, "scheduler.first"),
        ({"method": "hyperband"}, [], ("params",), None, "objectives"),
        (PBT, [], ("accuracy",), None, "scheduler.method"),
        (PBT, [("batch_size", Integer(16, 32))], ("accuracy",), None, "scheduler.method"),
        (PBT, OPEN, ("accuracy",), 1, "budget.parallel"),
        (PBT | {"every": 8}, OPEN, ("accuracy",), None, "scheduler.every"),
        (PBT | {"every": 7}, OPEN, ("accuracy",), None, None),
    ],
)
def test_a_job_in_which_the_scheduler_could_do_nothing_is_refused(
    scheduler: dict[str, Any],
    recipe: list[tuple[str, Distribution]],
    metrics: tuple[str, ...],
    parallel: int | None,
    field: str | None,
) -> None:
    objectives = [ObjectiveForm(metric=metric, direction="maximize") for metric in metrics]  # type: ignore[arg-type]
    found = unsuitable(SchedulerSpec.model_validate(scheduler), recipe, objectives, 8, parallel)
    assert (found and found[0]) == field
    if found is not None and field == "scheduler.method":
        assert "recipe.lr" in found[2]


@pytest.mark.parametrize("name", METHODS_OF)
def test_an_option_of_another_method_is_refused(name: str) -> None:
    value = {"eta": 4, "first": 2, "every": 2, "quantile": 0.5, "resample": 0.5}[name]
    for method in ("asha", "hyperband", "pbt"):
        if method in METHODS_OF[name]:
            SchedulerSpec.model_validate({"method": method, name: value})
        else:
            with pytest.raises(ValidationError, match=f"{method} has none") as caught:
                SchedulerSpec.model_validate({"method": method, name: value})
            assert caught.value.errors()[0]["loc"] == (name,)


def test_what_is_read_back_is_what_was_written() -> None:
    for body in ({"method": "asha", "first": 2}, {"method": "hyperband", "eta": 4}, PBT | {"every": 3}):
        spec = SchedulerSpec.model_validate(body)
        assert SchedulerSpec.model_validate_json(spec.model_dump_json()) == spec


def test_the_same_seed_gives_the_same_mutation() -> None:
    start: Candidate = candidate(1)
    one, other = (mutated(start, FIELDS, 0.25, np.random.default_rng(5)) for _ in range(2))
    assert one == other
