import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.model import CellNetwork, ResidualNetwork, build_network, count_params, params_of
from nas.space import Candidate, Cell, CellSpace, Edge, Genotype, ResidualNet, known, reduction_cells, smallest_input
from nas.space.known import KNOWN
from nas.space.operations import DEFAULT_OPERATIONS, OPERATIONS
from tests.model.darts import DartsNetwork
from tests.space.isomorphism import random_cell

SIZES = [(8, 8), (9, 11), (32, 32)]


def with_weights(network: nn.Module) -> list[nn.Module]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]


def pair_of(genotype: Genotype, *, channels: int, cells: int, in_channels: int) -> tuple[CellNetwork, DartsNetwork]:
    """Our network and the independent one with the same weights, which let what they see come through to the end.

    Both keep their layers in one order, which is the mapping: the stem's convolution and batch norm; then for each
    cell the preprocessing of its first input (`pre0`, there `preprocess0`), of its second (`pre1`, `preprocess1`), and
    the operations node after node and edge after edge (`nodes`, there the flat list `ops`), each from its first
    convolution to its last batch norm (in FactorizedReduce `even` is `conv_1`, `odd` is `conv_2`); the classifier.
    """
    ours = CellNetwork(genotype, channels=channels, cells=cells, in_channels=in_channels, classes=10)
    theirs = DartsNetwork(genotype, channels, cells, in_channels, 10)
    generator = torch.Generator().manual_seed(0)
    for one, other in zip(with_weights(ours), with_weights(theirs), strict=True):
        state = {name: tensor.clone() for name, tensor in one.state_dict().items()}
        if isinstance(one, nn.BatchNorm2d):  # its defaults, 0 and 1, would hide mistakes
            for name in ("weight", "bias", "running_mean", "running_var"):
                state[name].uniform_(0.5, 1.5, generator=generator)
            state["bias"] -= 1
            state["running_mean"] -= 1
        else:  # torch's own initialisation lets so little through that all images look alike after five cells
            state["weight"].normal_(0, (2 / state["weight"][0].numel()) ** 0.5, generator=generator)
        one.load_state_dict(state)
        other.load_state_dict(state)
    return ours, theirs


@pytest.mark.parametrize("in_channels", [1, 3])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", KNOWN)
def test_a_published_network_computes_what_the_darts_code_does(
    name: str, size: tuple[int, int], in_channels: int
) -> None:
    ours, theirs = pair_of(known(name), channels=4, cells=5, in_channels=in_channels)
    images = torch.randn(2, in_channels, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs.eval()(images)
        torch.testing.assert_close(ours.eval()(images), expected, rtol=1e-5, atol=1e-5)
        exact = theirs.double()(images.double())
        torch.testing.assert_close(ours.double()(images.double()), exact, rtol=1e-10, atol=1e-10)
    assert (exact[0] - exact[1]).abs().mean() > 0.1  # the images are told apart, so that something was compared


@pytest.mark.parametrize("size", SIZES[:2], ids=str)
@pytest.mark.parametrize("name", KNOWN)
def test_a_published_network_learns_what_the_darts_code_does(name: str, size: tuple[int, int]) -> None:
    ours, theirs = pair_of(known(name), channels=4, cells=3, in_channels=1)
    images = torch.randn(16, 1, *size, generator=torch.Generator().manual_seed(1))
    # In double precision, for the error bound, and because torch's strided 1×1 convolutions corrupt the heap in single.
    theirs.double().train()(images.double()).square().sum().backward()
    ours.train()(images).square().sum().backward()
    for one, other in zip(with_weights(ours), with_weights(theirs), strict=True):
        for mine, expected in zip(one.parameters(), other.parameters(), strict=True):
            if expected.grad is None:  # a node that nobody uses
                assert mine.grad is None
                continue
            assert mine.grad is not None
            error = (mine.grad.double() - expected.grad).abs().max()
            assert error < 1e-4 * expected.grad.abs().max()
        for measured, counted in zip(one.buffers(), other.buffers(), strict=True):
            torch.testing.assert_close(measured, counted, rtol=1e-4, atol=1e-4, check_dtype=False)


def test_random_genotypes_compute_what_the_darts_code_does() -> None:
    rng = random.Random(0)
    for _ in range(12):
        genotype = Genotype(random_cell(rng, nodes=rng.randint(1, 5)), random_cell(rng, nodes=3, first_output=2))
        ours, theirs = pair_of(genotype, channels=3, cells=rng.randint(1, 6), in_channels=2)
        images = torch.randn(2, 2, 10, 7, dtype=torch.double, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            expected = theirs.double().eval()(images)
            torch.testing.assert_close(ours.double().eval()(images), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("name", "params"), [("DARTS_V2", 3_349_342), ("DARTS_V1", 3_169_414)])
def test_the_networks_of_the_paper_have_their_published_size(name: str, params: int) -> None:
    size = params_of(Candidate(known(name)), channels=36, cells=20, in_channels=3, classes=10)
    with torch.device("meta"):
        assert size == params == count_params(DartsNetwork(known(name), 36, 20, 3, 10))


@pytest.mark.parametrize("cells", [1, 2, 3, 20])
def test_a_network_of_any_depth_learns_from_its_smallest_images(cells: int) -> None:
    space = CellSpace(DEFAULT_OPERATIONS, 4, 2, cells)
    torch.manual_seed(0)
    network = build_network(space.sample(np.random.default_rng(0)), channels=2, cells=cells, in_channels=1, classes=3)
    side = smallest_input(cells)
    logits = network(torch.randn(4, 1, side, side))
    logits.square().sum().backward()
    assert logits.shape == (4, 3)
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())


@pytest.mark.parametrize("cells", [1, 2, 3, 20])
def test_the_last_cell_of_a_network_sees_at_least_two_by_two_pixels(cells: int) -> None:
    network = CellNetwork(known("DARTS_V2"), channels=2, cells=cells, in_channels=1, classes=3).eval()
    shapes: list[torch.Size] = []
    for cell in network.cells:
        cell.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
    side = smallest_input(cells)
    network(torch.randn(1, 1, side, side))
    expected = side
    for index, shape in enumerate(shapes):
        expected = expected // 2 if index in reduction_cells(cells) else expected
        assert shape[2:] == (expected, expected)
    assert len(shapes) == cells
    assert expected == 2


@pytest.mark.parametrize("cells", [1, 2, 3, 4])
def test_the_normal_cell_is_built_from_three_cells_on(cells: int) -> None:
    genotype = known("DARTS_V2")
    other = Genotype(known("DARTS_V1").normal, genotype.reduce)
    sizes = {
        params_of(Candidate(found), channels=4, cells=cells, in_channels=1, classes=10) for found in (genotype, other)
    }
    assert len(sizes) == (2 if cells >= 3 else 1)


@pytest.mark.parametrize("concat", [(0,), (1,), (1, 0), (0, 2), (2, 1, 2)])
@pytest.mark.parametrize("size", [(8, 8), (9, 11)], ids=str)
def test_a_normal_cell_may_put_out_its_inputs(concat: tuple[int, ...], size: tuple[int, int]) -> None:
    genotype = Genotype(Cell(((Edge("sep_conv_3x3", 0), Edge("skip_connect", 1)),), concat), known("DARTS_V2").reduce)
    ours, theirs = pair_of(genotype, channels=4, cells=6, in_channels=1)
    images = torch.randn(2, 1, *size)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images), theirs.eval()(images), rtol=1e-5, atol=1e-5)


def test_every_operation_fits_into_a_network() -> None:
    for op in OPERATIONS:
        cell = Cell(((Edge(op, 0), Edge("skip_connect", 1)), (Edge(op, 2), Edge(op, 1))), (2, 3))
        network = build_network(Candidate(Genotype(cell, cell)), channels=2, cells=4, in_channels=3, classes=5)
        logits = network.eval()(torch.randn(2, 3, 9, 9))
        assert logits.shape == (2, 5)
        assert bool(logits.isfinite().all())


def test_images_do_not_influence_each_other_in_evaluation() -> None:
    network = CellNetwork(known("DARTS_V2"), channels=4, cells=3, in_channels=1, classes=10).eval()
    images = torch.randn(5, 1, 8, 8)
    with torch.no_grad():
        together = network(images)
        alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_the_same_seed_gives_the_same_network() -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        network = build_network(Candidate(known("NASNet")), channels=4, cells=3, in_channels=1, classes=10)
        return torch.cat([parameter.flatten() for parameter in network.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def residual_params(width: int, blocks: int, in_channels: int, classes: int) -> int:
    """With w, b, i and c for the arguments: stem 9iw + 2w; a block of a stage of width v, with u channels before it,
    9uv + 9v² + 4v, and uv + 2v more where its shortcut is a convolution; classifier 4wc + c."""
    total = 9 * in_channels * width + 2 * width + 4 * width * classes + classes
    total += blocks * (18 * width**2 + 4 * width)
    for v in (2 * width, 4 * width):
        u = v // 2
        total += 9 * u * v + 9 * v**2 + 4 * v + u * v + 2 * v + (blocks - 1) * (18 * v**2 + 4 * v)
    return total


@pytest.mark.parametrize(
    ("width", "blocks", "in_channels", "classes"), [(1, 1, 1, 2), (8, 2, 1, 10), (16, 3, 3, 10), (5, 4, 3, 7)]
)
def test_a_residual_network_has_the_size_that_its_formula_says(
    width: int, blocks: int, in_channels: int, classes: int
) -> None:
    candidate = Candidate(ResidualNet(width, blocks))
    size = params_of(candidate, channels=99, cells=99, in_channels=in_channels, classes=classes)
    assert size == residual_params(width, blocks, in_channels, classes)


def test_a_residual_network_of_twenty_layers_has_the_size_of_resnet20() -> None:
    # He et al. 2016, table 6: 0.27 million, without the two projection shortcuts (2,752 weights) that ours has.
    assert params_of(Candidate(ResidualNet(16, 3)), channels=1, cells=1, in_channels=3, classes=10) == 269_722 + 2_752


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (9, 11)], ids=str)
def test_a_residual_network_computes_what_its_definition_says(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = ResidualNetwork(ResidualNet(4, 2), in_channels=3, classes=5).eval()
    images = torch.randn(2, 3, *size)
    layers = iter(with_weights(network))

    def convolved(x: Tensor) -> Tensor:
        convolution, norm = next(layers), next(layers)
        result: Tensor = norm(convolution(x))
        return result

    with torch.no_grad():
        x = torch.relu(convolved(images))
        for stage in range(3):
            for block in range(2):
                y = convolved(torch.relu(convolved(x)))
                x = torch.relu(y + (convolved(x) if stage > 0 and block == 0 else x))
        logits = next(layers)(x.flatten(2).mean(dim=2))
        torch.testing.assert_close(network(images), logits, rtol=1e-5, atol=1e-5)
    assert next(layers, None) is None
