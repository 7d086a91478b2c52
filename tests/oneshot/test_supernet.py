"""A supernet against the plainest way to compute what it computes."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nas.model.network import CellNetwork
from nas.model.ops import build_op
from nas.model.style import Style
from nas.oneshot.cell import POOLS, MixedCell, shuffle, weighted_sum
from nas.oneshot.mixing import CellMix, edge_places, path
from nas.oneshot.supernet import Mixed, Supernet
from nas.space import Cell, Edge, Genotype, Shape
from nas.space.operations import OPERATIONS

STYLE = Style(norm="batch_fixed")
NODES = 3
PLACES = edge_places(NODES)
EDGES = len(PLACES)


def weights(ops: int, seed: int = 0) -> Tensor:
    return torch.rand(EDGES, ops, generator=torch.Generator().manual_seed(seed), requires_grad=True)


def mix(values: Tensor, bypass: Tensor | None = None) -> CellMix:
    every = tuple(range(values.shape[1]))
    return CellMix(values, torch.ones(EDGES) if bypass is None else bypass, (every,) * EDGES)


def cell(ops: tuple[str, ...], channels: int = 4, **more: Any) -> MixedCell:
    torch.manual_seed(0)
    return MixedCell(ops, NODES, 3, 5, channels, after_reduction=False, style=more.pop("style", STYLE), **more)


def plain_operation(made: MixedCell, op: str, node: int, source: int, channels: int, style: Style = STYLE) -> nn.Module:
    """The operation as the project builds it, with the supernet's weights; poolings have a norm behind them."""
    built = build_op(op, channels, 2 if made.reduction and source < 2 else 1, style)
    if op in POOLS:
        built = nn.Sequential(built, nn.BatchNorm2d(channels, affine=False))
    name = f"{op}_from_{source}" if f"{op}_from_{source}" in made.ops else f"{op}_from_{source}_to_{node}"
    if op != "none":
        built.load_state_dict(made.ops[name].state_dict())
    return built


@pytest.mark.parametrize("reduction", [False, True])
@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_a_cell_is_the_weighted_sum_of_all_operations(reduction: bool, activation: Any) -> None:
    ops = tuple(OPERATIONS)
    style = Style(activation=activation, norm="batch_fixed")
    made = cell(ops, reduction=reduction, style=style)
    values = weights(len(ops))
    s0, s1 = torch.randn(6, 3, 8, 8), torch.randn(6, 5, 8, 8)
    states = [made.pre0(s0), made.pre1(s1)]
    edge = 0
    for node in range(2, 2 + NODES):
        total: Any = 0
        for source in range(node):
            for index, op in enumerate(ops):
                operation = plain_operation(made, op, node, source, 4, style)
                total = total + values[edge, index] * operation(states[source])
            edge += 1
        states.append(total)
    expected = torch.cat(states[2:], dim=1)
    found = made(s0, s1, mix(values))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    probe = torch.randn_like(found)
    [ours] = torch.autograd.grad((found * probe).sum(), values)
    [theirs] = torch.autograd.grad((expected * probe).sum(), values)
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("reduction", [False, True])
def test_partial_channels_go_through_the_operations_and_the_others_around_them(reduction: bool) -> None:
    ops = ("none", "skip_connect", "max_pool_3x3", "sep_conv_3x3")
    made = cell(ops, channels=8, share=4, reduction=reduction)
    values, edges = weights(len(ops)), torch.rand(EDGES, requires_grad=True)
    s0, s1 = torch.randn(6, 3, 7, 7), torch.randn(6, 5, 7, 7)
    states = [made.pre0(s0), made.pre1(s1)]
    for node in range(2, 2 + NODES):
        total: Any = 0
        for source in range(node):
            edge = PLACES.index((node, source))
            seen, rest = states[source][:, :2], states[source][:, 2:]
            mixed: Any = sum(
                values[edge, index] * plain_operation(made, op, node, source, 2)(seen) for index, op in enumerate(ops)
            )
            if reduction and source < 2:
                rest = F.max_pool2d(F.pad(rest, (0, 1, 0, 1), value=-1e9), 2)
            both = torch.cat([mixed, edges[edge] * rest], dim=1)
            # Channel c of group g stands at place c × groups + g (ShuffleNet).
            order = [group * 2 + channel for channel in range(2) for group in range(4)]
            total = total + both[:, order]
        states.append(total)
    found = made(s0, s1, mix(values, edges))
    torch.testing.assert_close(found, torch.cat(states[2:], dim=1), atol=1e-4, rtol=1e-4)


def test_a_share_that_does_not_divide_the_channels_becomes_the_next_smaller_one() -> None:
    assert cell(("skip_connect",), channels=6, share=4, reduction=False).share == 3
    assert cell(("skip_connect",), channels=5, share=4, reduction=False).share == 1


def test_shuffled_channels_are_the_same_channels() -> None:
    x = torch.arange(12.0).view(1, 12, 1, 1)
    assert shuffle(x, 3).flatten().tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]


def test_the_weighted_sum_has_the_gradients_of_the_plain_one_twice() -> None:
    terms = [torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    factors = torch.randn(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f, *t: weighted_sum(t, f), (factors, *terms))
    assert torch.autograd.gradgradcheck(lambda f, *t: weighted_sum(t, f), (factors, *terms))


def test_a_node_without_anything_is_zero() -> None:
    for share in (1, 2):
        made = cell(("none", "skip_connect"), reduction=True, share=share)
        nothing = CellMix(torch.zeros(EDGES, 2), torch.ones(EDGES), ((),) * EDGES)
        found = made(torch.randn(2, 3, 7, 7), torch.randn(2, 5, 7, 7), nothing)
        assert found.shape == (2, 12, 4, 4)
        assert not found.any()


NORMAL = Cell(
    (
        (Edge("sep_conv_3x3", 0), Edge("skip_connect", 1)),
        (Edge("dil_conv_5x5", 0), Edge("conv_1x1", 2)),
        (Edge("skip_connect", 2), Edge("conv_3x3", 3)),
    ),
    (2, 3, 4),
)
REDUCE = Cell(
    (
        (Edge("skip_connect", 0), Edge("conv_3x3", 1)),
        (Edge("skip_connect", 1), Edge("none", 2)),
        (Edge("sep_conv_3x3", 1), Edge("skip_connect", 3)),
    ),
    (2, 3, 4),
)


@pytest.mark.parametrize("frame", [{}, {"skeleton": "residual"}, {"stem": "imagenet", "tail": 1}])
def test_the_path_of_a_candidate_is_its_network(frame: dict[str, Any]) -> None:
    """With the supernet's weights, and norms as the supernet has them."""
    ops = ("none", "skip_connect", "conv_1x1", "conv_3x3", "sep_conv_3x3", "dil_conv_5x5")
    shape = Shape(channels=4, cells=4, norm="batch_fixed", **frame)
    genotype = Genotype(NORMAL, REDUCE)
    torch.manual_seed(1)
    supernet = Supernet(ops, NODES, shape, in_channels=1, outputs=10)
    network = CellNetwork(genotype, shape, in_channels=1, outputs=10)
    network.stem.load_state_dict(supernet.stem.state_dict())
    network.classifier.load_state_dict(supernet.classifier.state_dict())
    for own, mixed in zip(network.cells, supernet.cells, strict=True):
        parts: Any = own
        shared: Any = mixed
        parts.pre0.load_state_dict(shared.pre0.state_dict())
        parts.pre1.load_state_dict(shared.pre1.state_dict())
        if parts.shortcut is not None:
            parts.shortcut.load_state_dict(shared.shortcut.state_dict())
        for node, (edges, operations) in enumerate(zip(parts.cell.nodes, parts.nodes, strict=True), 2):
            for edge, operation in zip(edges, operations, strict=True):
                name = f"{edge.op}_from_{edge.source}_to_{node}"
                if name in shared.ops:
                    operation.load_state_dict(shared.ops[name].state_dict())
    x = torch.randn(5, 1, 64 if frame.get("stem") else 16, 64 if frame.get("stem") else 16)
    mixed_path = Mixed(supernet, path(genotype, ops, torch.device("cpu")))
    for training in (True, False):
        network.train(training)
        mixed_path.train(training)
        torch.testing.assert_close(mixed_path(x), network(x), atol=1e-4, rtol=1e-4)
    assert len(list(mixed_path.parameters())) < len(list(supernet.parameters()))


def test_what_a_mixing_leaves_out_is_not_computed() -> None:
    ops = ("none", "conv_1x1", "conv_3x3")
    supernet = Supernet(ops, 1, Shape(channels=4, cells=3, norm="batch_fixed"), in_channels=1, outputs=2)
    called: list[str] = []
    for name, module in supernet.named_modules():
        if ".ops." in name and name.count(".") == 3:
            module.register_forward_hook(lambda *_, name=name: called.append(name.split(".")[-1]))
    chosen = Cell(((Edge("conv_1x1", 0), Edge("none", 1)),), (2,))
    supernet(torch.randn(2, 1, 8, 8), path(Genotype(chosen, chosen), ops, torch.device("cpu")))
    assert called == ["conv_1x1_from_0_to_2"] * 3
