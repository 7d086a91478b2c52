from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn

from nas import plugins
from nas.model import Cost, build_network, cost_of, count_params, params_of, strip_auxiliary
from nas.space import Candidate, Cell, CellSpace, Edge, Genotype, LayerSpace, ResidualNet, Shape, known
from nas.space.operations import OPERATIONS

SHAPE = Shape(channels=4, cells=4)
CELLS = CellSpace(tuple(OPERATIONS), nodes=4, shape=SHAPE)
LAYERS = LayerSpace(narrowest=4, widest=16, most=5, shape=Shape(skeleton="residual"))
CANDIDATES = {
    **{f"cells {seed}": CELLS.sample(np.random.default_rng(seed)) for seed in range(4)},
    **{f"layers {seed}": LAYERS.sample(np.random.default_rng(seed)) for seed in range(4)},
    **{name: Candidate(known(name), SHAPE) for name in ("DARTS_V2", "NASNet", "AmoebaNet")},
    "concat": Candidate(known("DARTS_V1"), Shape(channels=4, cells=4, merge="concat", stem="imagenet", norm="none")),
    "residual": Candidate(ResidualNet(width=6, blocks=2)),
}


def plainly_counted(network: nn.Module, image: tuple[int, int, int]) -> int:
    """Multiply-accumulates: for each value that a convolution or a linear layer gives, the weights it is made with."""
    total = 0

    def count(module: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal total
        assert isinstance(module.weight, Tensor)
        total += output.numel() * module.weight[0].numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        network.eval()(torch.zeros(1, *image))
    return total


@pytest.mark.parametrize("name", CANDIDATES)
def test_the_cost_is_that_of_the_real_network(name: str) -> None:
    candidate, image = CANDIDATES[name], (2, 11, 8)
    found = cost_of(candidate, image=image, outputs=7)
    network = build_network(candidate, in_channels=image[0], outputs=7)
    assert found == Cost(sum(p.numel() for p in network.parameters()), plainly_counted(network, image))
    assert found.params == count_params(network) == params_of(candidate, in_channels=image[0], outputs=7)


def test_work_grows_with_the_image_and_size_does_not() -> None:
    small, large = (cost_of(CANDIDATES["DARTS_V2"], image=(3, side, side), outputs=7) for side in (8, 32))
    assert small.params == large.params
    linear = 4 * 16 * 7  # four output nodes of 4 × 2 × 2 channels into the classifier, once whatever the image
    assert (large.macs - linear) == 16 * (small.macs - linear)


def test_the_auxiliary_head_does_not_count_in_a_candidate() -> None:
    genotype, image = known("DARTS_V2"), (3, 16, 16)
    candidate = Candidate(genotype, Shape(channels=4, cells=4, auxiliary=0.4))
    plain = cost_of(Candidate(genotype, SHAPE), image=image, outputs=7)
    network = build_network(candidate, in_channels=3, outputs=7)
    assert count_params(network) > plain.params
    assert count_params(strip_auxiliary(network)) == plain.params
    assert cost_of(candidate, image=image, outputs=7) == plain
    assert params_of(candidate, in_channels=3, outputs=7) == plain.params


def test_frozen_parameters_do_not_count_in_a_network() -> None:
    network = build_network(CANDIDATES["DARTS_V2"], in_channels=1, outputs=7)
    before = count_params(network)
    network.classifier.requires_grad_(False)
    assert count_params(network) == before - (4 * 16 * 7 + 7)


class ByFunctions(nn.Module):
    """A user's operation that has no modules of torch's: a 3×3 convolution, then a matrix over the channels."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(channels, channels, 3, 3))
        self.matrix = nn.Parameter(torch.randn(channels, channels))
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,cd->ndhw", F.conv2d(x, self.kernel, None, self.stride, 1), self.matrix)


def test_a_users_operation_counts_whatever_it_is_written_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "operations", lambda: {"my_op": plugins.Plugin("a test", lambda: ByFunctions)})

    def found(name: str) -> Cost:
        cell = Cell(((Edge(name, 0), Edge("max_pool_3x3", 1)),), (2,))
        return cost_of(Candidate(Genotype(cell, cell), Shape(channels=4, cells=1)), image=(3, 8, 8), outputs=5)

    own, without = found("my_op"), found("none")
    weights = 8 * 8 * 9 + 8 * 8  # in the one cell, a reduction: 8 channels on 4×4 pixels
    assert (own.params - without.params, own.macs - without.macs) == (weights, weights * 16)
    assert own.exact


def test_a_cost_is_known_without_drawing_random_numbers() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    cost_of(CANDIDATES["NASNet"], image=(3, 8, 8), outputs=7)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_largest_network_is_counted_without_being_built() -> None:
    candidate = Candidate(known("DARTS_V2"), Shape(channels=256, cells=12))
    found = cost_of(candidate, image=(3, 2048, 2048), outputs=1_000)
    assert found.params > 7 * 10**7
    assert found.macs > 10**12  # minutes, if they were done


def test_maps_of_a_single_pixel_are_counted_too() -> None:
    """Batch norm in training would refuse a single image of them."""
    candidate, image = CANDIDATES["DARTS_V2"], (3, 4, 4)
    network = build_network(candidate, in_channels=3, outputs=7)
    assert cost_of(candidate, image=image, outputs=7).macs == plainly_counted(network, image)
