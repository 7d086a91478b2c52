"""A training that was interrupted and resumed is the uninterrupted one, to the last bit, whatever the recipe says."""

from typing import Any

import pytest
import torch
from torch import nn

from nas.data.tensors import Batchable
from nas.train.checkpoint import Checkpoint
from nas.train.optimizers import OPTIMIZERS
from nas.train.recipe import DEFAULT_LR, Recipe
from nas.train.schedules import SCHEDULES
from tests.train.runs import Run, change, digits, network, same, small, state, train

TRAIN, VALIDATION = digits(60)
RECIPE = Recipe(epochs=4, batch_size=30, shift=1)

RECIPES: dict[str, dict[str, Any]] = (
    {name: {"optimizer": name, "lr": DEFAULT_LR[name]} for name in OPTIMIZERS}
    | {name: {"schedule": name, "period": 2, "gamma": 0.5, "patience": 0, "lr": 1.0} for name in SCHEDULES}
    | {
        "ema": {"ema": 0.9},
        "swa": {"swa": 0.5},
        "ema and swa": {"ema": 0.9, "swa": 0.5, "optimizer": "adamw", "lr": 0.01},
        "early stopping": {"early_stop": 2, "lr": 1.0},
        "early stopping of averages": {"early_stop": 2, "lr": 1.0, "ema": 0.9, "swa": 0.4},
        "accumulation": {"accumulate": 2, "ema": 0.9},
        "clipping": {"clip_value": 0.01, "weight_clip": 0.1, "clip_norm": None},
        "penalties": {"l1": 1e-3, "l2": 1e-2},
        "balanced": {"class_weights": "balanced"},
        "colours": {"jitter": 0.5, "randaugment": 2, "cutout": 0.5, "flip": True},
        "mixing": {"mixup": 0.4, "cutmix": 1.0},
        "rungs": {"rungs": [1, 3]},
        "rungs of averages": {"rungs": [2], "swa": 0.5, "ema": 0.9},
        "rungs on a plateau": {"rungs": [2], "schedule": "plateau", "patience": 0, "lr": 1.0, "early_stop": 2},
        "bfloat16": {"precision": "bfloat16", "swa": 0.5, "ema": 0.9},
    }
)


def check(model: nn.Module, other: nn.Module, recipe: Recipe, data: tuple[Batchable, Batchable], **more: Any) -> None:
    """Goes on from the file of each epoch with another network."""
    whole = Run()
    train(model, *data, recipe, run=whole, **more)
    assert len(whole.results) > 1
    for done in range(1, len(whole.results)):
        torch.manual_seed(done)  # what else is random in the process does not count
        for parameter in other.parameters():
            parameter.data.add_(1.0)  # its own weights do not count
        resumed = train(other, *data, recipe, resume=Checkpoint.from_bytes(whole.checkpoints[done - 1]), **more)
        assert resumed.results == whole.results[done:]
        assert resumed.checkpoints == whole.checkpoints[done:]
        assert same(state(other), state(model))


@pytest.mark.parametrize("name", RECIPES)
def test_a_resumed_training_is_the_uninterrupted_one(name: str) -> None:
    recipe = Recipe.model_validate(RECIPE.model_dump() | RECIPES[name])
    check(small(dropout=0.3), small(dropout=0.3), recipe, (TRAIN, VALIDATION))


def test_so_is_one_of_a_network_that_drops_paths_and_has_an_auxiliary_head() -> None:
    shape: dict[str, Any] = {"drop_path": 0.5, "dropout": 0.3, "auxiliary": 0.4}
    recipe = change(RECIPE, epochs=3, batch_size=30, ema=0.9, swa=0.3)
    check(network(**shape), network(**shape), recipe, (TRAIN, VALIDATION))


def test_so_is_one_that_transfers() -> None:
    names = {"kept": frozenset({"0.weight", "1.weight"}), "frozen": frozenset({"0.weight", "0.bias"})}
    check(small(), small(), change(RECIPE, optimizer="adam", lr=0.01, kept_lr=0.1), (TRAIN, VALIDATION), **names)


@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_so_is_one_of_another_task(task: str) -> None:
    def convert(data: Batchable) -> Batchable:
        bits = (data.labels[:, None] >> torch.arange(3)) & 1
        return Batchable(data.images, bits.to(torch.uint8) if task == "multi_label" else bits.float() * 1e3)

    recipe = change(RECIPE, mixup=0.4, class_weights="balanced", schedule="plateau", patience=0, lr=0.02)
    check(small(3), small(3), recipe, (convert(TRAIN), convert(VALIDATION)), task=task)


def test_an_early_stopped_training_has_nothing_to_go_on_with() -> None:
    model, run = small(), Run()
    recipe = change(RECIPE, epochs=40, lr=2.0, early_stop=2)
    train(model, TRAIN, VALIDATION, recipe, run=run)
    assert len(run.results) < 40
    other = small(seed=3)
    assert train(other, TRAIN, VALIDATION, recipe, resume=Checkpoint.from_bytes(run.checkpoints[-1])).results == []
    assert same(state(other), state(model))


def test_one_checkpoint_can_be_gone_on_from_twice() -> None:
    run = train(small(), TRAIN, VALIDATION, change(RECIPE, ema=0.9, early_stop=3, optimizer="adam", lr=0.01))
    checkpoint = Checkpoint.from_bytes(run.checkpoints[1])
    content = checkpoint.to_bytes()
    for _ in range(2):
        recipe = change(RECIPE, ema=0.9, early_stop=3, optimizer="adam", lr=0.01)
        resumed = train(small(seed=4), TRAIN, VALIDATION, recipe, resume=checkpoint)
        assert resumed.results == run.results[2:]
        assert checkpoint.to_bytes() == content


def test_a_training_leaves_the_random_numbers_of_the_process_as_they_were() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    train(small(dropout=0.5), TRAIN, VALIDATION, RECIPE)
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_is_another_one_in_every_epoch_and_for_every_seed() -> None:
    class Masks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.5)
            self.linear = nn.Linear(64, 10)
            self.seen: list[tuple[bool, ...]] = []

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mask = self.drop(torch.ones(64))
            if self.training:
                self.seen.append(tuple((mask > 0).tolist()))
            logits: torch.Tensor = self.linear(x.flatten(1) * mask)
            return logits

    seen = []
    for seed in (0, 1, 0):
        model = Masks()
        train(model, TRAIN, VALIDATION, RECIPE, seed=seed)
        seen.append(model.seen)
    assert seen[0] == seen[2]
    assert len({*seen[0], *seen[1]}) == 2 * 4 * 2


def test_early_stopping_keeps_the_best_epoch_of_all_stages() -> None:
    model, run = small(), Run()
    recipe = change(RECIPE, epochs=8, rungs=(4,), lr=2.0, early_stop=6)
    train(model, TRAIN, VALIDATION, recipe, run=run)
    scores = [result.validation_accuracy for result in run.results]
    best = scores.index(max(scores))
    assert same(state(model), Checkpoint.from_bytes(run.checkpoints[best]).network)
