"""The formula for a training's memory against what torch saves, and against what a step is found to hold."""

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nas.model import Network, build_network
from nas.model.training_memory import TrainingMemory, saved_bytes, training_memory
from nas.space import Candidate, CellSpace, LayerSpace, Shape, cost
from nas.space.candidate import ResidualNet
from nas.space.operations import OPERATIONS
from nas.train.optimizers import OPTIMIZERS, build_optimizer, slots_of
from nas.train.recipe import Recipe

SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "wide and long": {"channels": 16, "cells": 8},
    "silu, group": {"activation": "silu", "norm": "group", "downsample": "avg_pool"},
    "gelu, residual": {"activation": "gelu", "skeleton": "residual", "downsample": "conv"},
    "weighted": {"merge": "weighted", "norm": "none", "drop_path": 0.2, "skeleton": "residual"},
    "concat": {"merge": "concat", "norm": "batch_fixed", "downsample": "max_pool", "tail": 1},
    "imagenet": {"stem": "imagenet", "auxiliary": 0.4, "activation": "elu"},
    "auxiliary": {"auxiliary": 0.4, "cells": 5, "tail": -1, "channels": 1},
}


def of(kind: str, name: str, seed: int) -> Candidate:
    shape = Shape(**SHAPES[name])
    space = CellSpace(tuple(OPERATIONS), nodes=4, shape=shape) if kind == "cells" else LayerSpace(shape=shape)
    return space.sample(np.random.default_rng(seed))


def image_of(candidate: Candidate, side: int = 32) -> tuple[int, int, int]:
    return (3, 2 * side, 2 * side - 6) if candidate.shape.stem == "imagenet" else (3, side, side - 3)


def forward(network: Network, images: Tensor) -> list[Tensor]:
    return list(network.both(images)) if network.auxiliary_head is not None else [network(images)]


def seen_bytes(candidate: Candidate, image: tuple[int, int, int], batch: int) -> int:
    """What torch saves of the maps, as it would on a GPU: the meta device has torch's own operations too."""
    with torch.device("meta"):
        network = build_network(candidate, in_channels=image[0], outputs=10)
        images = torch.empty(batch, *image)
    network.set_progress(1.0)
    own = {tensor.untyped_storage()._cdata for tensor in [*network.parameters(), *network.buffers()]}
    found: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            found[storage._cdata] = storage
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = forward(network.train(), images)
    assert kept
    return sum(storage.nbytes() for storage in found.values())


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("kind", ["cells", "layers"])
def test_what_is_saved_is_what_torch_saves(kind: str, name: str) -> None:
    candidate = of(kind, name, seed=1)
    image = image_of(candidate)
    # norms keep two numbers a channel besides, and weighted nodes their weights
    assert 4 * saved_bytes(candidate, image=image) == pytest.approx(seen_bytes(candidate, image, 4), rel=0.01)


@pytest.mark.parametrize(("width", "blocks"), [(8, 1), (16, 3)])
def test_what_the_residual_network_saves_is_what_torch_saves(width: int, blocks: int) -> None:
    candidate = Candidate(ResidualNet(width, blocks))
    assert 4 * saved_bytes(candidate, image=(3, 32, 32)) == pytest.approx(
        seen_bytes(candidate, (3, 32, 32), 4), rel=0.01
    )


class Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The bytes of all tensors that operations make, while they live."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in self.alive:
                storage = tensor.untyped_storage()
                self.alive[storage._cdata] = storage.nbytes()
                weakref.finalize(storage, self.alive.pop, storage._cdata, None).atexit = False
        self.peak = max(self.peak, sum(self.alive.values()))
        return out


@pytest.mark.parametrize(
    ("kind", "name", "optimizer", "batch"),
    [("cells", "plain", "nesterov", 8), ("cells", "concat", "adamw", 48), ("layers", "plain", "rmsprop", 64)],
)
def test_the_peak_is_about_what_a_training_holds(kind: str, name: str, optimizer: Any, batch: int) -> None:
    """All of it on a CPU, in float32: network, optimizer, two steps, then the validation's batch."""
    candidate, recipe = of(kind, name, 0), Recipe(epochs=1, optimizer=optimizer, batch_size=batch)
    torch.set_num_threads(1)
    with Alive() as alive:
        network = build_network(candidate, in_channels=3, outputs=10)
        steps = build_optimizer(network, recipe)
        for _ in range(2):
            steps.zero_grad()
            images = torch.rand(batch, 3, 16, 16).contiguous(memory_format=torch.channels_last)
            sum(
                nn.functional.cross_entropy(out, torch.zeros(batch).long()) for out in forward(network, images)
            ).backward()  # type: ignore[union-attr]
            steps.step()
        trained = alive.peak
        del images
        with torch.no_grad():
            network.eval()(torch.zeros(512, 3, 16, 16).contiguous(memory_format=torch.channels_last))
    memory = training_memory(
        candidate, image=(3, 16, 16), outputs=10, batch_size=batch, slots=slots_of(recipe), copies=0
    )
    assert memory is not None
    assert memory.weights + memory.saved < trained * 1.1
    assert 0.85 <= memory.peak_bytes / alive.peak <= 1.6  # admission begins with a quarter more


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_keeps_as_many_numbers_for_each_weight_as_is_said(name: Any) -> None:
    for momentum in (0.0, 0.9):
        recipe, layer = Recipe(epochs=1, optimizer=name, momentum=momentum), nn.Linear(30, 20)
        optimizer = build_optimizer(layer, recipe)
        layer(torch.ones(1, 30)).sum().backward()
        optimizer.step()
        kept = sum(value.numel() for state in optimizer.state.values() for value in state.values() if value.numel() > 1)
        assert kept == slots_of(recipe) * (30 * 20 + 20)


def test_each_part_grows_with_what_it_is_made_of() -> None:
    candidate = of("cells", "plain", 0)

    def found(**changes: Any) -> TrainingMemory:
        how: dict[str, Any] = {"image": (3, 32, 32), "outputs": 10, "batch_size": 32} | changes
        memory = training_memory(candidate, **how)
        assert memory is not None
        return memory

    one = found()
    assert found(batch_size=64).saved == 2 * one.saved
    assert found(batch_size=64).weights == one.weights
    assert found(slots=2, copies=1).weights * 3 == one.weights * 5
    assert found(value_bytes=2).saved < 0.6 * one.saved
    assert found(outputs=1000).weights > one.weights
    assert one.peak_bytes == one.weights + one.saved + one.passing


def test_a_users_own_operation_has_no_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = of("cells", "plain", 0)
    how: dict[str, Any] = {"image": (3, 32, 32), "outputs": 10, "batch_size": 8}
    assert training_memory(candidate, **how) is not None
    monkeypatch.setattr(cost, "OPERATION_COSTS", {})
    cost.operation.cache_clear()
    assert training_memory(candidate, **how) is None
    cost.operation.cache_clear()
