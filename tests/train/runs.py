"""Short trainings for the tests of the loop and of what it is made of."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from nas.data.builtin import BUILTIN
from nas.data.tensors import Batchable
from nas.model import build_network
from nas.space import Candidate, Cell, Edge, Genotype, Shape
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from nas.train.loop import fit
from nas.train.recipe import Recipe

RECIPE = Recipe(epochs=4, batch_size=64, shift=1)

_NORMAL = Cell(((Edge("sep_conv_3x3", 0), Edge("skip_connect", 1)), (Edge("max_pool_3x3", 2),)), (2, 3))
_REDUCE = Cell(((Edge("dil_conv_3x3", 0), Edge("skip_connect", 1)), (Edge("sep_conv_3x3", 2),)), (2,))
CANDIDATE = Candidate(Genotype(_NORMAL, _REDUCE))
"""Every kind of layer, small; node 3 of its reduction cell is used by nobody, so that its weights have no gradient."""


def network(seed: int = 0, cells: int = 3, **shape: Any) -> nn.Module:
    candidate = replace(CANDIDATE, shape=Shape(channels=4, cells=cells, **shape))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_network(candidate, in_channels=1, outputs=10)


def small(outputs: int = 10, seed: int = 0, dropout: float = 0.0) -> nn.Sequential:
    """A network that trains in milliseconds: a convolution, batch norm, dropout, a linear layer."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(64, outputs),
        )


def change(recipe: Recipe, **fields: Any) -> Recipe:
    """The recipe with some fields changed; unlike Recipe itself it takes impossible values too."""
    return recipe.model_copy(update=fields)


def digits(count: int = 200) -> tuple[Batchable, Batchable]:
    """The first so many training images of the digits, and half as many for validation."""
    data = BUILTIN["digits"].load()
    data = replace(data, train=data.train[:count], validation=data.validation[: count // 2])
    device = torch.device("cpu")
    return Batchable.of(data, "train", device), Batchable.of(data, "validation", device)


@dataclass
class Run:
    """What a training showed: its results without their seconds, and its checkpoints as files."""

    results: list[EpochResult] = field(default_factory=list)
    checkpoints: list[bytes] = field(default_factory=list)

    def on_epoch(self, result: EpochResult, checkpoint: Callable[[], Checkpoint]) -> bool:
        self.results.append(replace(result, seconds=0.0))
        self.checkpoints.append(checkpoint().to_bytes())
        return True


def train(
    model: nn.Module,
    train_on: Batchable,
    validate_on: Batchable,
    recipe: Recipe = RECIPE,
    *,
    seed: int = 0,
    resume: Checkpoint | None = None,
    stop_at: int | None = None,
    run: Run | None = None,
    **more: Any,
) -> Run:
    """Trains, to the end or until `should_stop` is asked for the `stop_at`-th time; `more` goes to fit."""
    run = run or Run()
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == stop_at

    fit(
        model,
        train_on,
        validate_on,
        recipe,
        seed=seed,
        on_epoch=run.on_epoch,
        should_stop=should_stop,
        resume=resume,
        **more,
    )
    return run


def state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights and buffers."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether all tensors are equal, bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
