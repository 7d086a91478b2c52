"""Short one-shot searches in a tiny space."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final

import torch

from nas.data.builtin import BUILTIN
from nas.data.images import ImageSet
from nas.oneshot.plan import MethodName
from nas.oneshot.search import Found, search
from nas.search.options import DartsOptions, FirstSecondOptions, PartialOptions, SinglePathOptions, SupernetOptions
from nas.space import CellSpace, Shape
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from nas.train.recipe import Recipe
from tests.shapes import unchecked

CPU = torch.device("cpu")
OPS = ("none", "skip_connect", "max_pool_3x3", "conv_1x1", "dil_conv_3x3")
SPACE = CellSpace(OPS, 2, Shape(channels=4, cells=3))
RECIPE = Recipe(epochs=2, batch_size=20, shift=1)

OPTIONS: Final[dict[str, tuple[MethodName, SupernetOptions]]] = {
    "darts": ("darts", FirstSecondOptions(candidates=3, arch_lr=0.01, discretise="alpha")),
    "second order": ("darts", FirstSecondOptions(candidates=2, arch_lr=0.01, order="second", discretise="alpha")),
    "perturbation": ("darts", FirstSecondOptions(candidates=2, arch_lr=0.01)),
    "pc_darts": ("pc_darts", PartialOptions(candidates=2, arch_lr=0.01, share=2, discretise="alpha")),
    "gdas": ("gdas", DartsOptions(candidates=2, arch_lr=0.1, discretise="alpha")),
    "random_ws": ("random_ws", SinglePathOptions(candidates=3, samples=8)),
}
"""Every method, and every way of it, with options for short searches."""


@cache
def digits(train: int = 60, validation: int = 30) -> ImageSet:
    data = BUILTIN["digits"].load()
    return replace(data, train=data.train[:train], validation=data.validation[:validation], test=data.test[:10])


@dataclass
class Run:
    """What a search showed: its results without their seconds, its checkpoints as files, and what it found."""

    results: list[EpochResult] = field(default_factory=list)
    checkpoints: list[bytes] = field(default_factory=list)
    found: Found = field(default_factory=lambda: Found(()))


def run(
    name: str,
    *,
    data: ImageSet | None = None,
    space: CellSpace = SPACE,
    recipe: Recipe = RECIPE,
    options: dict[str, Any] | None = None,
    resume: bytes | None = None,
    epochs: int | None = None,
    stop_at: int | None = None,
    **more: Any,
) -> Run:
    """Searches, until on_epoch has said no after `epochs`, or should_stop was asked for the `stop_at`-th time."""
    method, chosen = OPTIONS[name]
    data = data or digits()
    done = Run()
    asked = 0

    def on_epoch(result: EpochResult, take: Callable[[], Checkpoint]) -> bool:
        done.results.append(replace(result, seconds=0.0))
        done.checkpoints.append(take().to_bytes())
        return result.epoch != epochs

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == stop_at

    kind = (name, data.task, space, repr(sorted((options or {}).items())), resume is None)
    with unchecked(kind in _SEEN):
        done.found = search(
            space,
            data,
            recipe,
            chosen.model_copy(update=options or {}),
            method=method,
            seed=3,
            device=CPU,
            on_epoch=on_epoch,
            should_stop=should_stop,
            resume=Checkpoint.from_bytes(resume) if resume else None,
            **more,
        )
    _SEEN.add(kind)
    return done


_SEEN: set[tuple[object, ...]] = set()
"""The kinds of searches in which shapes were checked already."""


@cache
def whole(name: str) -> Run:
    """A whole search that several tests look at."""
    return run(name)
