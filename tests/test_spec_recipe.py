"""The recipe that a job's networks are trained with."""

from typing import Any

import numpy as np
import pytest

from nas.space import (
    Candidate,
    known,
)
from nas.spec import AUTOMATIC
from nas.train.recipe import DEFAULT_LR, DEFAULT_WEIGHT_DECAY, Recipe
from tests.specs import CANDIDATE, job


def recipe(candidate: Candidate = CANDIDATE, image: tuple[int, int, int] = (3, 32, 32), **said: Any) -> Recipe:
    return job(recipe=said).recipe_for(candidate, image, epochs=10, images=5000)


@pytest.mark.parametrize("optimizer", DEFAULT_LR)
def test_learning_rate_and_decay_suit_the_optimizer(optimizer: str) -> None:
    found = recipe(optimizer=optimizer)
    assert (found.optimizer, found.lr) == (optimizer, DEFAULT_LR[optimizer])
    assert found.weight_decay == DEFAULT_WEIGHT_DECAY.get(optimizer, 5e-4)
    by_candidate = recipe(Candidate(known("DARTS_V2"), recipe=(("optimizer", optimizer),)), optimizer="momentum")
    assert by_candidate == found


def test_images_are_shifted_by_an_eighth_of_their_side() -> None:
    sides = {(1, 8, 8): 1, (3, 32, 32): 4, (3, 32, 64): 4, (1, 4, 4): 1, (3, 224, 224): 28, (3, 1024, 1024): 64}
    assert {image: recipe(image=image).shift for image in sides} == sides


def test_what_was_not_said_is_as_for_the_images_and_all_else_as_in_the_recipe() -> None:
    assert recipe() == Recipe.for_images((3, 32, 32), epochs=10)
    assert recipe(schedule="one_cycle") == Recipe.for_images((3, 32, 32), epochs=10, schedule="one_cycle")
    assert recipe(schedule="exponential") == Recipe.for_images((3, 32, 32), epochs=10, schedule="exponential")
    unsaid: dict[str, Any] = dict.fromkeys(AUTOMATIC)
    assert recipe(**unsaid) == recipe()


def test_what_was_said_is_what_a_network_is_trained_with() -> None:
    said: dict[str, Any] = {
        "lr": 0.3,
        "weight_decay": 0.0,
        "shift": 0,
        "flip": True,
        "warmup": 0.5,
        "gamma": 0.9,
        "milestones": [0.25],
        "clip_norm": None,
        "ema": 0.5,
    }
    found = recipe(**said).model_dump(mode="json")
    assert {name: found[name] for name in said} == said
    assert found["epochs"] == 10


def test_what_a_candidate_chose_comes_before_what_the_job_says() -> None:
    chosen = Candidate(known("DARTS_V2"), recipe=(("clip_norm", None), ("lr", 0.25), ("shift", 3)))
    found = recipe(chosen, lr={"choices": [0.25, 0.5]}, shift={"low": 0, "high": 4}, clip_norm=1.0)
    assert (found.lr, found.shift, found.clip_norm) == (0.25, 3, None)


def test_a_candidate_may_choose_what_suits() -> None:
    choices = {"choices": [None, 0.5]}
    chosen = Candidate(known("DARTS_V2"), recipe=(("lr", None), ("optimizer", "adam")))
    assert recipe(chosen, lr=choices, optimizer={"choices": ["adam", "sgd"]}).lr == DEFAULT_LR["adam"]


def test_every_candidate_of_an_open_recipe_can_be_trained() -> None:
    spec = job(
        recipe={
            "optimizer": {"choices": list(DEFAULT_LR)},
            "lr": {"choices": [None, 0.1]},
            "gamma": {"choices": [None, 1]},
            "batch_size": {"low": 1, "high": 65_536, "log": True},
            "momentum": {"low": 0, "high": 0.99},
            "clip_norm": {"choices": [None, 1]},
            "kept_lr": {"low": 1e-3, "high": 1, "log": True},
        }
    )
    space, rng = spec.search_space(), np.random.default_rng(0)
    for _ in range(100):
        candidate = space.sample(rng)
        found = spec.recipe_for(candidate, (1, 8, 8), epochs=3, images=5000)
        chosen = dict(candidate.recipe)
        assert all(getattr(found, name) == value for name, value in chosen.items() if value is not None)
