"""Schedules against torch's own classes, step by step, and against what is said of them."""

import math
import random
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn, optim
from torch.optim import lr_scheduler, swa_utils

from nas.train.checkpoint import Checkpoint
from nas.train.recipe import Recipe
from nas.train.schedules import SCHEDULES, Stage, Watch, learning_rate
from tests.train.runs import Run, change, digits, small, state, train

EPOCHS, STEPS = 12, 5
"""Of all trainings here, and steps an epoch."""


def rates(recipe: Recipe, steps_an_epoch: int = STEPS) -> list[float]:
    return [learning_rate(recipe, step, steps_an_epoch) for step in range(recipe.epochs * steps_an_epoch)]


def of_torch(count: int, make: Callable[[optim.Optimizer], Any], lr: float = 0.4) -> list[float]:
    """The learning rates that a scheduler of torch gives to so many steps, one call each."""
    optimizer = optim.SGD([nn.Parameter(torch.zeros(1))], lr)
    scheduler = make(optimizer)
    found = []
    for _ in range(count):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return found


def each(epochs: Iterable[float]) -> list[float]:
    """One rate an epoch as one a step."""
    return [rate for rate in epochs for _ in range(STEPS)]


def recipe_of(schedule: str, **fields: Any) -> Recipe:
    return Recipe.model_validate({"epochs": EPOCHS, "lr": 0.4, "warmup": 0.0, "schedule": schedule} | fields)


@pytest.mark.parametrize(
    ("recipe", "scheduler"),
    [
        (recipe_of("step", period=5, gamma=0.3), lambda opt: lr_scheduler.StepLR(opt, 5, 0.3)),
        (
            recipe_of("multi_step", milestones=(0.25, 0.5, 0.75), gamma=0.3),
            lambda opt: lr_scheduler.MultiStepLR(opt, [3, 6, 9], 0.3),
        ),
        (recipe_of("exponential", gamma=0.7), lambda opt: lr_scheduler.ExponentialLR(opt, 0.7)),
        (
            recipe_of("multiplicative", gamma=0.2),
            lambda opt: lr_scheduler.MultiplicativeLR(opt, lambda e: 0.2 ** (2 * e / (EPOCHS * (EPOCHS + 1)))),
        ),
        (recipe_of("constant"), lambda opt: lr_scheduler.ConstantLR(opt, 1.0)),
    ],
    ids=lambda value: value.schedule if isinstance(value, Recipe) else "",
)
def test_schedules_by_epochs_are_those_of_torch(recipe: Recipe, scheduler: Callable[[Any], Any]) -> None:
    assert rates(recipe) == pytest.approx(each(of_torch(EPOCHS, scheduler)), rel=1e-9)


@pytest.mark.parametrize(
    ("recipe", "scheduler"),
    [
        (recipe_of("cosine"), lambda opt: lr_scheduler.CosineAnnealingLR(opt, EPOCHS * STEPS)),
        (recipe_of("cosine", lr_floor=0.1), lambda opt: lr_scheduler.CosineAnnealingLR(opt, EPOCHS * STEPS, 0.04)),
        (
            recipe_of("cosine_restarts", period=2, cycle_growth=2, lr_floor=0.1),
            lambda opt: lr_scheduler.CosineAnnealingWarmRestarts(opt, 2 * STEPS, 2, 0.04),
        ),
        (
            recipe_of("cosine_restarts", period=5, cycle_growth=1),
            lambda opt: lr_scheduler.CosineAnnealingWarmRestarts(opt, 5 * STEPS, 1),
        ),
        (
            recipe_of("cosine_restarts", period=1, cycle_growth=3),
            lambda opt: lr_scheduler.CosineAnnealingWarmRestarts(opt, STEPS, 3),
        ),
        (
            recipe_of("cyclic", period=4, lr_floor=0.25),
            lambda opt: lr_scheduler.CyclicLR(opt, 0.1, 0.4, 2 * STEPS, cycle_momentum=False),
        ),
        (
            recipe_of("cyclic", period=3),  # the peak is between two steps
            lambda opt: lr_scheduler.CyclicLR(opt, 0.0, 0.4, 1.5 * STEPS, cycle_momentum=False),  # type: ignore[arg-type]
        ),
        (
            recipe_of("one_cycle", lr_floor=0.01),
            lambda opt: lr_scheduler.OneCycleLR(opt, 0.4, EPOCHS * STEPS, cycle_momentum=False, final_div_factor=4.0),
        ),
        (
            recipe_of("one_cycle"),
            lambda opt: lr_scheduler.OneCycleLR(
                opt, 0.4, EPOCHS * STEPS, cycle_momentum=False, final_div_factor=math.inf
            ),
        ),
    ],
    ids=lambda value: value.schedule if isinstance(value, Recipe) else "",
)
def test_schedules_by_steps_are_those_of_torch(recipe: Recipe, scheduler: Callable[[Any], Any]) -> None:
    expected = of_torch(EPOCHS * STEPS - 1, scheduler)  # OneCycleLR cannot be asked for one step more
    assert rates(recipe)[:-1] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_one_cycle_ends_at_the_floor() -> None:
    assert rates(recipe_of("one_cycle", lr_floor=0.01))[-1] == pytest.approx(0.004)


@pytest.mark.parametrize("patience", [0, 1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_a_plateau_is_one_when_torch_says_so(patience: int, seed: int) -> None:
    rng = random.Random(seed)
    recipe = recipe_of("plateau", gamma=0.5, patience=patience, lr_floor=0.01)
    optimizer = optim.SGD([nn.Parameter(torch.zeros(1))], 0.4)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, "max", 0.5, patience, threshold=0.0, min_lr=0.004, eps=0.0)
    watch = Watch()
    for _ in range(60):
        score = rng.choice([-0.5, 0.0, 0.1, 0.2, 0.3, 0.5]) + rng.random() * rng.choice([0.0, 0.1])
        scheduler.step(score)
        watch = watch.after(score, patience)
        rate = learning_rate(recipe, 7, STEPS, watch.reductions)
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
    assert watch.reductions > 3


def test_early_stopping_counts_the_epochs_since_the_best_one_through_all_reductions() -> None:
    watch = Watch()
    found = []
    for score in (0.2, 0.1, 0.2, 0.3, 0.1, 0.1, 0.3, 0.2):
        watch = watch.after(score, patience=1)
        found.append((watch.best, watch.stale, watch.reductions))
    assert [stale for _, stale, _ in found] == [0, 1, 2, 0, 1, 2, 3, 4]
    assert [reductions for _, _, reductions in found] == [0, 0, 1, 1, 1, 2, 2, 3]
    assert watch.best == 0.3


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_warm_up_climbs_linearly_and_the_schedule_runs_over_the_rest(schedule: str) -> None:
    fields = {"period": 2, "lr_floor": 0.1, "gamma": 0.5}
    whole = rates(recipe_of(schedule, warmup=0.25, **fields))
    climb, rest = whole[: EPOCHS * STEPS // 4], whole[EPOCHS * STEPS // 4 :]
    assert climb == pytest.approx([0.4 * (step + 1) / len(climb) for step in range(len(climb))])
    assert rest == pytest.approx(rates(change(recipe_of(schedule, **fields), epochs=9)))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.13, 1.0])
def test_every_learning_rate_is_between_nothing_and_the_peak(schedule: str, warmup: float) -> None:
    recipe = recipe_of(schedule, warmup=warmup, period=3, swa=0.3)
    for steps_an_epoch in (1, 2, 7):
        assert all(0 <= rate <= 0.4 * (1 + 1e-12) for rate in rates(recipe, steps_an_epoch))
        assert 0 <= learning_rate(change(recipe, epochs=1), 0, 1) <= 0.4


@pytest.mark.parametrize(("swa", "annealing"), [(0.5, 10), (0.1, 2), (0.75, 10)])
def test_averaging_brings_the_rate_to_its_own_as_torch_does(swa: float, annealing: int) -> None:
    epochs = 40
    recipe = recipe_of("cosine", epochs=epochs, swa=swa, swa_lr=0.6)
    optimizer = optim.SGD([nn.Parameter(torch.zeros(1))], 0.4)
    cosine = lr_scheduler.CosineAnnealingLR(optimizer, epochs * STEPS)
    averaging = swa_utils.SWALR(optimizer, swa_lr=0.24, anneal_epochs=annealing * STEPS)
    expected: list[float] = []
    first = round((1 - swa) * epochs) * STEPS
    optimizer.param_groups[0]["lr"] = 0.4  # the second scheduler has begun, too
    for step in range(epochs * STEPS):
        if step == first:
            optimizer.param_groups[0]["lr"] = expected[-1]
        if step >= first:
            optimizer.step()
            averaging.step()
        expected.append(float(optimizer.param_groups[0]["lr"]))
        if step < first:
            optimizer.step()
            cosine.step()
    assert rates(recipe) == pytest.approx(expected, rel=1e-6)
    assert rates(recipe)[-1] == pytest.approx(0.24)


@pytest.mark.parametrize(
    ("epochs", "swa", "start"), [(10, 0.0, 10), (10, 0.25, 8), (20, 0.25, 15), (10, 0.99, 1), (3, 0.01, 2), (1, 0.5, 1)]
)
def test_the_share_of_the_epochs_that_are_averaged_is_a_whole_number_of_them(
    epochs: int, swa: float, start: int
) -> None:
    assert Stage.of(Recipe(epochs=epochs, swa=swa), 0) == Stage(0, epochs, start)


def test_the_learning_rate_climbs_linearly_to_its_peak_and_falls_by_half_a_cosine() -> None:
    found = rates(Recipe(epochs=10, lr=0.4, warmup=0.1), 10)
    assert found[0] == pytest.approx(0.04)
    assert found[4] == pytest.approx(0.2)
    assert found[9] == found[10] == 0.4
    assert found[55] == pytest.approx(0.2)  # half the cosine, at 10 + 90 / 2
    assert found[99] == pytest.approx(0.4 * (1 + math.cos(math.pi * 89 / 90)) / 2)
    assert found[:10] == sorted(found[:10])
    assert found[10:] == sorted(found[10:], reverse=True)


def test_the_last_learning_rate_is_almost_nothing() -> None:
    assert 0 < learning_rate(Recipe(epochs=10, lr=0.1), 999, 100) < 1e-6


def test_without_warm_up_the_first_learning_rate_is_the_peak() -> None:
    recipe = Recipe(epochs=10, lr=0.3, warmup=0.0)
    assert learning_rate(recipe, 0, 10) == 0.3
    assert learning_rate(recipe, 50, 10) == pytest.approx(0.15)


def test_with_nothing_but_warm_up_the_last_learning_rate_is_the_peak() -> None:
    assert rates(Recipe(epochs=1, lr=0.3, warmup=1.0), 3) == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize("warmup", [0.0, 0.1, 1.0])
def test_a_training_of_one_step_takes_it_at_the_peak(warmup: float) -> None:
    assert learning_rate(Recipe(epochs=1, lr=0.3, warmup=warmup), 0, 1) == 0.3


def test_a_part_of_a_step_of_warm_up_is_a_whole_one() -> None:
    assert rates(Recipe(epochs=1, lr=0.3, warmup=0.1), 11)[:3] == pytest.approx([0.15, 0.3, 0.3])


def test_a_training_whose_scores_stagnate_goes_on_at_a_smaller_rate() -> None:
    images, validation = digits(60)
    recipe = Recipe(epochs=6, batch_size=30, schedule="plateau", warmup=0.0, gamma=0.5, patience=1, lr=1e-9)
    model, run = small(), Run()
    before = state(model)["5.weight"]
    train(model, images, validation, recipe, run=run)
    assert torch.allclose(before, state(model)["5.weight"], atol=1e-6)  # nothing is learnt, so that nothing improves
    assert [result.lr / 1e-9 for result in run.results] == pytest.approx([1, 1, 1, 0.5, 0.5, 0.25])


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle", "multi_step", "constant", "plateau"])
@pytest.mark.parametrize("warmup", [0.0, 0.2])
@pytest.mark.parametrize("swa", [0.0, 0.4])
def test_each_stage_is_a_training_of_its_own_length(schedule: str, warmup: float, swa: float) -> None:
    recipe = recipe_of(schedule, warmup=warmup, swa=swa, lr_floor=0.1, rungs=(2, 5))
    stages = [rates(change(recipe, epochs=epochs, rungs=())) for epochs in (2, 3, EPOCHS - 5)]
    assert rates(recipe) == pytest.approx([rate for stage in stages for rate in stage])


@pytest.mark.parametrize("schedule", ["step", "exponential", "multiplicative", "cyclic", "cosine_restarts"])
def test_what_is_counted_in_epochs_is_compressed_into_each_stage(schedule: str) -> None:
    """A stage of a quarter of the epochs takes every fourth rate of a training without rungs."""
    fields = {"gamma": 0.7, "period": 4, "cycle_growth": 1}
    whole, staged = rates(recipe_of(schedule, **fields), 4), rates(recipe_of(schedule, rungs=(3, 9), **fields), 4)
    assert staged[:12] == pytest.approx(whole[::4])
    assert staged[12:36] == pytest.approx(whole[::2])
    assert staged[36:] == pytest.approx(whole[::4])


@pytest.mark.parametrize("rungs", [(1,), (4, 9), (1, 2, 11)])
def test_every_rung_ends_annealed_and_the_next_stage_climbs_to_the_peak(rungs: tuple[int, ...]) -> None:
    found = rates(recipe_of("cosine", warmup=0.1, rungs=rungs), 20)
    for begin, end in pairwise((0, *rungs, EPOCHS)):
        stage = found[begin * 20 : end * 20]
        assert stage[-1] < 0.01 * 0.4
        assert max(stage) == 0.4
        assert stage[0] <= 0.4 / 2


def test_without_rungs_there_is_one_stage() -> None:
    recipe = recipe_of("cosine", swa=0.25)
    assert {Stage.of(recipe, epoch) for epoch in range(EPOCHS)} == {Stage(0, EPOCHS, 9)}


def test_each_stage_averages_its_own_last_epochs_but_never_its_only_one() -> None:
    recipe = recipe_of("cosine", swa=0.4, rungs=(1, 6))
    stages = [Stage.of(recipe, epoch) for epoch in range(EPOCHS)]
    assert stages == [Stage(0, 1, 1)] + 5 * [Stage(1, 6, 4)] + 6 * [Stage(6, 12, 10)]


def test_a_stage_begins_with_no_reductions_and_nothing_stale_but_the_best_of_all_stays() -> None:
    watch = Watch()
    for score in (0.5, 0.4, 0.4):
        watch = watch.after(score, patience=0)
    assert (watch.stale, watch.reductions) == (2, 2)
    watch = watch.in_next_stage()
    assert (watch.best, watch.stale, watch.reductions, watch.waited) == (0.5, 0, 0, 0)
    for score in (0.1, 0.2, 0.3):  # worse than the last stage, and still better each time
        watch = watch.after(score, patience=0)
        assert (watch.best, watch.stale, watch.reductions) == (0.5, 0, 0)
    assert watch.after(0.2, patience=0).reductions == 1
    assert watch.after(0.6, patience=0).best == 0.6


def test_a_plateau_is_forgotten_at_a_rung() -> None:
    images, validation = digits(60)
    recipe = Recipe(epochs=6, batch_size=30, schedule="plateau", warmup=0.0, gamma=0.5, patience=0, lr=1e-9, rungs=(3,))
    run = train(small(), images, validation, recipe)  # nothing is learnt, so that nothing improves
    assert [result.lr / 1e-9 for result in run.results] == pytest.approx([1, 1, 0.5, 1, 1, 0.5])


def test_an_average_over_epochs_begins_anew_at_a_rung() -> None:
    images, validation = digits(60)
    recipe = Recipe(epochs=6, batch_size=30, swa=0.5, rungs=(2,))
    snapshots = [Checkpoint.from_bytes(file) for file in train(small(), images, validation, recipe).checkpoints]
    assert [found.facts["counts"]["swa"] for found in snapshots] == [0, 1, 0, 0, 1, 2]
    weights = [found.network["0.weight"] for found in snapshots]
    assert torch.allclose(snapshots[5].networks["swa"]["0.weight"], (weights[4] + weights[5]) / 2, atol=1e-6)


def test_the_average_over_steps_goes_on_through_a_rung() -> None:
    images, validation = digits(60)
    recipe = Recipe(epochs=4, batch_size=30, ema=0.9, rungs=(2,))
    run = train(small(), images, validation, recipe)
    counts = [Checkpoint.from_bytes(file).facts["counts"]["ema"] for file in run.checkpoints]
    assert counts == [2, 4, 6, 8]
