from collections.abc import Iterator
from itertools import count, product
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas import plugins
from nas.model import cost_of, count_params
from nas.model.ops import OPS, build_op
from nas.model.style import Style
from nas.space import Candidate, Cell, CellSpace, Edge, Genotype, Layer, LayerNet, LayerSpace, ResidualNet, Shape, known
from nas.space.cost import OPERATION_COSTS, Cost, Place, cost, operation
from nas.space.layers import LAYER_KINDS
from nas.space.operations import OPERATIONS
from nas.space.shape import Downsample, Merge, Norm, Skeleton, Stem


def counted(module: nn.Module, x: torch.Tensor) -> Cost:
    """What torch counts of a module that is on the meta device."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module.eval()(x)
    return Cost(count_params(module), counter.get_total_flops() // 2)


def frames() -> Iterator[Shape]:
    """Every skeleton, stem and merge together, each with four of the pairs of a norm and a downsampling in turn."""
    pairs = list(product(get_args(Norm), get_args(Downsample)))
    number = count()
    for skeleton, stem, merge in product(get_args(Skeleton), get_args(Stem), get_args(Merge)):
        for _ in range(4):
            n = next(number)
            norm, downsample = pairs[n % len(pairs)]
            yield Shape(
                channels=(3, 4, 5, 6)[n % 4],
                cells=(1, 2, 3, 4, 5)[n % 5],
                tail=(0, 1, -1)[n % 3],
                skeleton=skeleton,
                stem=stem,
                merge=merge,
                norm=norm,
                downsample=downsample,
            )


def test_every_operation_has_a_formula() -> None:
    assert set(OPERATION_COSTS) == set(OPERATIONS) == set(OPS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_costs_what_torch_counts(name: str) -> None:
    downsamples = get_args(Downsample) if name == "skip_connect" else ("factorized",)
    for norm, downsample, stride in product(get_args(Norm), downsamples, (1, 2)):
        for channels in (1, 6, 8, 15):  # all numbers of groups
            with torch.device("meta"):
                module = build_op(name, channels, stride, Style(norm=norm, downsample=downsample))
                found = counted(module, torch.empty(1, channels, 7, 10))
            assert operation(name, Place(channels, stride, (7, 10), norm, downsample)) == found


@pytest.mark.parametrize("shape", list(frames()), ids=str)
def test_a_network_of_cells_costs_what_torch_counts(shape: Shape) -> None:
    rng = np.random.default_rng(shape.channels * 100 + shape.cells)
    candidate = CellSpace(tuple(OPERATIONS), nodes=2, shape=shape).sample(rng)
    image = (int(rng.integers(1, 5)), 19, 14)
    found = cost(candidate, image=image, outputs=7)
    assert found == cost_of(candidate, image=image, outputs=7)
    assert found.exact


@pytest.mark.parametrize("merge", get_args(Merge))
def test_cells_of_any_form_cost_what_torch_counts(merge: Merge) -> None:
    # Nodes with one input and with three, an input in the output, a node twice in it, nodes that nobody uses.
    edges = ((Edge("conv_3x3", 1),), (Edge("none", 0), Edge("skip_connect", 2), Edge("conv_1x1", 1)))
    genotype = Genotype(Cell(edges, (0, 3, 3)), Cell(edges, (2,)))
    for skeleton in get_args(Skeleton):
        candidate = Candidate(genotype, Shape(channels=4, cells=4, merge=merge, skeleton=skeleton))
        assert cost(candidate, image=(2, 9, 8), outputs=3) == cost_of(candidate, image=(2, 9, 8), outputs=3)


@pytest.mark.parametrize("skeleton", get_args(Skeleton))
@pytest.mark.parametrize("norm", get_args(Norm))
def test_a_network_of_layers_costs_what_torch_counts(norm: Norm, skeleton: Skeleton) -> None:
    rng = np.random.default_rng(len(norm))
    for downsample in get_args(Downsample):
        space = LayerSpace(
            fewest=3,
            most=7,
            narrowest=2,
            widest=13,
            kernels=(1, 3, 5),
            shape=Shape(norm=norm, skeleton=skeleton, downsample=downsample),
        )
        candidate = space.sample(rng)
        assert cost(candidate, image=(2, 11, 8), outputs=3) == cost_of(candidate, image=(2, 11, 8), outputs=3)


@pytest.mark.parametrize("second", LAYER_KINDS)
@pytest.mark.parametrize("first", LAYER_KINDS)
def test_every_kind_of_layer_costs_what_torch_counts_first_and_beside_another(first: str, second: str) -> None:
    layers = (Layer(first, 6), Layer(second, 5, 5, parallel=True), Layer(second, 12, 1))
    candidate = Candidate(LayerNet(layers), Shape(skeleton="residual"))
    assert cost(candidate, image=(4, 7, 6), outputs=3) == cost_of(candidate, image=(4, 7, 6), outputs=3)


@pytest.mark.parametrize("network", [ResidualNet(6, 1), ResidualNet(5, 3)])
def test_the_residual_network_costs_what_torch_counts(network: ResidualNet) -> None:
    candidate = Candidate(network)
    assert cost(candidate, image=(3, 13, 10), outputs=7) == cost_of(candidate, image=(3, 13, 10), outputs=7)


def test_published_networks_have_their_published_size() -> None:
    """Liu et al. 2019, tables 1 and 2: 3.3 and 4.7 million parameters; He et al. 2016, table 6: 0.27 million."""
    darts = known("DARTS_V2")
    on_cifar = cost(Candidate(darts, Shape(channels=36, cells=20)), image=(3, 32, 32), outputs=10)
    on_imagenet = cost(
        Candidate(darts, Shape(channels=48, cells=14, stem="imagenet")), image=(3, 224, 224), outputs=1000
    )
    resnet_20 = cost(Candidate(ResidualNet(16, 3)), image=(3, 32, 32), outputs=10)
    assert [round(found.params / 10**6, 2) for found in (on_cifar, on_imagenet, resnet_20)] == [3.35, 4.72, 0.27]


def test_a_small_network_costs_what_a_hand_makes_of_it() -> None:
    cell = Cell(((Edge("sep_conv_3x3", 0), Edge("skip_connect", 1)),), (2,))
    found = cost(Candidate(Genotype(cell, cell), Shape(channels=4, cells=1)), image=(3, 8, 8), outputs=10)
    # One cell, a reduction: its two inputs are the stem's 12 channels, it has 8 channels on 4×4 pixels.
    stem, before = (3 * 12 * 9, 64), (2 * 12 * 8, 64)
    separable, skip = (2 * (8 * 9 + 8 * 8), 16), (8 * 8, 16)
    norms = 12 + 8 + 8 + 8 + 8 + 8
    assert found.params == sum(weights for weights, _ in (stem, before, separable, skip)) + 2 * norms + 8 * 10 + 10
    assert found.macs == sum(weights * pixels for weights, pixels in (stem, before, separable, skip)) + 8 * 10


def test_what_is_only_there_to_train_a_network_costs_nothing() -> None:
    genotype, image = known("DARTS_V1"), (3, 16, 16)
    plain = cost(Candidate(genotype, Shape()), image=image, outputs=10)
    trained = Candidate(
        genotype, Shape(auxiliary=0.4, dropout=0.2, drop_path=0.3, activation="gelu"), recipe=(("lr", 0.1),)
    )
    assert cost(trained, image=image, outputs=10) == cost_of(trained, image=image, outputs=10) == plain


def test_an_operation_without_a_formula_leaves_a_lower_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    own = plugins.Plugin("a test", lambda: lambda channels, stride: nn.Conv2d(channels, channels, 3, stride, 1))
    monkeypatch.setattr(plugins, "operations", lambda: {"my_op": own})
    image = (3, 8, 8)

    def network(name: str) -> Candidate:
        cell = Cell(((Edge(name, 0), Edge("conv_3x3", 1)),), (2,))
        return Candidate(Genotype(cell, cell), Shape(cells=3))

    bound, without = (cost(network(name), image=image, outputs=10) for name in ("my_op", "none"))
    assert (bound.params, bound.macs, bound.exact) == (without.params, without.macs, False)
    built = cost_of(network("my_op"), image=image, outputs=10)
    assert built.params > bound.params
    assert built.macs > bound.macs
    assert built.exact
