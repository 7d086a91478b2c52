"""What a one-shot search does: its options with every open one filled in. No torch: jobs are planned with it."""

from dataclasses import dataclass, replace
from typing import Final, Literal

from nas.search.options import DartsOptions, FirstSecondOptions, PartialOptions, SinglePathOptions, SupernetOptions
from nas.space import Shape

MethodName = Literal["darts", "pc_darts", "gdas", "random_ws"]

MOST_CHANNELS: Final = 16
MOST_CELLS: Final = 8
"""Of the supernet, unless a job says more (Liu et al. 2019, section 3.1.2): it is searched with, not handed over."""

TRAVEL: Final = 3.0
"""How far an architecture parameter can go in a whole search with Adam, whose steps are about the learning rate each:
the largest of eight softmax shares can then become 0.7."""

LEAST_ARCH_LR: Final = 3e-4
"""Of Liu et al. 2019, whose searches take 10,000 steps and more."""

IMAGES: Final[dict[str, int]] = {"darts": 3_700, "pc_darts": 5_700, "gdas": 17_000, "random_ws": 32_000}
"""Images, repeats included, that a supernet's weights should see at least; methods that compute more see fewer."""

FEWEST_EPOCHS: Final = 6
MOST_EPOCHS: Final = 50
"""The latter as published for DARTS and PC-DARTS."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Of one search.

    Attributes:
        method: see nas.oneshot.methods.
        second_order: whether the architecture's gradient looks one step of the weights ahead.
        arch_lr: learning rate of the architecture's parameters.
        warm_up: epochs before they begin to learn, and before anything counts as a collapse.
        perturbation: whether operations are chosen by what their absence costs.
        max_skip: share of skip connections above which the search has collapsed.
        patience: epochs with an unchanged genotype after which it ends.
        share: one channel in so many goes through the operations.
        samples: random candidates that are scored at the end; 0: the architecture's parameters say which.
        candidates: that are handed over.
    """

    method: MethodName
    second_order: bool
    arch_lr: float
    warm_up: int
    perturbation: bool
    max_skip: float
    patience: int
    share: int
    samples: int
    candidates: int

    @classmethod
    def of(cls, method: MethodName, options: SupernetOptions, *, epochs: int, steps_an_epoch: int) -> "Plan":
        """What the options say of a search of so many epochs, and what suits where they leave it open."""
        # The published PC-DARTS trains nothing but weights for 15 of its 50 epochs.
        warm_up = 3 * epochs // 10 if method == "pc_darts" else 0
        plan = cls(
            method=method,
            second_order=isinstance(options, FirstSecondOptions) and options.order == "second",
            arch_lr=0.0,
            warm_up=warm_up,
            perturbation=False,
            max_skip=1.0,
            patience=options.patience if options.patience is not None else max(5, epochs // 2),
            share=options.share if isinstance(options, PartialOptions) else 1,
            samples=options.samples if isinstance(options, SinglePathOptions) else 0,
            candidates=options.candidates,
        )
        if not isinstance(options, DartsOptions):
            return plan
        return replace(
            plan,
            arch_lr=arch_lr(options.arch_lr, (epochs - warm_up) * steps_an_epoch),
            perturbation=options.discretise == "perturbation",
            max_skip=options.max_skip,
        )


def arch_lr(said: float | None, steps: int) -> float:
    """The learning rate of the architecture's parameters for a search of so many steps, unless it is said."""
    return max(LEAST_ARCH_LR, TRAVEL / max(1, steps)) if said is None else said


def default_epochs(method: str, images: int, *, second_order: bool = False) -> int:
    """Epochs of a supernet on so many training images, half of which train its weights (all of random_ws).

    A step of the second order costs two and a half of the first, so that it gets half the epochs.
    """
    half = max(1, images if method == "random_ws" else images // 2)
    wanted = IMAGES[method] // (2 if second_order else 1)
    return min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(wanted / half)))


def supernet_shape(shape: Shape, options: SupernetOptions) -> Shape:
    """The supernet's frame: the space's, made smaller, without what belongs to training a network to its end."""
    return shape.model_copy(
        update={
            "channels": options.channels or min(shape.channels, MOST_CHANNELS),
            "cells": options.cells or min(shape.cells, MOST_CELLS),
            "tail": 0 if options.cells else shape.tail,
            "norm": "batch_fixed",
            "merge": "sum",
            "dropout": 0.0,
            "drop_path": 0.0,
            "auxiliary": 0.0,
        }
    )
