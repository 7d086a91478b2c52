"""Learning-rate schedules by name, as pure functions of the step.

Each is a factor on the peak learning rate. A warm-up climbs to the peak first; the schedule runs over the steps that it
leaves, and where averaging of weights begins (`swa`), its own schedule takes over.

A recipe's `rungs` divide a training into stages, each of which ends as a whole training does, so that trainings can be
compared there: all of this is compressed into each stage, a period of so many epochs as well.
"""

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Self

from nas.train.recipe import Recipe

FIRST: Final = 1 / 25
"""Share of the peak that one_cycle begins with (Smith and Topin 2019; torch's div_factor)."""

CLIMB: Final = 0.3
"""Share of its steps in which one_cycle climbs (torch's pct_start)."""

ANNEALING: Final = 10
"""At most so many epochs, and half of those averaged, bring the learning rate to where it stays (torch's SWALR)."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Where a schedule stands.

    Attributes:
        step: the step to come, 0 ≤ step < steps; the warm-up's do not count.
        steps: that the schedule runs over.
        steps_an_epoch: as in the whole training; fewer where it is compressed into a stage.
        reductions: how often plateau has reduced the learning rate.
    """

    step: int
    steps: int
    steps_an_epoch: float
    reductions: int

    @property
    def epoch(self) -> int:
        """Epochs that are over, since the warm-up."""
        return int(self.step / self.steps_an_epoch)

    @property
    def epochs(self) -> float:
        """Epochs that the schedule runs over; the warm-up may end in the middle of one."""
        return self.steps / self.steps_an_epoch

    @property
    def share(self) -> float:
        """Of the schedule that is over."""
        return self.step / self.steps


def constant(recipe: Recipe, at: Clock) -> float:
    """The peak."""
    return 1.0


def step(recipe: Recipe, at: Clock) -> float:
    """Times gamma every `period` epochs: torch's StepLR."""
    return recipe.gamma ** (at.epoch // recipe.period)


def multi_step(recipe: Recipe, at: Clock) -> float:
    """Times gamma at every milestone: torch's MultiStepLR, its milestones as shares."""
    return recipe.gamma ** bisect_right(recipe.milestones, at.share)


def exponential(recipe: Recipe, at: Clock) -> float:
    """Times gamma every epoch: torch's ExponentialLR."""
    return recipe.gamma**at.epoch


def multiplicative(recipe: Recipe, at: Clock) -> float:
    """Times gamma^(2e / (E (E + 1))) after epoch e of E: torch's MultiplicativeLR with that function of the epoch.

    Each factor is stronger than the one before, so that the rate stays high at first and falls ever faster, along half
    a bell; their product over all epochs is gamma, however many there are.
    """
    return float(recipe.gamma ** (at.epoch * (at.epoch + 1) / (at.epochs * (at.epochs + 1))))


def cosine(recipe: Recipe, at: Clock) -> float:
    """Half a cosine down to the floor (Loshchilov and Hutter 2017): torch's CosineAnnealingLR."""
    return _cosine(1.0, recipe.lr_floor, at.share)


def cosine_restarts(recipe: Recipe, at: Clock) -> float:
    """Half a cosine again and again, each `cycle_growth` times as long as the last (SGDR, Loshchilov and Hutter 2017).

    The first takes `period` epochs: torch's CosineAnnealingWarmRestarts.
    """
    since, length = float(at.step), recipe.period * at.steps_an_epoch
    if recipe.cycle_growth == 1:
        since %= length
    while since >= length:
        since, length = since - length, length * recipe.cycle_growth
    return _cosine(1.0, recipe.lr_floor, since / length)


def cyclic(recipe: Recipe, at: Clock) -> float:
    """Triangles from the floor to the peak and back in `period` epochs (Smith 2017, section 3.2): torch's CyclicLR."""
    share = at.step / (recipe.period * at.steps_an_epoch) % 1
    return recipe.lr_floor + (1 - recipe.lr_floor) * (1 - abs(2 * share - 1))


def one_cycle(recipe: Recipe, at: Clock) -> float:
    """From a 25th of the peak up to it in 0.3 of the steps and down to the floor, both along half a cosine.

    Smith and Topin 2019, as in torch's OneCycleLR; the momentum stays what it is.
    """
    top = CLIMB * at.steps - 1
    if at.step <= top:
        return _cosine(FIRST, 1.0, at.step / top)
    return _cosine(1.0, recipe.lr_floor, (at.step - top) / (at.steps - 1 - top))


def plateau(recipe: Recipe, at: Clock) -> float:
    """Times gamma where the score stagnates, not below the floor: torch's ReduceLROnPlateau. See Watch."""
    return max(recipe.gamma**at.reductions, recipe.lr_floor)


SCHEDULES: Final[dict[str, Callable[[Recipe, Clock], float]]] = {
    "constant": constant,
    "step": step,
    "multi_step": multi_step,
    "exponential": exponential,
    "multiplicative": multiplicative,
    "cosine": cosine,
    "cosine_restarts": cosine_restarts,
    "cyclic": cyclic,
    "one_cycle": one_cycle,
    "plateau": plateau,
}
"""Name → factor on the peak learning rate."""


def learning_rate(recipe: Recipe, step: int, steps_an_epoch: int, reductions: int = 0) -> float:
    """The learning rate of a step, counted from 0 over the whole training, for weights that were not taken over.

    Where weights are averaged it goes to swa_lr × lr along half a cosine, and stays there (Izmailov et al. 2018;
    torch's SWALR at the grain of steps).
    """
    stage = Stage.of(recipe, step // steps_an_epoch)
    step -= stage.start * steps_an_epoch
    first = (stage.swa_start - stage.start) * steps_an_epoch
    steps = stage.epochs * steps_an_epoch
    if step < first:
        return recipe.lr * _factor(recipe, step, steps, reductions)
    annealing = min(ANNEALING, (stage.end - stage.swa_start) / 2) * steps_an_epoch
    left = _factor(recipe, first - 1, steps, reductions)
    return recipe.lr * _cosine(left, recipe.swa_lr, min(1.0, (step - first + 1) / annealing))


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a training that ends annealed.

    Attributes:
        start, end: epochs done before and after it.
        swa_start: the first epoch, from 0 over the whole training, whose weights are averaged; `end` if none are. At
            least one is, if the recipe has `swa`, and at least one is not.
    """

    start: int
    end: int
    swa_start: int

    @property
    def epochs(self) -> int:
        """How many it has."""
        return self.end - self.start

    @classmethod
    def of(cls, recipe: Recipe, epoch: int) -> Self:
        """The stage that an epoch, counted from 0, belongs to."""
        later = bisect_right(recipe.rungs, epoch)
        start, end = (0, *recipe.rungs)[later], (*recipe.rungs, recipe.epochs)[later]
        averaged = min(end - start - 1, max(1, round(recipe.swa * (end - start)))) if recipe.swa else 0
        return cls(start, end, end - averaged)


@dataclass(frozen=True, slots=True)
class Watch:
    """What the scores of the epochs have been, for plateau and early stopping.

    Attributes:
        best: the best score; none before the first.
        lately: the best score of this stage.
        stale: epochs since then.
        waited: epochs since then, or since the last reduction.
        reductions: of the learning rate, in this stage.
    """

    best: float | None = None
    lately: float | None = None
    stale: int = 0
    waited: int = 0
    reductions: int = 0

    def after(self, score: float, patience: int) -> "Watch":
        """With one score more: more than `patience` epochs without a better one are a reduction."""
        best = score if self.best is None else max(score, self.best)
        if self.lately is None or score > self.lately:
            return replace(self, best=best, lately=score, stale=0, waited=0)
        if self.waited < patience:
            return replace(self, stale=self.stale + 1, waited=self.waited + 1)
        return replace(self, stale=self.stale + 1, waited=0, reductions=self.reductions + 1)

    def in_next_stage(self) -> "Watch":
        """At the start of a stage, whose first scores are to be worse than the last ones before it."""
        return Watch(best=self.best)


def _factor(recipe: Recipe, step: int, steps: int, reductions: int) -> float:
    """Of a step of a stage that has so many, on its peak."""
    climb = math.ceil(recipe.warmup * steps)
    if step < climb:
        return (step + 1) / climb
    return SCHEDULES[recipe.schedule](recipe, Clock(step - climb, steps - climb, steps / recipe.epochs, reductions))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
