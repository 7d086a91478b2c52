"""Transfer: what is taken over from another network, and which part of it stays as it is."""

import numpy as np
import pytest
import torch
from torch import nn

from nas.model import build_network
from nas.space import CellSpace, LayerSpace, Shape
from nas.train.transfer import lower_part, take_over

SPACE = CellSpace(("skip_connect", "sep_conv_3x3", "max_pool_3x3"), nodes=2, shape=Shape(channels=4, cells=4))
SOURCE = SPACE.sample(np.random.default_rng(0))


def network(seed: int, *, in_channels: int = 1, outputs: int = 10, **shape: object) -> nn.Module:
    torch.manual_seed(seed)
    frame = SPACE.shape.model_copy(update=shape)
    candidate = type(SOURCE)(SOURCE.architecture, frame)
    return build_network(candidate, in_channels=in_channels, outputs=outputs)


def test_everything_but_the_head_is_taken_over() -> None:
    source, ours = network(1), network(2, outputs=3)
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    kept = take_over(ours, source.state_dict())
    assert kept == {name for name, _ in ours.named_parameters() if not name.startswith("classifier.")}
    for name, tensor in ours.state_dict().items():
        expected = before[name] if name.startswith("classifier.") else source.state_dict()[name]
        assert torch.equal(tensor, expected), name


def test_batch_norms_statistics_come_along() -> None:
    source, ours = network(1), network(2)
    source.train()
    source(torch.randn(8, 1, 8, 8) + 3)
    take_over(ours, source.state_dict())
    norms = [name for name in ours.state_dict() if name.endswith("running_mean")]
    assert norms
    assert all(torch.equal(ours.state_dict()[name], source.state_dict()[name]) for name in norms)


@pytest.mark.parametrize("tail", [-1, 1, 2])
def test_cells_that_are_added_start_anew_and_dropped_ones_are_left_out(tail: int) -> None:
    source, ours = network(1), network(2, tail=tail)
    kept = take_over(ours, source.state_dict())
    cells = {int(name.split(".")[1]) for name in kept if name.startswith("cells.")}
    assert cells == set(range(min(4, 4 + tail)))
    assert all(torch.equal(ours.state_dict()[name], source.state_dict()[name]) for name in kept)


def test_a_stem_for_other_channels_starts_anew_and_the_rest_is_kept() -> None:
    ours = network(2, in_channels=3)
    before = ours.state_dict()["stem.0.weight"].clone()
    kept = take_over(ours, network(1).state_dict())
    assert "stem.0.weight" not in kept
    assert any(name.startswith("cells.3.") for name in kept)
    assert torch.equal(ours.state_dict()["stem.0.weight"], before)


def test_a_module_is_taken_over_as_a_whole_or_not_at_all() -> None:
    source, layer = nn.Sequential(nn.Linear(3, 4)), nn.Linear(3, 4)
    ours = nn.Sequential(layer)
    state = source.state_dict() | {"0.bias": torch.zeros(5)}
    before = layer.weight.clone()
    assert take_over(ours, state) == frozenset()
    assert torch.equal(layer.weight, before)


def test_the_lower_part_is_stem_and_first_cells() -> None:
    ours = network(0)
    assert lower_part(ours, 0) == frozenset()
    assert {name.split(".")[0] for name in lower_part(ours, 1)} == {"stem", "cells"}
    for freeze in (1, 3, 4, 9):
        cells = {int(name.split(".")[1]) for name in lower_part(ours, freeze) if name.startswith("cells.")}
        assert cells == set(range(min(freeze, 4)))
        assert not any(name.startswith("classifier") for name in lower_part(ours, freeze))


def test_layers_are_frozen_by_group() -> None:
    candidate = LayerSpace(fewest=4, most=4, narrowest=4, widest=8, parallel=False).sample(np.random.default_rng(1))
    ours = build_network(candidate, in_channels=1, outputs=2)
    groups = {int(name.split(".")[1]) for name in lower_part(ours, 2) if name.startswith("groups.")}
    assert groups == {0, 1}
