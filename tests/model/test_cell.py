import pytest
import torch
from torch import Tensor, nn

from nas.model import CellNetwork, build_network, merge_weights
from nas.model.cell import CellModule, drop_path
from nas.model.merge import MERGES, Weighted
from nas.model.style import Style
from nas.space import Candidate, Cell, Edge, Genotype, ResidualNet, Shape, known

SKIP_AND_CONV = Cell(((Edge("skip_connect", 0), Edge("conv_1x1", 1)),), (2,))


def inputs(count: int, side: int = 4) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_drop_path_drops_whole_images_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    x = torch.rand(20_000, 2, 1, 3) + 1
    out = drop_path(x, 0.3)
    kept = out[:, 0, 0, 0] != 0
    assert abs(float(kept.float().mean()) - 0.7) < 0.01
    torch.testing.assert_close(out[kept], x[kept] / 0.7)
    assert not bool(out[~kept].any())
    torch.testing.assert_close(out.mean(), x.mean(), rtol=0.02, atol=0)


def test_an_identity_is_never_dropped_and_every_other_edge_for_itself() -> None:
    torch.manual_seed(0)
    graph = Cell(((Edge("skip_connect", 0), Edge("conv_1x1", 1), Edge("max_pool_3x3", 1)),), (2,))
    cell = CellModule(graph, 3, 3, 3, reduction=False, after_reduction=False, shape=Shape(norm="none"))
    s0, s1 = inputs(400), inputs(400)
    with torch.no_grad():
        _, convolution, pool = cell.nodes[0].children()
        skipped, terms = cell.pre0(s0), (convolution(cell.pre1(s1)), pool(cell.pre1(s1)))
        out = cell.train()(s0, s1, 0.5) - skipped
    seen = []
    for image, convolved, pooled in zip(out, *terms, strict=True):
        options = [a * convolved + b * pooled for a in (0, 2) for b in (0, 2)]
        distances = torch.stack([(image - option).abs().max() for option in options])
        assert distances.min() < 1e-5
        seen.append(int(distances.argmin()))
    assert all(70 < seen.count(option) < 130 for option in range(4))  # 100 ± 3 standard deviations


def test_a_skip_of_stride_two_may_be_dropped() -> None:
    torch.manual_seed(0)
    graph = Cell(((Edge("skip_connect", 0),),), (2,))
    for downsample in ("factorized", "max_pool"):
        shape = Shape(norm="none", downsample=downsample)
        cell = CellModule(graph, 3, 3, 3, reduction=True, after_reduction=False, shape=shape)
        nn.init.ones_(cell.pre0[1].bias)  # type: ignore[index]
        out = cell.train()(inputs(200), inputs(200), 0.5)
        dropped = [not bool(image.any()) for image in out]
        assert 60 < sum(dropped) < 140


def test_drop_path_grows_with_the_progress_of_the_training_and_ends_with_it() -> None:
    shape = Shape(channels=3, cells=1, drop_path=0.8, norm="none")
    network = build_network(Candidate(Genotype(SKIP_AND_CONV, SKIP_AND_CONV), shape), in_channels=3, outputs=2)
    assert isinstance(network, CellNetwork)
    given = []
    network.cells[0].register_forward_hook(lambda module, args, output: given.append(args[2]))
    images = inputs(4)
    network.train()(images)
    for share in (0.25, 1.0):
        network.set_progress(share)
        network(images)
    network.eval()(images)
    assert given == pytest.approx([0.0, 0.2, 0.8, 0.0])


def test_without_progress_training_draws_no_random_numbers() -> None:
    network = build_network(
        Candidate(known("DARTS_V2"), Shape(channels=2, cells=3, drop_path=0.8)), in_channels=3, outputs=2
    )
    before = torch.get_rng_state()
    network.train()(inputs(4, 8))
    assert torch.equal(torch.get_rng_state(), before)
    network.set_progress(0.1)
    network(inputs(4, 8))
    assert not torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_merge_has_the_size_that_its_formula_says(count: int) -> None:
    c = 6
    sizes = {"sum": 0, "weighted": count, "concat": count * c * c + 2 * c if count > 1 else 0}
    for name, size in sizes.items():
        merge = MERGES[name](c, count, Style())
        assert sum(p.numel() for p in merge.parameters()) == size
    bias = MERGES["concat"](c, 3, Style(norm="none"))
    assert sum(p.numel() for p in bias.parameters()) == 3 * c * c + c


def test_a_weighted_merge_begins_as_a_sum_and_learns() -> None:
    terms = [inputs(2), -2 * inputs(2), inputs(2).square()]
    merge = Weighted(3)
    out = merge(terms)
    torch.testing.assert_close(out, terms[0] + terms[1] + terms[2])
    out.square().sum().backward()
    expected = torch.stack([2 * (out * term).sum() for term in terms])
    torch.testing.assert_close(merge.weight.grad, expected)


def test_learned_weights_are_told_edge_by_edge_with_those_to_cut() -> None:
    genotype = Genotype(
        Cell(
            ((Edge("conv_1x1", 0), Edge("skip_connect", 1), Edge("sep_conv_3x3", 0)), (Edge("max_pool_3x3", 2),)), (3,)
        ),
        SKIP_AND_CONV,
    )
    network = build_network(Candidate(genotype, Shape(channels=2, cells=3, merge="weighted")), in_channels=3, outputs=2)
    assert isinstance(network, CellNetwork)
    assert {edge["weight"] for edge in merge_weights(network)} == {1.0}
    assert not any(edge["cut"] for edge in merge_weights(network))

    first = network.cells[0].merges[0]  # type: ignore[index]
    assert isinstance(first, Weighted)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([-1.5, 0.079, 0.081 - 0.16]))  # shares 0.905, 0.048, 0.048
        network.cells[0].merges[1].weight.fill_(0.0)  # type: ignore[index, union-attr]
    found = merge_weights(network)
    assert [(edge["cell"], edge["node"], edge["op"], edge["source"], edge["cut"]) for edge in found] == [
        (0, 2, "conv_1x1", 0, False),
        (0, 2, "skip_connect", 1, True),
        (0, 2, "sep_conv_3x3", 0, True),
        (0, 3, "max_pool_3x3", 2, True),
        (1, 2, "skip_connect", 0, False),
        (1, 2, "conv_1x1", 1, False),
        (2, 2, "skip_connect", 0, False),
        (2, 2, "conv_1x1", 1, False),
    ]
    assert [edge["weight"] for edge in found[:4]] == pytest.approx([-1.5, 0.079, -0.079, 0.0])
    with torch.no_grad():
        first.weight.copy_(torch.tensor([0.9, 0.05, 0.05]))
    assert [edge["cut"] for edge in merge_weights(network)[:3]] == [False, False, False]


@pytest.mark.parametrize(
    "candidate", [Candidate(known("DARTS_V2")), Candidate(ResidualNet(2, 1))], ids=["cells", "residual"]
)
def test_only_weighted_merges_have_weights_to_tell(candidate: Candidate) -> None:
    assert merge_weights(build_network(candidate, in_channels=1, outputs=2)) == []
