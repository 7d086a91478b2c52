import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn

from nas.data.tensors import Batchable, Normalise
from nas.errors import Diverged, Stopped
from nas.train.checkpoint import Checkpoint
from nas.train.loop import evaluate, fit, predict
from nas.train.losses import Objective
from nas.train.recipe import Recipe
from nas.train.schedules import learning_rate
from tests.train.runs import RECIPE, Run, change, digits, network, same, state, train

TRAIN, VALIDATION = digits()
STEPS = len(TRAIN) // RECIPE.batch_size
OBJECTIVE = Objective.of(RECIPE, "single_label", TRAIN.labels, 10)


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[Run, dict[str, Tensor]]:
    model = network()
    run = train(model, TRAIN, VALIDATION)
    return run, state(model)


def test_every_epoch_is_reported(uninterrupted: tuple[Run, dict[str, Tensor]]) -> None:
    run, _ = uninterrupted
    assert [result.epoch for result in run.results] == [1, 2, 3, 4]
    for result in run.results:
        assert math.isfinite(result.train_loss)
        assert math.isfinite(result.validation_loss)
        assert 0 <= result.validation_accuracy <= 1
        assert result.lr == learning_rate(RECIPE, result.epoch * STEPS - 1, STEPS)


def test_the_same_seed_gives_the_same_numbers_bit_for_bit(uninterrupted: tuple[Run, dict[str, Tensor]]) -> None:
    run, weights = uninterrupted
    model = network()
    torch.manual_seed(99)  # what else is random in the process does not count
    assert train(model, TRAIN, VALIDATION).results == run.results
    assert same(state(model), weights)


def test_another_seed_gives_other_numbers(uninterrupted: tuple[Run, dict[str, Tensor]]) -> None:
    run, weights = uninterrupted
    model = network()
    assert train(model, TRAIN, VALIDATION, seed=1).results != run.results
    assert not same(state(model), weights)


@pytest.mark.parametrize("done", [1, 2, 3])
def test_a_training_that_was_stopped_goes_on_from_its_file_as_if_it_had_not_been(
    done: int, uninterrupted: tuple[Run, dict[str, Tensor]]
) -> None:
    run, weights = uninterrupted
    stopped = Run()
    with pytest.raises(Stopped):  # in the middle of the next epoch, whose first step is lost
        train(network(), TRAIN, VALIDATION, stop_at=done * STEPS + 2, run=stopped)
    assert stopped.results == run.results[:done]

    model = network(seed=5)  # its own weights do not matter
    resumed = train(model, TRAIN, VALIDATION, resume=Checkpoint.from_bytes(stopped.checkpoints[-1]))
    assert resumed.results == run.results[done:]
    assert same(state(model), weights)
    assert resumed.checkpoints == run.checkpoints[done:]


def test_a_training_that_was_over_has_nothing_to_go_on_with(uninterrupted: tuple[Run, dict[str, Tensor]]) -> None:
    run, weights = uninterrupted
    model = network(seed=5)
    assert train(model, TRAIN, VALIDATION, resume=Checkpoint.from_bytes(run.checkpoints[-1])).results == []
    assert same(state(model), weights)


def test_taking_checkpoints_changes_nothing(uninterrupted: tuple[Run, dict[str, Tensor]]) -> None:
    _, weights = uninterrupted
    model = network()
    fit(model, TRAIN, VALIDATION, RECIPE, seed=0, on_epoch=lambda *_: True, should_stop=lambda: False)
    assert same(state(model), weights)


def test_what_is_validated_on_does_not_change_the_training(uninterrupted: tuple[Run, dict[str, Tensor]]) -> None:
    run, weights = uninterrupted
    model = network()
    other = Batchable(255 - VALIDATION.images[:7], VALIDATION.labels[:7])
    results = train(model, TRAIN, other).results
    assert same(state(model), weights)
    assert [result.train_loss for result in results] == [result.train_loss for result in run.results]
    assert [result.validation_loss for result in results] != [result.validation_loss for result in run.results]


def test_validation_leaves_the_network_as_it_was() -> None:
    model, normalise = network(), Normalise.of(TRAIN.images)
    before = state(model)
    loss, metrics = evaluate(model.train(), normalise, VALIDATION, OBJECTIVE)
    assert same(state(model), before)
    assert all(parameter.grad is None for parameter in model.parameters())
    with torch.no_grad():
        logits = model.eval()(normalise(VALIDATION.images))
    assert loss == pytest.approx(F.cross_entropy(logits, VALIDATION.labels).item(), rel=1e-5)
    assert metrics["accuracy"] == (logits.argmax(1) == VALIDATION.labels).double().mean().item()


class Counting(nn.Module):
    """Logits that count what was seen at once: the sum of all pixels of the image, and the size of the batch."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([images.float().sum(dim=(1, 2, 3)), torch.full((len(images),), float(len(images)))], dim=1)


@pytest.mark.parametrize("count", [1, 512, 513, 1_200])
def test_predictions_come_in_the_order_of_the_images_from_batches_of_bounded_size(count: int) -> None:
    images = torch.randint(0, 256, (count, 1, 2, 2), dtype=torch.uint8)
    found = predict(Counting(), images)
    assert torch.equal(found[:, 0], images.float().sum(dim=(1, 2, 3)))
    assert found[:, 1].max() <= 512


def test_a_training_that_diverges_is_ended_with_its_epoch() -> None:
    run = Run()
    with pytest.raises(Diverged, match=r"loss became (nan|inf) in epoch") as caught:
        train(network(), TRAIN, VALIDATION, change(RECIPE, lr=1e20), run=run)
    assert caught.value.epoch == len(run.results) + 1


def test_a_network_of_infinite_weights_diverges_in_the_first_epoch() -> None:
    model = network()
    with torch.no_grad():
        next(model.parameters()).fill_(float("inf"))
    run = Run()
    with pytest.raises(Diverged) as caught:
        train(model, TRAIN, VALIDATION, run=run)
    assert caught.value.epoch == 1
    assert run.results == []


def test_what_is_reported_is_finite_also_when_the_last_step_breaks_the_network() -> None:
    run = Run()
    with pytest.raises(Diverged):
        train(network(), TRAIN, VALIDATION, change(RECIPE, epochs=1, batch_size=len(TRAIN), lr=1e20), run=run)
    assert run.results == []


@pytest.mark.parametrize("at", [1, STEPS, STEPS + 1, 4 * STEPS])
def test_a_training_stops_before_the_step_at_which_it_is_told_to(at: int) -> None:
    run = Run()
    with pytest.raises(Stopped):
        train(network(), TRAIN, VALIDATION, stop_at=at, run=run)
    assert len(run.results) == (at - 1) // STEPS


def test_a_training_that_is_told_to_stop_at_once_has_changed_nothing() -> None:
    model = network()
    before = state(model)
    with pytest.raises(Stopped):
        train(model, TRAIN, VALIDATION, stop_at=1)
    assert same(state(model), before)


def test_a_training_asks_before_every_step_whether_to_stop() -> None:
    asked: list[bool] = []

    def should_stop() -> bool:
        asked.append(True)
        return False

    fit(network(), TRAIN, VALIDATION, RECIPE, seed=0, on_epoch=lambda *_: True, should_stop=should_stop)
    assert len(asked) == RECIPE.epochs * STEPS


def test_a_training_ends_early_when_the_epoch_was_not_good_enough(
    uninterrupted: tuple[Run, dict[str, Tensor]],
) -> None:
    run, _ = uninterrupted
    model, seen = network(), Run()
    fit(
        model,
        TRAIN,
        VALIDATION,
        RECIPE,
        seed=0,
        on_epoch=lambda result, checkpoint: seen.on_epoch(result, checkpoint) and result.epoch < 2,
        should_stop=lambda: False,
    )
    assert seen.results == run.results[:2]
    assert same(state(model), Checkpoint.from_bytes(run.checkpoints[1]).network)


def test_fewer_images_than_a_batch_are_one_step() -> None:
    few = Batchable(TRAIN.images[:10], TRAIN.labels[:10])
    results = train(network(), few, VALIDATION, Recipe(epochs=2, batch_size=64)).results
    assert [result.epoch for result in results] == [1, 2]


def test_a_small_network_learns_the_digits_in_three_epochs() -> None:
    all_train, all_validation = digits(1_149)
    results = train(network(cells=2), all_train, all_validation, Recipe.for_images((1, 8, 8), epochs=3)).results
    assert results[-1].validation_accuracy > 0.5  # chance is 0.1
    assert results[-1].validation_loss < results[0].validation_loss
    assert results[-1].train_loss < results[0].train_loss


class Linear(nn.Module):
    """The smallest network with a matrix and a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(x.flatten(1))
        return logits


class Watching(Linear):
    """Keeps what it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen.append(x.detach().clone())
        return super().forward(x)


def seen_in(recipe: Recipe) -> list[Tensor]:
    """The images that each epoch trained on, in their order: [images, pixels]."""
    model = Watching()
    train(model, TRAIN, VALIDATION, recipe)
    seen = torch.cat(model.seen).flatten(1)
    return list(seen.chunk(recipe.epochs))


def test_every_epoch_sees_every_image_once_in_an_order_of_its_own() -> None:
    normalised = Normalise.of(TRAIN.images)(TRAIN.images).flatten(1)
    epochs = seen_in(change(RECIPE, epochs=3, batch_size=50, shift=0))
    orders = [torch.cdist(seen, normalised).argmin(dim=1).tolist() for seen in epochs]
    assert all(sorted(order) == list(range(len(TRAIN))) for order in orders)
    assert list(range(len(TRAIN))) not in orders
    assert len({tuple(order) for order in orders}) == 3


def test_images_that_make_no_whole_batch_wait_for_the_next_epoch() -> None:
    epochs = seen_in(change(RECIPE, epochs=2, batch_size=64, shift=0))
    assert [len(seen) for seen in epochs] == [192, 192]


def test_every_batch_is_shifted_by_offsets_of_its_own() -> None:
    recipe = change(RECIPE, epochs=2, batch_size=50, shift=1)
    alike = torch.zeros(len(TRAIN), 1, 8, 8, dtype=torch.uint8)
    alike[:, :, 4, 4] = 16
    model = Watching()
    train(model, Batchable(alike, TRAIN.labels), VALIDATION, recipe)
    places = [tuple(batch.flatten(1).argmax(dim=1).tolist()) for batch in model.seen]
    assert len(set(places)) == len(places) == 8
    assert {place for batch in places for place in batch} == {
        8 * row + column for row in (3, 4, 5) for column in (3, 4, 5)
    }


def test_the_training_loss_is_the_mean_over_the_steps() -> None:
    model = Linear()
    recipe = change(RECIPE, epochs=1, batch_size=50, lr=1e-12, shift=0, label_smoothing=0.0)
    [result] = train(model, TRAIN, VALIDATION, recipe).results
    loss, _ = evaluate(model, Normalise.of(TRAIN.images), TRAIN, OBJECTIVE)
    assert result.train_loss == pytest.approx(loss, rel=1e-5)


def test_predictions_keep_no_gradients() -> None:
    assert not predict(nn.Sequential(Normalise.of(TRAIN.images), network()), TRAIN.images).requires_grad


@pytest.mark.parametrize("clip_norm", [0.01, 1e9])
def test_two_steps_are_those_that_one_would_compute_by_hand(clip_norm: float) -> None:
    recipe = Recipe(
        epochs=2,
        batch_size=len(TRAIN),
        lr=0.1,
        warmup=0.5,
        momentum=0.9,
        weight_decay=0.01,
        clip_norm=clip_norm,
        label_smoothing=0.2,
        shift=0,
    )
    model = Linear()
    weight, bias = (parameter.detach().double().clone() for parameter in model.parameters())
    results = train(model, TRAIN, VALIDATION, recipe).results

    pixels = TRAIN.images.double().flatten(1)
    x = (pixels - pixels.mean()) / pixels.std(correction=0)
    target = F.one_hot(TRAIN.labels, 10).double() * 0.8 + 0.02
    losses = []
    momentum_w, momentum_b = torch.zeros_like(weight), torch.zeros_like(bias)
    for _ in range(2):  # one step is warm-up and takes the whole rate; half a cosine begins with the whole rate
        logits = x @ weight.T + bias
        losses.append(-(target * logits.log_softmax(1)).sum(1).mean().item())
        at_logits = (logits.softmax(1) - target) / len(x)
        grad_w, grad_b = at_logits.T @ x, at_logits.sum(0)
        shrink = min(1.0, clip_norm / float((grad_w.square().sum() + grad_b.square().sum()).sqrt()))
        grad_w, grad_b = grad_w * shrink + 0.01 * weight, grad_b * shrink
        momentum_w, momentum_b = 0.9 * momentum_w + grad_w, 0.9 * momentum_b + grad_b
        weight, bias = weight - 0.1 * (grad_w + 0.9 * momentum_w), bias - 0.1 * (grad_b + 0.9 * momentum_b)

    assert [result.train_loss for result in results] == pytest.approx(losses, rel=1e-5)
    torch.testing.assert_close(model.layer.weight.detach().double(), weight, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.layer.bias.detach().double(), bias, rtol=1e-4, atol=1e-5)


class Indifferent(nn.Module):
    """A network whose loss depends on none of its parameters: only weight decay moves them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 10)])

    def forward(self, x: Tensor) -> Tensor:
        nothing = sum((0 * parameter.sum() for parameter in self.parameters()), torch.zeros(()))
        return torch.zeros(len(x), 10) + nothing


def test_weight_decay_shrinks_kernels_and_matrices_and_leaves_biases_and_norms_alone() -> None:
    model = Indifferent()
    before = state(model)
    train(model, TRAIN, VALIDATION, change(RECIPE, weight_decay=0.1))
    after = state(model)
    for name in ("layers.0.weight", "layers.2.weight"):
        assert 0 < float(after[name].norm()) < 0.95 * float(before[name].norm())
    for name in ("layers.0.bias", "layers.1.weight", "layers.1.bias", "layers.2.bias"):
        assert torch.equal(after[name], before[name])
