"""Training-free scores against the plainest way to compute them, and against published networks' accuracies."""

import math
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.errors import GenotypeError
from nas.model import build_network
from nas.model.scores import nwot, score_candidate, shrink
from nas.model.style import ACTIVATIONS
from nas.space import Candidate, Cell, CellSpace, Edge, Genotype, LayerSpace, Shape
from nas.space.operations import DEFAULT_OPERATIONS
from nas.space.shape import Activation

CELLS = CellSpace(DEFAULT_OPERATIONS, nodes=2, shape=Shape(channels=4, cells=3))
LAYERS = LayerSpace(narrowest=4, widest=8)


def pictures(count: int = 8, channels: int = 1, side: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(seed))


def built(candidate: Candidate, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build_network(candidate, in_channels=1, outputs=10)


def drawn(space: CellSpace | LayerSpace, seed: int = 0, **shape: Any) -> Candidate:
    candidate = space.sample(np.random.default_rng(seed))
    return replace(candidate, shape=candidate.shape.model_copy(update=shape))


def plainly(network: nn.Module, images: Tensor) -> float:
    """Mellor et al. 2021, equation 2, image by image and bit by bit."""
    codes: list[Tensor] = []
    kinds = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish)
    for module in network.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(lambda _, inputs, __: codes.append(inputs[0].flatten(1) > 0))
    network.train()
    with torch.no_grad():
        network(images)
    code = torch.cat(codes, dim=1)
    kernel = np.array([[int((a == b).sum()) for b in code] for a in code], dtype=np.float64)
    return float(np.linalg.slogdet(kernel)[1])


@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("space", [CELLS, LAYERS], ids=["cells", "layers"])
def test_the_score_is_the_logarithm_of_the_determinant_of_the_bits_that_images_share(
    space: CellSpace | LayerSpace, activation: str
) -> None:
    candidate = drawn(space, 3, activation=activation)
    assert nwot(built(candidate), pictures()) == pytest.approx(plainly(built(candidate), pictures()), rel=1e-9)


def test_every_activation_that_a_shape_can_say_is_looked_at() -> None:
    assert set(get_args(Activation)) == set(ACTIVATIONS) - {"identity"}


def test_batch_norms_work_as_in_training_and_the_network_is_left_in_its_mode() -> None:
    network, images = built(drawn(CELLS)), pictures()
    expected = plainly(built(drawn(CELLS)), images)
    assert nwot(network.eval(), images) == pytest.approx(expected)
    assert not any(module.training for module in network.modules())
    assert nwot(network, images) == pytest.approx(expected)  # what the norms have taken in does not count
    nwot(network.train(), images)
    assert network.training
    assert all(not module._forward_pre_hooks for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_network_that_cannot_tell_two_images_apart_has_the_worst_score() -> None:
    images = pictures()
    images[3] = images[5]
    assert nwot(built(drawn(CELLS)), images) == -math.inf


def test_a_network_with_numbers_that_are_not_finite_has_no_score() -> None:
    network = built(drawn(CELLS))
    next(network.parameters()).data.fill_(math.inf)
    assert math.isnan(nwot(network, pictures()))


def test_hooks_are_taken_off_after_an_error_too() -> None:
    network = built(drawn(CELLS))
    with pytest.raises(RuntimeError):
        nwot(network, pictures(channels=3))
    assert all(not module._forward_pre_hooks for module in network.modules())


def test_a_candidate_has_one_score_a_seed_and_leaves_the_random_numbers_alone() -> None:
    candidate = drawn(CELLS, auxiliary=0.4, dropout=0.5, drop_path=0.5)
    torch.manual_seed(9)
    before = torch.get_rng_state()
    first, again, other = (score_candidate(candidate, pictures(), outputs=10, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), before)
    plain = replace(candidate, shape=candidate.shape.model_copy(update={"auxiliary": 0.0}))
    assert first == pytest.approx(plainly(built(plain, seed=1), pictures()), rel=1e-9)


def test_a_candidate_that_cannot_be_built_says_so() -> None:
    edges = (Edge("conv_1x1", 0), Edge("conv_1x1", 1))
    genotype = Genotype(Cell((edges,), (2,)), Cell((edges,), (2,)))
    object.__setattr__(genotype.normal.nodes[0][0], "op", "nothing")
    with pytest.raises(GenotypeError, match="nothing"):
        score_candidate(Candidate(genotype), pictures(), outputs=10, seed=0)


def test_convolutions_score_above_nothing_but_identities() -> None:
    def score(op: str) -> float:
        cell = Cell(((Edge(op, 0), Edge(op, 1)), (Edge(op, 1), Edge(op, 2))), (2, 3))
        candidate = Candidate(Genotype(cell, cell), Shape(channels=4, cells=3))
        return score_candidate(candidate, pictures(16), outputs=10, seed=0)

    assert score("sep_conv_3x3") > score("dil_conv_3x3") > score("skip_connect")


@pytest.mark.parametrize(
    ("size", "side", "then"),
    [
        ((32, 32), 8, (8, 8)),
        ((28, 28), 8, (9, 9)),
        ((15, 40), 8, (15, 40)),
        ((40, 16), 8, (20, 8)),
        ((8, 8), 64, (8, 8)),
    ],
)
def test_images_are_shrunk_by_a_whole_factor_that_leaves_so_many_pixels(
    size: tuple[int, int], side: int, then: tuple[int, int]
) -> None:
    images = torch.randn(2, 3, *size)
    shrunk = shrink(images, side)
    factor = size[0] // then[0]
    assert shrunk.shape == (2, 3, *then)
    assert shrunk[1, 2, 1, 3].item() == pytest.approx(
        images[1, 2, factor : 2 * factor, 3 * factor : 4 * factor].mean().item(), abs=1e-6
    )
