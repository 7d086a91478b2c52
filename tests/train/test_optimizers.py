"""Optimizers against their formulas, and which parameters they treat how."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from nas.data.tensors import Batchable
from nas.errors import InvalidInput
from nas.train.optimizers import OPTIMIZERS, build_optimizer, freezing, set_lr, weight_names
from nas.train.recipe import Recipe
from tests.train.runs import RECIPE, change, digits, network, small, state, train

LR, MU, BETA2, DECAY = 0.1, 0.8, 0.9, 0.03
Array = npt.NDArray[np.float64]


def by_hand(name: str, weight: Array, gradients: list[Array]) -> Iterator[Array]:
    """The weight after each step, as the papers have it, with the decay that the recipe asks for."""
    first, second = np.zeros_like(weight), np.zeros_like(weight)
    for step, gradient in enumerate(gradients, start=1):
        g = gradient if name == "adamw" else gradient + DECAY * weight
        match name:
            case "sgd":
                weight = weight - LR * g
            case "momentum":
                first = MU * first + g
                weight = weight - LR * first
            case "nesterov":
                first = MU * first + g
                weight = weight - LR * (g + MU * first)
            case "adagrad":
                second = second + g**2
                weight = weight - LR * g / (np.sqrt(second) + 1e-10)
            case "rmsprop":
                second = BETA2 * second + (1 - BETA2) * g**2
                first = MU * first + g / (np.sqrt(second) + 1e-8)
                weight = weight - LR * first
            case "adam" | "adamw":
                first = MU * first + (1 - MU) * g
                second = BETA2 * second + (1 - BETA2) * g**2
                shrunk = weight * (1 - LR * DECAY) if name == "adamw" else weight
                mean, square = first / (1 - MU**step), second / (1 - BETA2**step)
                weight = shrunk - LR * mean / (np.sqrt(square) + 1e-8)
        yield weight


def recipe_of(optimizer: str, **fields: Any) -> Recipe:
    fields = {"lr": LR, "momentum": MU, "beta2": BETA2, "weight_decay": DECAY} | fields
    return Recipe.model_validate({"epochs": 1, "optimizer": optimizer} | fields)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_steps_as_its_paper_says(name: str) -> None:
    rng = np.random.default_rng(0)
    layer = nn.Linear(3, 2, bias=False).double()
    gradients = [rng.normal(size=(2, 3)) for _ in range(5)]
    expected = by_hand(name, layer.weight.detach().numpy().copy(), gradients)
    optimizer = build_optimizer(layer, recipe_of(name))
    for gradient, weight in zip(gradients, expected, strict=True):
        layer.weight.grad = torch.from_numpy(gradient)
        optimizer.step()
        np.testing.assert_allclose(layer.weight.detach().numpy(), weight, rtol=1e-9)


def test_nesterov_without_momentum_is_plain_descent() -> None:
    steps = []
    for name in ("sgd", "nesterov", "momentum"):
        torch.manual_seed(0)
        layer = nn.Linear(3, 2)
        optimizer = build_optimizer(layer, recipe_of(name, momentum=0.0))
        layer(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        steps.append(layer.weight.detach())
    assert torch.equal(steps[0], steps[1])
    assert torch.equal(steps[0], steps[2])


class Everything(nn.Module):
    """Layers with every kind of parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.batch = nn.BatchNorm2d(2)
        self.group = nn.GroupNorm(1, 2)
        self.layer = nn.LayerNorm([2, 6, 6])
        self.root = nn.RMSNorm([6, 6])
        self.fixed = nn.BatchNorm2d(2, affine=False)
        self.linear = nn.Linear(72, 10)
        self.mixing = nn.Parameter(torch.ones(3))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        x = self.root(self.layer(self.group(self.batch(self.conv(x)))))
        logits: Tensor = self.linear(self.fixed(x).flatten(1)) * self.scale * self.mixing.sum()
        return logits


def test_only_kernels_and_matrices_are_weights() -> None:
    assert weight_names(Everything()) == {"conv.weight", "linear.weight"}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_only_weights_decay(name: str) -> None:
    model = Everything()
    optimizer = build_optimizer(model, recipe_of(name))
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {key: decays[id(p)] for key, p in model.named_parameters()} == {
        key: DECAY if key in ("conv.weight", "linear.weight") else 0.0 for key, _ in model.named_parameters()
    }


def test_what_was_taken_over_learns_more_slowly() -> None:
    model = small()
    kept = frozenset({"0.weight", "0.bias", "1.weight"})
    optimizer = build_optimizer(model, recipe_of("sgd", kept_lr=0.25), kept=kept)
    assert set_lr(optimizer, 0.8) == 0.8
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: rates[id(p)] for name, p in model.named_parameters()} == {
        name: 0.2 if name in kept else 0.8 for name, _ in model.named_parameters()
    }


def test_what_is_frozen_is_not_trained_at_all() -> None:
    model = small()
    frozen = frozenset({"0.weight", "0.bias"})
    optimizer = build_optimizer(model, recipe_of("adamw"), kept=frozen | {"5.weight"}, frozen=frozen)
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert {name for name, p in model.named_parameters() if id(p) in trained} == {
        "1.weight",
        "1.bias",
        "5.weight",
        "5.bias",
    }


def test_a_name_that_the_network_has_not_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no parameters \['9.weight'\]"):
        build_optimizer(small(), recipe_of("sgd"), kept=frozenset({"9.weight", "0.weight"}))
    with pytest.raises(ValueError, match=r"no parameters \['9.weight'\]"):
        build_optimizer(small(), recipe_of("sgd"), frozen=frozenset({"9.weight"}))


def test_a_network_that_is_frozen_as_a_whole_cannot_be_trained() -> None:
    model = small()
    with pytest.raises(InvalidInput) as caught:
        build_optimizer(model, recipe_of("sgd"), frozen=frozenset(name for name, _ in model.named_parameters()))
    assert caught.value.field == "recipe.freeze"


TRAIN, VALIDATION = digits(100)


@pytest.mark.parametrize(
    "recipe", [{}, {"optimizer": "adamw", "weight_clip": 0.01}, {"l1": 0.1, "ema": 0.9}, {"swa": 0.5}]
)
def test_what_is_frozen_stays_as_it_is_to_the_last_bit_with_its_statistics(recipe: dict[str, Any]) -> None:
    model = network()
    frozen = frozenset(name for name, _ in model.named_parameters() if name.startswith(("stem", "cells.0")))
    before = state(model)
    train(model, TRAIN, VALIDATION, change(RECIPE, **recipe), frozen=frozen)
    after = state(model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not {name for name in changed if name.startswith(("stem", "cells.0"))}
    assert {"classifier.weight", "classifier.bias"} < changed
    assert any(name.startswith("cells.1") and name.endswith("running_var") for name in changed)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_statistics_of_norms_without_parameters_stay_where_all_around_them_is_frozen() -> None:
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, affine=False)),
        nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2, affine=False)),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    before = state(model)
    train(model, TRAIN, VALIDATION, frozen=frozenset({"0.0.weight", "0.0.bias"}))
    after = state(model)
    assert torch.equal(after["0.1.running_mean"], before["0.1.running_mean"])
    assert not torch.equal(after["1.1.running_mean"], before["1.1.running_mean"])


def test_norms_that_are_frozen_in_part_only_are_trained_on() -> None:
    model = small()
    with freezing(model, frozenset({"1.weight"})) as still:
        assert still == []
        assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["1.weight"]
    with freezing(model, frozenset({"1.weight", "1.bias"})) as still:
        assert still == [model[1]]


def test_freezing_gives_back_what_it_took_and_nothing_else() -> None:
    model = small()
    model[5].bias.requires_grad_(False)
    with pytest.raises(KeyError), freezing(model, frozenset({"0.weight", "5.bias"})):
        raise KeyError
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["5.bias"]


def test_the_kept_part_moves_as_much_less_as_the_recipe_says() -> None:
    """One step of plain descent, so that what a parameter moves is proportional to its rate."""
    kept = frozenset({"0.weight", "0.bias"})
    fields = {"optimizer": "sgd", "epochs": 1, "batch_size": 100, "clip_norm": None, "weight_decay": 0.0, "shift": 0}
    moved = []
    for factor in (1.0, 0.5):
        model = small()
        before = state(model)
        train(model, TRAIN, VALIDATION, change(RECIPE, kept_lr=factor, **fields), kept=kept)
        moved.append({name: state(model)[name] - before[name] for name in before})
    torch.testing.assert_close(moved[1]["0.weight"], moved[0]["0.weight"] / 2)
    torch.testing.assert_close(moved[1]["5.weight"], moved[0]["5.weight"])


def test_a_frozen_part_takes_no_gradient_from_the_norm_that_is_clipped() -> None:
    """All of the allowed norm is left to the trained part."""
    images = Batchable(TRAIN.images[:64], TRAIN.labels[:64])
    fields = {"optimizer": "sgd", "epochs": 1, "lr": 1.0, "weight_decay": 0.0, "clip_norm": 0.01, "warmup": 0.0}
    model = small()
    before = state(model)
    train(model, images, VALIDATION, change(RECIPE, **fields), frozen=frozenset({"0.weight", "0.bias"}))
    moved = [state(model)[name] - before[name] for name in ("1.weight", "1.bias", "5.weight", "5.bias")]
    assert torch.cat([tensor.flatten() for tensor in moved]).norm().item() == pytest.approx(0.01, rel=1e-4)
