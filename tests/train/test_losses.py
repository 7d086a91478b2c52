"""Losses against their formulas."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from nas import plugins
from nas.data.tensors import Denormalise
from nas.errors import InvalidInput
from nas.train import tasks
from nas.train.losses import LOSSES, Objective, balanced_weights, loss_of, penalty
from nas.train.recipe import Recipe

RNG = np.random.default_rng(0)
Array = npt.NDArray[np.float64]


def tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def close(found: Tensor, expected: Any) -> None:
    np.testing.assert_allclose(found.detach().double().numpy(), expected, rtol=1e-5, atol=1e-6)


def log_softmax(logits: Array) -> Array:
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_of_classes_and_of_mixtures(soft: bool, smoothing: float, weighted: bool) -> None:
    logits = RNG.normal(size=(6, 4)) * 2
    classes = RNG.integers(4, size=6)
    weights = np.array([0.5, 1.0, 2.0, 4.0]) if weighted else np.ones(4)
    targets = RNG.dirichlet(np.ones(4), size=6) if soft else np.eye(4)[classes]
    expected = -((targets * (1 - smoothing) + smoothing / 4) * weights * log_softmax(logits)).sum(axis=1)
    given = tensor(targets) if soft else torch.from_numpy(classes)
    loss = loss_of("cross_entropy", "single_label", tensor(weights) if weighted else None, smoothing)
    close(loss(tensor(logits), given), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_cross_entropy_is_the_mean_over_the_labels(smoothing: float, weighted: bool) -> None:
    logits = RNG.normal(size=(6, 3)) * 2
    labels = RNG.integers(2, size=(6, 3)).astype(np.uint8)
    positive = np.array([0.5, 1.0, 3.0]) if weighted else np.ones(3)
    targets = labels * (1 - smoothing) + smoothing / 2
    probability = 1 / (1 + np.exp(-logits))
    each = -(positive * targets * np.log(probability) + (1 - targets) * np.log(1 - probability))
    loss = loss_of("bce", "multi_label", tensor(positive) if weighted else None, smoothing)
    close(loss(tensor(logits), torch.from_numpy(labels)), each.mean(axis=1))


def test_the_losses_of_a_regression_are_means_over_the_targets_and_know_no_smoothing() -> None:
    outputs, targets = RNG.normal(size=(20, 2)) * 2, RNG.normal(size=(20, 2))
    error = np.abs(outputs - targets)
    assert (error > 1).any()
    assert (error < 1).any()
    expected = {"mse": error**2, "l1": error, "huber": np.where(error < 1, error**2 / 2, error - 0.5)}
    for name in tasks.LOSSES["regression"]:
        close(loss_of(name, "regression", None, 0.3)(tensor(outputs), tensor(targets)), expected[name].mean(axis=1))


def test_the_tasks_name_the_losses_that_there_are() -> None:
    assert {name for names in tasks.LOSSES.values() for name in names} == set(LOSSES)
    assert tasks.SCORE.keys() == tasks.METRICS.keys() == tasks.LOSSES.keys()
    assert all(tasks.SCORE[task] in tasks.METRICS[task] for task in tasks.SCORE)


@pytest.mark.parametrize(
    ("task", "name"), [("single_label", "cross_entropy"), ("multi_label", "bce"), ("regression", "mse")]
)
def test_by_default_a_task_has_its_own_loss(task: str, name: str) -> None:
    outputs = tensor(RNG.normal(size=(5, 3)))
    targets = torch.tensor([0, 1, 2, 0, 1]) if task == "single_label" else tensor(RNG.integers(2, size=(5, 3)))
    assert torch.equal(loss_of("default", task)(outputs, targets), loss_of(name, task)(outputs, targets))


@pytest.mark.parametrize(
    ("task", "name", "allowed"),
    [
        ("single_label", "bce", "default, cross_entropy"),
        ("multi_label", "cross_entropy", "default, bce"),
        ("regression", "cross_entropy", "default, mse, l1, huber"),
        ("single_label", "no such loss", "default, cross_entropy"),
    ],
)
def test_a_loss_that_the_task_does_not_know_is_refused_with_what_it_knows(task: str, name: str, allowed: str) -> None:
    for refuse in (lambda: tasks.check_loss(name, task), lambda: loss_of(name, task)):
        with pytest.raises(
            InvalidInput, match=f"recipe.loss: '{name}' is not possible: for {task} it can be {allowed}"
        ):
            refuse()


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[..., Any]]:
    """The user's own losses."""
    functions: dict[str, Callable[..., Any]] = {}

    def losses() -> dict[str, plugins.Plugin]:
        return {name: plugins.Plugin("a test", partial(functions.__getitem__, name)) for name in functions}

    monkeypatch.setattr(plugins, "losses", losses)
    return functions


def test_a_users_own_loss_is_used_by_its_name_for_any_task(users: dict[str, Callable[..., Any]]) -> None:
    users["fourth_power"] = lambda outputs, targets: (outputs - targets).pow(4).sum(dim=1)
    tasks.check_loss("fourth_power", "regression")
    tasks.check_loss("fourth_power", "multi_label")
    outputs, targets = tensor([[1.0, 2.0], [0.0, 1.0]]), tensor([[0.0, 0.0], [0.0, 3.0]])
    assert loss_of("fourth_power", "regression")(outputs, targets).tolist() == [17.0, 16.0]


def test_a_users_own_loss_cannot_stand_in_for_one_of_the_task(users: dict[str, Callable[..., Any]]) -> None:
    users["mse"] = lambda outputs, targets: torch.zeros(len(outputs))
    one = tensor([[1.0]])
    assert loss_of("mse", "regression")(one, 0 * one).item() == 1.0
    assert loss_of("mse", "multi_label")(one, 0 * one).item() == 0.0
    assert tasks.allowed_losses("regression").count("mse") == 1


@pytest.mark.parametrize(
    "function",
    [
        lambda outputs, targets: (outputs - targets).mean(),
        lambda outputs, targets: outputs - targets,
        lambda outputs, targets: 3.0,
        lambda outputs, targets: (outputs > targets).any(dim=1),
    ],
)
def test_a_users_own_loss_has_to_return_one_number_an_image(
    function: Callable[..., Any], users: dict[str, Callable[..., Any]]
) -> None:
    users["odd"] = function
    with pytest.raises(InvalidInput, match=r"a loss for each image, \[N\]"):
        loss_of("odd", "regression")(torch.zeros(4, 2), torch.ones(4, 2))


def test_balanced_classes_weigh_the_more_the_rarer_they_are() -> None:
    labels = torch.tensor([0] * 6 + [1] * 3 + [2] * 1)
    weights = balanced_weights(labels, 4)
    close(weights[:3], [10 / 24, 10 / 12, 10 / 4])
    assert weights[3].isfinite()  # a class that does not occur
    assert weights[labels].mean().item() == pytest.approx(3 / 4)  # 1, were it not for that class


def test_balanced_labels_weigh_their_positives_by_how_many_negatives_there_are() -> None:
    labels = torch.tensor([[1, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]], dtype=torch.uint8)
    assert balanced_weights(labels, 3).tolist() == [3.0, 1.0, 0.0]


def test_many_labels_are_counted_beyond_what_a_byte_holds() -> None:
    labels = torch.ones(1_000, 1, dtype=torch.uint8)
    labels[:200] = 0
    assert balanced_weights(labels, 1).item() == pytest.approx(200 / 800)


@pytest.mark.parametrize("task", tasks.LOSSES)
def test_validation_knows_neither_smoothing_nor_weights(task: str) -> None:
    recipe = Recipe(epochs=1, label_smoothing=0.3, class_weights="balanced")
    labels = {
        "single_label": torch.tensor([0, 0, 0, 1]),
        "multi_label": torch.tensor([[0, 1], [0, 1], [0, 1], [1, 0]], dtype=torch.uint8),
        "regression": torch.tensor([[0.0, 1.0], [2.0, 1.0], [4.0, 7.0], [6.0, 7.0]]),
    }[task]
    objective = Objective.of(recipe, task, labels, 2)
    outputs = tensor(RNG.normal(size=(4, 2)))
    targets = objective.targets(labels)
    assert torch.equal(objective.validation(outputs, targets), loss_of("default", task)(outputs, targets))
    differs = not torch.allclose(objective.training(outputs, targets), objective.validation(outputs, targets))
    assert differs == (task != "regression")


def test_a_regression_is_learnt_in_units_of_the_targets_deviation_and_comes_out_in_their_own() -> None:
    labels = tensor(RNG.normal(size=(50, 3)) * [1e4, 1.0, 1e-3] + [1e6, 0.0, 5.0])
    objective = Objective.of(Recipe(epochs=1), "regression", labels, 3)
    targets = objective.targets(labels)
    np.testing.assert_allclose(targets.mean(dim=0), 0, atol=1e-2)
    np.testing.assert_allclose(targets.std(dim=0, correction=0), 1, rtol=1e-2)
    torch.testing.assert_close(objective.in_units(targets), labels)


def test_classes_and_labels_come_out_as_logits() -> None:
    logits = tensor(RNG.normal(size=(4, 2)))
    for task, labels in (("single_label", torch.tensor([0, 1])), ("multi_label", torch.zeros(2, 2, dtype=torch.uint8))):
        objective = Objective.of(Recipe(epochs=1), task, labels, 2)
        assert objective.denormalise is None
        assert torch.equal(objective.in_units(logits), logits)


def test_a_constant_target_is_put_out_as_it_is() -> None:
    denormalise = Denormalise.of(torch.full((7, 1), 0.1))
    assert denormalise.std.item() == 1.0
    close(denormalise(torch.zeros(2, 1)), [[0.1], [0.1]])


def test_penalties_are_sums_of_absolute_values_and_half_sums_of_squares() -> None:
    weights = [tensor([[1.0, -2.0]]), tensor([[3.0]])]
    assert float(penalty(weights, 0.5, 0.0)) == pytest.approx(3.0)
    assert float(penalty(weights, 0.0, 0.5)) == pytest.approx(3.5)
    assert float(penalty(weights, 0.5, 0.5)) == pytest.approx(6.5)
    assert penalty(weights, 0.0, 0.0) == 0.0
    assert penalty([], 1.0, 1.0) == 0.0
