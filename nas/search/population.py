"""Population-based training over the recipe: which fields a trial may change in the middle of its training, and how.

Jaderberg et al. 2017, Population Based Training of Neural Networks, section 4.1.2: a trial that takes over from a
better one perturbs each of its hyperparameters, or draws it anew. No torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from nas.objectives import ObjectiveForm
from nas.search.options import SchedulerSpec
from nas.space import Candidate
from nas.space.distributions import Categorical, Distribution, Integer, Value

MUTABLE: Final[dict[str, str]] = {
    "lr": "optimizer",
    "momentum": "optimizer",
    "beta2": "optimizer",
    "weight_decay": "optimizer",
    "l1": "loss",
    "l2": "loss",
    "label_smoothing": "loss",
    "clip_norm": "step",
    "clip_value": "step",
    "weight_clip": "step",
    "lr_floor": "schedule",
    "shift": "augmentation",
    "cutout": "augmentation",
    "jitter": "augmentation",
    "mixup": "augmentation",
    "cutmix": "augmentation",
    "randaugment": "augmentation",
    "magnitude": "augmentation",
}
"""Field of the recipe that may change in the middle of a training → what reads it, anew at every step.

What a checkpoint holds does not depend on any of them. Left out are fields that it does depend on (optimizer, ema,
swa, freeze), that only the beginning reads (initialisation, init_scale), that change the steps of an epoch and so the
memory that a trial was admitted with (batch_size, accumulate), and names, between which there is no small change.
"""

ON_OR_OFF: Final = frozenset({"momentum"})
"""Fields of which 0 stays 0 and nothing else becomes 0: an optimizer without momentum has no state of it to go on
with."""

FACTORS: Final = (0.8, 1.2)
"""A number is multiplied by one of these: those of the paper, and Ray's."""

TRIES: Final = 20
"""Mutations that may turn out to be ones that the job has a trial of; the later half draws all fields anew."""


def mutable(recipe: Sequence[tuple[str, Distribution]]) -> dict[str, Distribution]:
    """The open fields of a recipe that a trial may change in the middle of its training, with what they may become.

    Args:
        recipe: the open fields by their own names, as RecipeSpec.open("") has them.
    """
    return {name: found for name, found in recipe if name in MUTABLE}


def mutated(
    candidate: Candidate, fields: Mapping[str, Distribution], resample: float, rng: np.random.Generator
) -> Candidate:
    """The candidate with other values of some fields of its recipe, all of them within what the job allows.

    A number becomes 0.8 or 1.2 times as large, one of several choices the one before or behind it, or, with the
    probability `resample`, the field is drawn anew.

    Args:
        candidate: to change; what its architecture is stays.
        fields: see mutable.
        resample: probability of drawing a field anew.
        rng: of everything random in it.
    """
    recipe = dict(candidate.recipe)
    for name, distribution in fields.items():
        before = recipe.get(name)
        anew = name not in recipe or not distribution.contains(before) or rng.random() < resample
        found = distribution.sample(rng) if anew else _perturbed(before, distribution, rng)
        if not (name in ON_OR_OFF and name in recipe and (found == 0) != (before == 0)):
            recipe[name] = found
    return replace(candidate, recipe=tuple(sorted(recipe.items())))


def unsuitable(
    scheduler: SchedulerSpec,
    recipe: Sequence[tuple[str, Distribution]],
    objectives: Sequence[ObjectiveForm],
    epochs: int,
    parallel: int | None,
) -> tuple[str, Any, str] | None:
    """(field of the job, its value, mend) if Ray's scheduler could do nothing in the job; None if it can.

    Args:
        scheduler: of the job.
        recipe: its open fields, see mutable.
        objectives: of the job.
        epochs, parallel: of its budget.
    """
    if all(objective.metric != "accuracy" for objective in objectives):
        named = [objective.metric for objective in objectives]
        mend = "Ray's scheduler compares trials by what training changes; add 'accuracy', or leave scheduler out"
        return "objectives", named, mend
    if scheduler.first is not None and scheduler.first > epochs:
        return "scheduler.first", scheduler.first, f"it can be budget.epochs at the most, which is {epochs}"
    if scheduler.method != "pbt":
        return None
    if not mutable(recipe):
        mend = (
            'pbt changes fields of the recipe, and the job opens none that it may: say recipe.lr: {"low": 0.01, '
            f'"high": 0.3, "log": true}}, or open another one of {", ".join(MUTABLE)}; or set another method'
        )
        return "scheduler.method", scheduler.method, mend
    if parallel == 1:
        return "budget.parallel", parallel, "pbt compares trials that run side by side; set at least 2, or null"
    if scheduler.every is not None and scheduler.every >= epochs:
        mend = f"trials are compared before they end; it has to be below budget.epochs, which is {epochs}"
        return "scheduler.every", scheduler.every, mend
    return None


def _perturbed(value: Value, distribution: Distribution, rng: np.random.Generator) -> Value:
    """A value a little away, within the distribution; the same one where there is none."""
    if isinstance(distribution, Categorical):
        step = int(rng.choice((-1, 1)))
        at = next(index for index, choice in enumerate(distribution.choices) if choice == value) + step
        return distribution.choices[min(max(at, 0), len(distribution.choices) - 1)]
    assert isinstance(value, int | float)  # noqa: S101 - the distribution contains it
    factor = float(rng.choice(FACTORS))
    if isinstance(distribution, Integer):
        step = 1 if factor > 1 else -1  # at least: 0.8 times a small number is the same again
        whole = max(value + 1, round(value * factor)) if step > 0 else min(value - 1, round(value * factor))
        return min(max(int(whole), distribution.low), distribution.high)
    return min(max(value * factor, distribution.low), distribution.high)
