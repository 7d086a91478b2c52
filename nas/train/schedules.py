"""Learning-rate schedules by name, as pure functions of the step.

Each is a factor on the peak learning rate. A warm-up climbs to the peak first; the schedule runs over the steps that it
leaves, and where averaging of weights begins (`swa`), its own schedule takes over.
"""

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

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
        steps_an_epoch: as in the whole training.
        reductions: how often plateau has reduced the learning rate.
    """

    step: int
    steps: int
    steps_an_epoch: int
    reductions: int

    @property
    def epoch(self) -> int:
        """Epochs that are over, since the warm-up."""
        return self.step // self.steps_an_epoch

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
    since, length = at.step, recipe.period * at.steps_an_epoch
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
    first = swa_start(recipe) * steps_an_epoch
    if step < first:
        return recipe.lr * _factor(recipe, step, steps_an_epoch, reductions)
    averaged = recipe.epochs - swa_start(recipe)
    annealing = min(ANNEALING, averaged / 2) * steps_an_epoch
    left = _factor(recipe, first - 1, steps_an_epoch, reductions)
    return recipe.lr * _cosine(left, recipe.swa_lr, min(1.0, (step - first + 1) / annealing))


def swa_start(recipe: Recipe) -> int:
    """The first epoch, from 0, whose weights are averaged; the number of epochs if none are.

    At least one is, if the recipe has `swa`, and at least one is not.
    """
    averaged = min(recipe.epochs - 1, max(1, round(recipe.swa * recipe.epochs))) if recipe.swa else 0
    return recipe.epochs - averaged


@dataclass(frozen=True, slots=True)
class Watch:
    """What the scores of the epochs have been, for plateau and early stopping.

    Attributes:
        best: the best score; none before the first.
        stale: epochs since then.
        waited: epochs since then, or since the last reduction.
        reductions: of the learning rate.
    """

    best: float | None = None
    stale: int = 0
    waited: int = 0
    reductions: int = 0

    def after(self, score: float, patience: int) -> "Watch":
        """With one score more: more than `patience` epochs without a better one are a reduction."""
        if self.best is None or score > self.best:
            return replace(self, best=score, stale=0, waited=0)
        if self.waited < patience:
            return replace(self, stale=self.stale + 1, waited=self.waited + 1)
        return replace(self, stale=self.stale + 1, waited=0, reductions=self.reductions + 1)


def _factor(recipe: Recipe, step: int, steps_an_epoch: int, reductions: int) -> float:
    steps = recipe.epochs * steps_an_epoch
    climb = math.ceil(recipe.warmup * steps)
    if step < climb:
        return (step + 1) / climb
    return SCHEDULES[recipe.schedule](recipe, Clock(step - climb, steps - climb, steps_an_epoch, reductions))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
