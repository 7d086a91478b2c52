"""Averages of weights against torch's own, and what a training that averages ends with."""

import copy

import pytest
import torch
from torch import Tensor, nn, optim
from torch.optim import swa_utils

from nas.data.tensors import Normalise
from nas.seeds import derive
from nas.train.averaging import Average, refit_batch_norms
from nas.train.checkpoint import Checkpoint
from nas.train.loop import evaluate
from nas.train.losses import Objective
from nas.train.recipe import Recipe
from tests.train.runs import Run, change, digits, network, same, small, state, train

TRAIN, VALIDATION = digits(60)
NORMALISED = Normalise.of(TRAIN.images)(TRAIN.images)
RECIPE = Recipe(epochs=6, batch_size=20, shift=1, lr=0.05)
OBJECTIVE = Objective.of(RECIPE, "single_label", TRAIN.labels, 10)


def steps(model: nn.Module, count: int) -> None:
    """Trains a little, so that weights and buffers differ."""
    optimizer = optim.SGD(model.parameters(), 0.1)
    for _ in range(count):
        optimizer.zero_grad()
        model.train()(NORMALISED[:20]).square().mean().backward()
        optimizer.step()


def close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name in found:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6, msg=name)


def test_a_plain_average_is_that_of_torch() -> None:
    model = small()
    average = Average(model, None)
    theirs = swa_utils.AveragedModel(model)
    for _ in range(5):
        steps(model, 1)
        average.update()
        theirs.update_parameters(model)
    for name, parameter in theirs.module.named_parameters():
        torch.testing.assert_close(average.state[name], parameter.detach())


@pytest.mark.parametrize("decay", [0.15, 0.5, 0.999])
def test_an_exponential_average_is_that_of_torch_with_a_decay_that_grows_to_its_own(decay: float) -> None:
    def mean(before: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
        now = min(decay, (1 + int(count)) / (10 + int(count)))
        return now * before + (1 - now) * new

    model = small()
    average = Average(model, decay)
    theirs = swa_utils.AveragedModel(model, avg_fn=mean)
    for _ in range(12):
        steps(model, 1)
        average.update()
        theirs.update_parameters(model)
    for name, parameter in theirs.module.named_parameters():
        torch.testing.assert_close(average.state[name], parameter.detach())
    with average.shown():  # torch's keeps the buffers of the network as they are, too
        expected = {name: tensor.detach() for name, tensor in theirs.module.state_dict().items()}
        close(state(model), expected | dict(model.named_buffers()))


@pytest.mark.parametrize("broken", [False, True])
def test_a_network_that_shows_its_average_is_itself_again_afterwards(broken: bool) -> None:
    model = small()
    average = Average(model, 0.9)
    average.update()
    steps(model, 2)
    before = state(model)
    weight = model[0].weight
    with pytest.raises(KeyError) if broken else torch.no_grad(), average.shown():
        assert not torch.equal(model.state_dict()["0.weight"], before["0.weight"])
        shown = model.state_dict()["1.running_mean"]
        assert torch.equal(shown, before["1.running_mean"])
        shown.fill_(7.0)
        if broken:
            raise KeyError
    assert same(state(model), before)
    assert model[0].weight is weight
    assert bool((average.state["1.running_mean"] == 7.0).all()) is not broken


def test_a_layer_that_is_used_twice_is_averaged_too() -> None:
    layer = nn.Linear(64, 64)
    model = nn.Sequential(nn.Flatten(), layer, layer)
    average = Average(model, None)
    first = state(model)["1.weight"]
    average.update()
    steps(model, 1)
    average.update()
    mean = (first + state(model)["1.weight"]) / 2
    with average.shown():
        torch.testing.assert_close(state(model)["1.weight"], mean)
        torch.testing.assert_close(state(model)["2.weight"], mean)


def test_the_statistics_of_batch_norms_are_measured_as_torch_does() -> None:
    model = network()
    steps(model, 3)
    theirs = copy.deepcopy(model)
    batches = list(NORMALISED.split(20))
    swa_utils.update_bn(batches, theirs)
    momenta = [module.momentum for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    refit_batch_norms(model, batches)
    close(state(model), state(theirs))
    assert [module.momentum for module in model.modules() if isinstance(module, nn.BatchNorm2d)] == momenta
    assert not any(module.training for module in model.modules())


def test_what_is_dropped_in_training_is_not_dropped_from_the_statistics() -> None:
    model = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm2d(1))
    refit_batch_norms(model, [NORMALISED])
    mean: Tensor = model[1].running_mean  # type: ignore[assignment]
    variance: Tensor = model[1].running_var  # type: ignore[assignment]
    assert mean.item() == pytest.approx(NORMALISED.mean().item(), abs=1e-6)
    assert variance.item() == pytest.approx(NORMALISED.var().item(), rel=1e-4)


def test_norms_that_have_to_stay_are_left_alone() -> None:
    model = nn.Sequential(nn.BatchNorm2d(1), nn.BatchNorm2d(1))
    before = state(model)
    refit_batch_norms(model, [NORMALISED], still=[model[0]])
    after = state(model)
    assert torch.equal(after["0.running_var"], before["0.running_var"])
    assert not torch.equal(after["1.running_var"], before["1.running_var"])


def raw(run: Run) -> list[dict[str, Tensor]]:
    """The weights at the end of each epoch as they are trained."""
    return [Checkpoint.from_bytes(content).network for content in run.checkpoints]


def norms_aside(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("1.") or "running" not in name}


def test_a_training_ends_with_the_mean_of_its_last_epochs_and_fitting_statistics() -> None:
    model, run = small(), Run()
    train(model, TRAIN, VALIDATION, change(RECIPE, swa=0.5), run=run)
    found = state(model)
    last = raw(run)[3:]
    for name in ("0.weight", "0.bias", "1.weight", "1.bias", "5.weight", "5.bias"):
        torch.testing.assert_close(found[name], sum((epoch[name] for epoch in last), torch.zeros(())) / 3)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(derive(0, "epoch", 5)))
    theirs = copy.deepcopy(model)
    swa_utils.update_bn(NORMALISED[order].split(20), theirs)
    close(found, state(theirs))


def test_an_exponential_average_takes_every_step_in() -> None:
    """One step an epoch, so that the checkpoints hold the weights after each."""
    model, run = small(), Run()
    train(model, TRAIN, VALIDATION, change(RECIPE, ema=0.25, batch_size=60), run=run)
    steps_done = raw(run)
    expected = steps_done[0]["5.weight"]
    for count, epoch in enumerate(steps_done[1:], start=1):
        decay = min(0.25, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * epoch["5.weight"]
    torch.testing.assert_close(state(model)["5.weight"], expected)
    assert torch.equal(state(model)["1.running_mean"], steps_done[-1]["1.running_mean"])


@pytest.mark.parametrize("fields", [{}, {"ema": 0.9}, {"swa": 0.5}, {"ema": 0.9, "swa": 0.2}])
def test_what_validation_saw_last_is_what_the_network_is_left_with(fields: dict[str, float]) -> None:
    model, run = small(), Run()
    train(model, TRAIN, VALIDATION, change(RECIPE, **fields), run=run)
    loss, metrics = evaluate(model, Normalise.of(TRAIN.images), VALIDATION, OBJECTIVE)
    assert run.results[-1].validation_loss == loss
    assert run.results[-1].metrics == metrics
    assert run.results[-1].validation_accuracy == metrics["accuracy"]


def test_averaging_does_not_touch_what_is_trained() -> None:
    """But for the learning rate at the end, where weights are averaged over epochs."""
    runs = []
    for fields in ({}, {"ema": 0.9}, {"swa": 0.5}):
        run = Run()
        train(small(dropout=0.3), TRAIN, VALIDATION, change(RECIPE, **fields), run=run)
        runs.append(run)
    plain, exponential, last = map(raw, runs)
    assert all(same(one, other) for one, other in zip(plain, exponential, strict=True))
    assert all(same(one, other) for one, other in zip(plain[:3], last[:3], strict=True))
    assert [result.train_loss for result in runs[0].results] == [result.train_loss for result in runs[1].results]
    assert [result.validation_loss for result in runs[0].results] != [
        result.validation_loss for result in runs[1].results
    ]


def test_with_both_averages_the_one_over_epochs_is_the_result_as_soon_as_there_is_one() -> None:
    both, exponential, last = Run(), Run(), Run()
    train(small(), TRAIN, VALIDATION, change(RECIPE, ema=0.9, swa=0.5), run=both)
    train(small(), TRAIN, VALIDATION, change(RECIPE, ema=0.9), run=exponential)
    train(small(), TRAIN, VALIDATION, change(RECIPE, swa=0.5), run=last)
    assert both.results[:3] == exponential.results[:3]
    assert both.results[3:] == last.results[3:]


def test_a_training_that_ends_before_the_last_epochs_has_no_mean_of_them() -> None:
    class TwoEpochs(Run):
        def on_epoch(self, *args: object) -> bool:
            return super().on_epoch(*args) and len(self.results) < 2  # type: ignore[arg-type]

    model, run = small(), TwoEpochs()
    train(model, TRAIN, VALIDATION, change(RECIPE, swa=0.5), run=run)
    assert same(state(model), raw(run)[1])


def test_early_stopping_waits_and_goes_back_to_the_best_epoch() -> None:
    recipe = change(RECIPE, epochs=30, lr=2.0, schedule="constant", warmup=0.0)
    full = Run()
    train(small(), TRAIN, VALIDATION, recipe, run=full)
    scores = [result.validation_accuracy for result in full.results]
    for wait in (1, 2, 4):
        expected = next(
            epoch
            for epoch in range(wait, 31)
            if epoch == 30 or max(scores[: epoch + 1 - wait]) >= max(scores[: epoch + 1])
        )
        model, run = small(), Run()
        train(model, TRAIN, VALIDATION, change(recipe, early_stop=wait), run=run)
        assert run.results == full.results[: expected + 1]
        best = max(range(len(run.results)), key=lambda epoch: (scores[epoch], -epoch))
        assert best < len(run.results) - 1
        assert same(state(model), raw(full)[best])


def test_early_stopping_that_never_stops_keeps_the_best_epoch_too() -> None:
    recipe = change(RECIPE, epochs=4, lr=2.0, schedule="constant", warmup=0.0, early_stop=100)
    for seed in range(3):
        model, run = small(), Run()
        train(model, TRAIN, VALIDATION, recipe, run=run, seed=seed)
        scores = [result.validation_accuracy for result in run.results]
        assert same(state(model), raw(run)[scores.index(max(scores))])


def test_the_best_epoch_of_averages_is_an_average() -> None:
    recipe = change(RECIPE, epochs=4, lr=2.0, schedule="constant", warmup=0.0, early_stop=100, ema=0.8)
    model, run = small(), Run()
    train(model, TRAIN, VALIDATION, recipe, run=run)
    loss, metrics = evaluate(model, Normalise.of(TRAIN.images), VALIDATION, OBJECTIVE)
    best = max(run.results, key=lambda result: (result.validation_accuracy, -result.epoch))
    assert (best.validation_loss, best.metrics) == (loss, metrics)
