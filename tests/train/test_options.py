"""What the fields of a recipe do to a training, against steps worked out by hand or by torch's autograd alone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn

from nas import plugins
from nas.data.builtin import BUILTIN
from nas.data.tensors import Batchable, Denormalise, Normalise
from nas.errors import Diverged, InvalidInput
from nas.seeds import derive
from nas.train.loop import predict
from nas.train.recipe import Recipe
from tests.train.runs import Run, change, digits, network, same, small, state, train

TRAIN, VALIDATION = digits(60)
NORMALISED = Normalise.of(TRAIN.images)(TRAIN.images)
PLAIN = Recipe(
    epochs=1,
    batch_size=60,
    optimizer="sgd",
    lr=0.1,
    schedule="constant",
    warmup=0.0,
    weight_decay=0.0,
    label_smoothing=0.0,
    clip_norm=None,
    shift=0,
)
"""One step of plain descent over all images."""


def linear(outputs: int = 10, seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, outputs))


def close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name in found:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-6, msg=lambda text: f"{text} {name}")  # noqa: B023


def descended(model: nn.Module, loss: Callable[[nn.Module], Tensor], lr: float = 0.1) -> dict[str, Tensor]:
    """The state after one step of plain descent along a loss."""
    parameters = dict(model.named_parameters())
    model.train()
    gradients = torch.autograd.grad(loss(model), list(parameters.values()), allow_unused=True)
    moved = {
        name: parameter.detach() - lr * gradient
        for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True)
        if gradient is not None
    }
    return {name: tensor.detach() for name, tensor in parameters.items()} | moved


def order_of(epoch: int, seed: int = 0) -> Tensor:
    return torch.randperm(60, generator=torch.Generator().manual_seed(derive(seed, "epoch", epoch)))


def test_batches_that_are_accumulated_are_one_large_batch() -> None:
    states = []
    for fields in ({"batch_size": 60}, {"batch_size": 20, "accumulate": 3}, {"batch_size": 20, "accumulate": 100}):
        model = linear()
        [result, *_] = train(model, TRAIN, VALIDATION, change(PLAIN, epochs=3, clip_norm=0.5, **fields)).results
        states.append(state(model))
        assert result.train_loss == pytest.approx(F.cross_entropy(linear()(NORMALISED), TRAIN.labels).item(), rel=1e-5)
    close(states[1], states[0])
    close(states[2], states[0])


def test_the_batches_that_are_left_over_at_the_end_of_an_epoch_are_a_step_of_their_own_mean() -> None:
    model = linear()
    train(model, TRAIN, VALIDATION, change(PLAIN, batch_size=20, accumulate=2))
    other, order = linear(), order_of(0)
    for images in (order[:40], order[40:]):
        other.load_state_dict(
            descended(other, lambda net, at=images: F.cross_entropy(net(NORMALISED[at]), TRAIN.labels[at]))  # type: ignore[misc]
        )
    close(state(model), state(other))


def test_the_learning_rate_follows_the_steps_not_the_batches() -> None:
    recipe = change(PLAIN, epochs=2, batch_size=10, accumulate=3, schedule="exponential", gamma=0.5)
    assert [result.lr for result in train(linear(), TRAIN, VALIDATION, recipe).results] == [0.1, 0.05]


def test_gradients_are_clipped_by_value_and_then_by_norm() -> None:
    model, other = linear(), linear()
    train(model, TRAIN, VALIDATION, change(PLAIN, clip_value=0.02, clip_norm=0.1))
    loss = F.cross_entropy(other(NORMALISED), TRAIN.labels)
    gradients = [gradient.clamp(-0.02, 0.02) for gradient in torch.autograd.grad(loss, list(other.parameters()))]
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    assert norm > 0.1
    with torch.no_grad():
        for parameter, gradient in zip(other.parameters(), gradients, strict=True):
            parameter.sub_(0.1 * gradient * 0.1 / norm)
    close(state(model), state(other))


def test_weights_are_clipped_after_every_step_and_biases_and_norms_are_not() -> None:
    model = small()
    train(model, TRAIN, VALIDATION, change(PLAIN, epochs=3, batch_size=20, weight_clip=0.05))
    found = state(model)
    for name in ("0.weight", "5.weight"):
        assert found[name].abs().max().item() == pytest.approx(0.05)
    assert found["1.weight"].min() > 0.5
    assert found["0.bias"].abs().max() > 0.05


def test_the_l2_penalty_is_weight_decay_where_the_gradient_is_not_scaled() -> None:
    one, other = small(), small()
    a = train(one, TRAIN, VALIDATION, change(PLAIN, epochs=3, batch_size=20, l2=0.3))
    b = train(other, TRAIN, VALIDATION, change(PLAIN, epochs=3, batch_size=20, weight_decay=0.3))
    close(state(one), state(other))
    assert [result.train_loss for result in a.results] == pytest.approx([result.train_loss for result in b.results])


def test_the_l1_penalty_draws_weights_towards_0_by_their_signs() -> None:
    model, before = linear(), linear()
    train(model, TRAIN, VALIDATION, change(PLAIN, l1=0.05, batch_size=30, accumulate=2))
    expected = descended(before, lambda net: F.cross_entropy(net(NORMALISED), TRAIN.labels))
    expected["1.weight"] -= 0.1 * 0.05 * state(before)["1.weight"].sign()
    close(state(model), expected)


def test_the_auxiliary_heads_loss_counts_with_its_weight_and_is_not_reported() -> None:
    model, other = network(auxiliary=0.4), network(auxiliary=0.4)
    [result] = train(model, TRAIN, VALIDATION, PLAIN).results
    shown = []

    def loss(net: Any) -> Tensor:
        outputs, auxiliary = net.both(NORMALISED[order_of(0)])
        losses = [F.cross_entropy(logits, TRAIN.labels[order_of(0)]) for logits in (outputs, auxiliary)]
        shown.append(losses[0].item())
        return losses[0] + 0.4 * losses[1]

    expected = descended(other, loss)
    found = state(model)
    close({name: found[name] for name in expected}, expected)
    assert result.train_loss == pytest.approx(shown[0], rel=1e-5)
    assert any(
        "auxiliary" in name and not torch.equal(found[name], network(auxiliary=0.4).state_dict()[name])
        for name in found
    )


def test_a_network_is_told_how_much_of_the_training_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    model = network(drop_path=0.2)
    monkeypatch.setattr(model, "set_progress", told.append)
    train(model, TRAIN, VALIDATION, change(PLAIN, epochs=4, batch_size=20))
    assert told == [0.0, 0.25, 0.5, 0.75]


def test_balanced_classes_weigh_in_training_alone() -> None:
    labels = torch.where(TRAIN.labels < 8, 0, TRAIN.labels)
    recipe = change(PLAIN, class_weights="balanced", lr=1e-12)
    [result] = train(linear(), Batchable(TRAIN.images, labels), VALIDATION, recipe).results
    each = F.cross_entropy(linear()(NORMALISED), labels, reduction="none")
    weights = torch.tensor([60 / (10 * (labels == label).sum().item()) for label in labels])
    assert result.train_loss == pytest.approx((each * weights).mean().item(), rel=1e-5)
    logits = linear()(Normalise.of(TRAIN.images)(VALIDATION.images))
    assert result.validation_loss == pytest.approx(F.cross_entropy(logits, VALIDATION.labels).item(), rel=1e-5)


def test_images_are_mixed_into_targets_over_all_the_networks_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        if logits.requires_grad:
            seen.append(targets)
            return F.cross_entropy(logits, targets, reduction="none")
        return logits.sum(dim=1)

    monkeypatch.setattr(plugins, "losses", lambda: {"mine": plugins.Plugin("a test", lambda: loss)})
    few = Batchable(TRAIN.images, TRAIN.labels % 3)
    [result] = train(linear(), few, VALIDATION, change(PLAIN, loss="mine", mixup=1.0, batch_size=20)).results
    for targets in seen:
        assert targets.shape == (20, 10)
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(20))
        assert not targets[:, 3:].any()
        assert ((targets > 0).sum(dim=1) == 2).any()
    assert len(seen) == 3
    assert result.validation_loss != result.train_loss


def test_a_loss_that_the_task_does_not_know_is_refused_before_anything_changes() -> None:
    model = linear()
    before = state(model)
    with pytest.raises(InvalidInput, match=r"recipe\.loss"):
        train(model, TRAIN, VALIDATION, change(PLAIN, loss="mse"))
    assert same(state(model), before)


@pytest.mark.parametrize(("precision", "dtype"), [("bfloat16", torch.bfloat16), ("float32", torch.float32)])
def test_a_network_computes_in_the_format_of_the_recipe_and_its_loss_in_float32(
    precision: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[bool, set[torch.dtype]] = {True: set(), False: set()}
    judged: set[torch.dtype] = set()

    class Watching(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            made[self.training].add(found.dtype)
            return found

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        judged.add(logits.dtype)
        return F.cross_entropy(logits, targets, reduction="none")

    monkeypatch.setattr(plugins, "losses", lambda: {"mine": plugins.Plugin("a test", lambda: loss)})
    model = Watching(nn.Flatten(), nn.Linear(64, 10))
    train(model, TRAIN, VALIDATION, change(PLAIN, precision=precision, loss="mine"))
    assert made[True] == {dtype}
    assert made[False] == {torch.float32}  # on a CPU validation scores as the package will
    assert judged == {torch.float32}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_precision_that_the_device_has_not_is_refused_before_anything_changes() -> None:
    model = linear()
    before = state(model)
    with pytest.raises(InvalidInput, match=r"recipe\.precision"):
        train(model, TRAIN, VALIDATION, change(PLAIN, precision="float16"))
    assert same(state(model), before)


def several(data: Batchable) -> Batchable:
    """Three labels: is it even, is it above 4, is it a multiple of 3."""
    labels = torch.stack([data.labels % 2 == 0, data.labels > 4, data.labels % 3 == 0], dim=1)
    return Batchable(data.images, labels.to(torch.uint8))


def amounts(data: Batchable) -> Batchable:
    """Two targets of very different scales: the digit's ink, in units of 1/1000 and far from 0, and the ink above."""
    ink = data.images.float()
    return Batchable(
        data.images, torch.stack([1e4 + ink.sum(dim=(1, 2, 3)) / 1e3, 1e4 * ink[:, :, :4].sum(dim=(1, 2, 3))], 1)
    )


LEARNING = Recipe(epochs=8, batch_size=25, shift=0, lr=0.05)


def test_several_labels_are_learnt() -> None:
    images, validation = digits(500)
    results = train(small(3), several(images), several(validation), LEARNING, task="multi_label").results
    share = several(validation).labels.float().mean().item()
    assert results[-1].metrics.keys() == {"map", "macro_f1", "accuracy"}
    assert results[-1].validation_accuracy == results[-1].metrics["map"] > share + 0.3
    assert results[-1].validation_loss < results[0].validation_loss


@pytest.mark.parametrize("loss", ["default", "l1", "huber"])
def test_targets_of_every_scale_are_learnt_and_measured_in_their_own_units(loss: str) -> None:
    images, validation = (amounts(data) for data in digits(500))
    model = small(2)
    results = train(model, images, validation, change(LEARNING, loss=loss), task="regression").results
    assert results[-1].validation_accuracy == results[-1].metrics["r2"] > 0.8
    whole = nn.Sequential(Normalise.of(images.images), model, Denormalise.of(images.labels))
    error = predict(whole, validation.images).double() - validation.labels.double()
    assert results[-1].metrics["mae"] == pytest.approx(error.abs().mean().item(), rel=1e-4)
    assert results[-1].metrics["rmse"] == pytest.approx(error.square().mean().sqrt().item(), rel=1e-4)


def test_the_losses_of_a_regression_are_in_units_of_the_targets_deviation() -> None:
    images, validation = amounts(TRAIN), amounts(VALIDATION)
    model = linear(2)
    [result] = train(model, images, validation, change(PLAIN, lr=1e-12), task="regression").results
    scaled = (validation.labels - images.labels.mean(dim=0)) / images.labels.std(dim=0, correction=0)
    found = linear(2)(Normalise.of(TRAIN.images)(VALIDATION.images))
    assert result.validation_loss == pytest.approx((found - scaled).square().mean().item(), rel=1e-3)


@pytest.mark.parametrize(("task", "convert"), [("multi_label", several), ("regression", amounts)])
def test_a_training_of_another_task_that_diverges_is_ended_as_such(
    task: str, convert: Callable[[Batchable], Batchable]
) -> None:
    outputs = 3 if task == "multi_label" else 2
    for recipe in (change(PLAIN, lr=1e38), change(PLAIN, lr=1e38, epochs=3, batch_size=20)):
        with pytest.raises(Diverged):
            train(linear(outputs), convert(TRAIN), convert(VALIDATION), recipe, task=task)


def test_one_image_that_is_left_over_does_not_stop_batch_norm_from_training() -> None:
    """Its maps are of one pixel, where batch norm cannot learn from a single image."""
    model = nn.Sequential(nn.Conv2d(1, 4, 8), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 10))
    odd = Batchable(TRAIN.images[:41], TRAIN.labels[:41])
    for fields in ({"batch_size": 20}, {"batch_size": 20, "swa": 0.5}, {"batch_size": 1_000, "swa": 0.5}):
        assert len(train(model, odd, VALIDATION, change(PLAIN, epochs=2, **fields)).results) == 2


@pytest.mark.parametrize("convert", [several, amounts])
def test_a_split_of_a_data_set_of_another_task_holds_its_labels(convert: Callable[[Batchable], Batchable]) -> None:
    data = BUILTIN["digits"].load()
    labels = convert(Batchable(torch.from_numpy(data.images), torch.from_numpy(data.labels))).labels
    found = Batchable.of(replace(data, labels=labels.numpy()), "validation", torch.device("cpu"))
    assert found.labels.dtype == labels.dtype
    assert torch.equal(found.labels, labels[torch.from_numpy(data.validation)])
    assert len(found) == len(data.validation)


def test_an_epoch_says_all_that_was_measured() -> None:
    [result] = train(small(), TRAIN, VALIDATION, PLAIN, run=Run()).results
    assert set(result.metrics) == {"accuracy", "top5", "macro_f1"}
    assert result.metrics["top5"] >= result.metrics["accuracy"] == result.validation_accuracy
    assert hash(result) == hash(result)
