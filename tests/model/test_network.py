import hashlib
import random

import pytest
import torch
from torch import Tensor, nn

from nas.model import CellNetwork, ResidualNetwork, build_network, strip_auxiliary, without_auxiliary
from nas.space import Candidate, Cell, Edge, Genotype, ResidualNet, Shape, is_reduction, known, smallest_input
from nas.space.operations import DARTS_OPERATIONS, OPERATIONS
from tests.model.plain import cell_network, layout, shaken
from tests.space.isomorphism import random_cell

SIZES = [(1, 1), (5, 9), (16, 16)]
GENOTYPES = {"DARTS_V2": known("DARTS_V2")} | {
    f"random {seed}": Genotype(
        random_cell(random.Random(seed), nodes=4), random_cell(random.Random(-seed), nodes=4, first_output=2)
    )
    for seed in (1, 2)
}
SHAPES = [
    Shape(channels=4, cells=5),
    Shape(channels=4, cells=3, merge="concat"),
    Shape(channels=4, cells=3, merge="weighted"),
    Shape(channels=3, cells=4, merge="concat", norm="none", activation="gelu"),
    Shape(channels=4, cells=5, skeleton="residual"),
    Shape(channels=3, cells=5, skeleton="residual", downsample="conv", norm="group", activation="silu"),
    Shape(channels=4, cells=4, skeleton="residual", downsample="max_pool", merge="weighted", activation="elu"),
    Shape(channels=4, cells=4, stem="imagenet", downsample="avg_pool", norm="none", auxiliary=0.4),
    Shape(channels=5, cells=3, stem="imagenet", norm="batch_fixed", auxiliary=0.4, activation="hardswish"),
    Shape(channels=1, cells=3, stem="imagenet", activation="leaky_relu"),
    Shape(channels=3, cells=6, auxiliary=0.4, norm="group", dropout=0.5, drop_path=0.5),
    Shape(channels=2, cells=3, tail=2, auxiliary=0.4),
    Shape(channels=2, cells=6, tail=-2, auxiliary=0.4, norm="none"),
    Shape(channels=2, cells=3, tail=-9, skeleton="residual"),
]


def named(shape: Shape) -> str:
    return "-".join(f"{value}" for value in shape.model_dump(exclude_defaults=True).values())


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def images_of(count: int, channels: int, size: tuple[int, int]) -> Tensor:
    return torch.randn(count, channels, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shape", SHAPES, ids=named)
@pytest.mark.parametrize("genotype", GENOTYPES.values(), ids=GENOTYPES.keys())
def test_a_network_of_any_shape_computes_what_its_formulas_say(genotype: Genotype, shape: Shape) -> None:
    network = shaken(build_network(Candidate(genotype, shape), in_channels=2, outputs=5))
    assert isinstance(network, CellNetwork)
    for size in SIZES:
        images = images_of(2, 2, size)
        with torch.no_grad():
            network.double()
            exact, exact_head = cell_network(network, genotype, shape, images.double())
            torch.testing.assert_close(network(images.double()), exact, rtol=1e-8, atol=1e-8)
            if exact_head is not None:
                torch.testing.assert_close(network.both(images.double())[0], exact, rtol=1e-8, atol=1e-8)
                torch.testing.assert_close(network.both(images.double())[1], exact_head, rtol=1e-8, atol=1e-8)
            scale = float(exact.abs().max())
            single = network.float()(images.contiguous(memory_format=torch.channels_last))
            torch.testing.assert_close(single.double() / scale, exact / scale, rtol=1e-5, atol=1e-5)
    assert exact[0].sub(exact[1]).abs().max() > 1e-3 * scale  # images are told apart: something was compared


@pytest.mark.parametrize("lowered", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES, ids=named)
def test_a_network_of_any_shape_learns_from_images_of_any_size(shape: Shape, lowered: bool) -> None:
    every = Cell(
        (tuple(Edge(op, index % 2) for index, op in enumerate(OPERATIONS)), (Edge("conv_1x1", 2), Edge("none", 1))),
        (2, 3),
    )
    torch.manual_seed(0)
    network = build_network(Candidate(Genotype(every, every), shape), in_channels=3, outputs=5)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.set_progress(0.5)
    for size in SIZES[:2]:
        network.zero_grad()
        images = images_of(4, 3, size).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=lowered):
            logits = network.both(images) if network.auxiliary else (network(images),)
        sum(each.float().square().sum() for each in logits).backward()  # type: ignore[union-attr]
        assert all(each.shape == (4, 5) for each in logits)
        assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in network.parameters())
        assert sum(p.grad is not None and bool(p.grad.any()) for p in network.parameters()) > 10


def test_the_default_shape_is_what_earlier_versions_built() -> None:
    """Names, shapes, order and the random numbers of a seed: what packages and recorded runs rest on."""

    def digest(name: str) -> str:
        architecture = ResidualNet(4, 2) if name == "residual" else known(name)
        torch.manual_seed(0)
        network = build_network(Candidate(architecture, Shape(channels=4, cells=5)), in_channels=3, outputs=7)
        found = hashlib.sha256()
        for key, tensor in network.state_dict().items():
            found.update(f"{key}{tuple(tensor.shape)}".encode() + tensor.numpy().tobytes())
        return found.hexdigest()[:16]

    assert {name: digest(name) for name in ("DARTS_V1", "DARTS_V2", "NASNet", "AmoebaNet", "residual")} == {
        "DARTS_V1": "ae57e940dd857464",
        "DARTS_V2": "196d6f17399be7b5",
        "NASNet": "0e63536e3b2989df",
        "AmoebaNet": "f350774b93e291fe",
        "residual": "2968cd48b76abbba",
    }


@pytest.mark.parametrize("cells", [1, 2, 3, 20])
def test_the_last_cell_of_a_network_sees_at_least_two_by_two_pixels(cells: int) -> None:
    shape = Shape(channels=2, cells=cells)
    network = CellNetwork(known("DARTS_V2"), shape, in_channels=1, outputs=3).eval()
    shapes: list[torch.Size] = []
    for cell in network.cells:
        cell.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
    expected = smallest_input(shape)
    network(torch.randn(1, 1, expected, expected))
    for reduction, seen in zip(is_reduction(shape), shapes, strict=True):
        expected = expected // 2 if reduction else expected
        assert seen[2:] == (expected, expected)
    assert expected == 2


@pytest.mark.parametrize("tail", [-9, -3, -1, 0, 1, 4])
def test_a_tail_changes_the_end_and_leaves_the_layout_alone(tail: int) -> None:
    shape = Shape(channels=2, cells=4, tail=tail)
    network = build_network(Candidate(known("DARTS_V2"), shape), in_channels=1, outputs=3)
    assert isinstance(network, CellNetwork)
    whole = [False, True, True, False] + [False] * max(0, tail)
    expected = whole[: max(1, 4 + tail)] if tail < 0 else whole
    assert list(is_reduction(shape)) == layout(shape) == expected
    reductions = [type(cell.nodes[0][0]) is nn.MaxPool2d for cell in network.cells]  # type: ignore[index]
    assert reductions == expected


@pytest.mark.parametrize("concat", [(0,), (1,), (1, 0), (0, 2), (2, 1, 2)])
@pytest.mark.parametrize("skeleton", ["stacked", "residual"])
def test_a_normal_cell_may_put_out_its_inputs(concat: tuple[int, ...], skeleton: str) -> None:
    genotype = Genotype(Cell(((Edge("sep_conv_3x3", 0), Edge("skip_connect", 1)),), concat), known("DARTS_V2").reduce)
    shape = Shape(channels=4, cells=6, skeleton=skeleton)  # type: ignore[arg-type]
    network = shaken(build_network(Candidate(genotype, shape), in_channels=1, outputs=3)).double()
    images = images_of(2, 1, (9, 11)).double()
    with torch.no_grad():
        torch.testing.assert_close(network(images), cell_network(network, genotype, shape, images)[0])


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_an_auxiliary_head_has_its_size_and_comes_off_without_a_trace(stem: str) -> None:
    with_head = Candidate(known("DARTS_V2"), Shape(channels=2, auxiliary=0.4, stem=stem))  # type: ignore[arg-type]
    trained = build_network(with_head, in_channels=1, outputs=3)
    assert trained.auxiliary == 0.4
    assert trained.auxiliary_head is not None
    c = 4 * 2 * 4  # four nodes of twice twice two channels: the second reduction stands at two thirds
    norms = 2 * 128 + (2 * 768 if stem == "cifar" else 0)
    assert parameters(trained.auxiliary_head) == 128 * c + 4 * 128 * 768 + norms + 768 * 3 + 3

    images = images_of(2, 1, (9, 9))
    before = trained.eval()(images)
    stripped = strip_auxiliary(trained)
    assert stripped is trained
    assert stripped.auxiliary == 0.0
    plain = build_network(without_auxiliary(with_head), in_channels=1, outputs=3).eval()
    assert list(plain.state_dict()) == list(stripped.state_dict())
    plain.load_state_dict(stripped.state_dict())
    assert torch.equal(plain(images), before)
    with pytest.raises(ValueError, match="no auxiliary head"):
        plain.both(images)


def test_without_an_auxiliary_head_nothing_else_of_a_candidate_changes() -> None:
    candidate = Candidate(known("DARTS_V2"), Shape(cells=7, auxiliary=0.4, norm="group"), (("lr", 0.2),))
    expected = Candidate(known("DARTS_V2"), Shape(cells=7, norm="group"), (("lr", 0.2),))
    assert without_auxiliary(candidate) == expected


def test_dropout_blanks_the_features_before_the_classifier_in_training_only() -> None:
    shape = Shape(channels=2, cells=3, dropout=0.6, norm="none")
    network = build_network(Candidate(known("DARTS_V2"), shape), in_channels=1, outputs=3)
    seen: list[Tensor] = []
    network.classifier.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    torch.manual_seed(0)
    images = images_of(256, 1, (8, 8))
    with torch.no_grad():
        network.eval()(images)
        network.train()(images)
    features, dropped = seen
    kept = dropped != 0
    assert abs(float((~kept).float().mean()) - 0.6) < 0.02
    torch.testing.assert_close(dropped[kept], features[kept] / 0.4, rtol=1e-4, atol=1e-5)


def test_images_do_not_influence_each_other_in_evaluation() -> None:
    network = CellNetwork(known("DARTS_V2"), Shape(channels=4, cells=3), in_channels=1, outputs=10).eval()
    images = images_of(5, 1, (8, 8))
    with torch.no_grad():
        together = network(images)
        alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_the_same_seed_gives_the_same_network() -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        network = build_network(Candidate(known("NASNet"), Shape(channels=4, cells=3)), in_channels=1, outputs=10)
        return torch.cat([parameter.flatten() for parameter in network.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_all_operations_of_darts_have_the_names_of_its_code() -> None:
    assert set(DARTS_OPERATIONS) <= set(OPERATIONS)
    assert isinstance(build_network(Candidate(ResidualNet(2, 1)), in_channels=1, outputs=2), ResidualNetwork)
