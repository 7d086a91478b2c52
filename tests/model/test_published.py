"""Published networks beside the code of Liu et al. 2019, written once more (tests/model/darts.py)."""

import random

import pytest
import torch
from torch import nn

from nas.model import CellNetwork
from nas.space import Genotype, Shape, known
from nas.space.known import KNOWN, SOURCES
from nas.space.operations import DARTS_OPERATIONS
from tests.model.darts import DartsNetwork
from tests.space.isomorphism import random_cell

OF_DARTS = (*DARTS_OPERATIONS, "sep_conv_7x7", "conv_7x1_1x7")


def with_weights(network: nn.Module) -> list[nn.Module]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]


def pair_of(genotype: Genotype, shape: Shape, *, in_channels: int) -> tuple[CellNetwork, DartsNetwork]:
    """Our network and the independent one with the same weights, which let what they see come through to the end.

    Both keep their layers in one order, which is the mapping: the stem's convolutions and batch norms; then for each
    cell the preprocessing of its first input (`pre0`, there `preprocess0`), of its second (`pre1`, `preprocess1`), and
    the operations node after node and edge after edge (`nodes`, there the flat list `ops`), each from its first
    convolution to its last batch norm (in FactorizedReduce `even` is `conv_1`, `odd` is `conv_2`); the classifier; the
    auxiliary head.
    """
    ours = CellNetwork(genotype, shape, in_channels=in_channels, outputs=10)
    theirs = DartsNetwork(
        genotype, shape.channels, shape.cells, in_channels, 10, shape.auxiliary > 0, shape.stem == "imagenet"
    )
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


@pytest.mark.parametrize(("size", "in_channels"), [((8, 8), 1), ((9, 11), 3), ((32, 32), 3)], ids=str)
@pytest.mark.parametrize("name", KNOWN)
def test_a_published_network_computes_what_the_darts_code_does(
    name: str, size: tuple[int, int], in_channels: int
) -> None:
    ours, theirs = pair_of(known(name), Shape(channels=4, cells=5), in_channels=in_channels)
    images = torch.randn(2, in_channels, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs.eval()(images)
        scale = float(expected.abs().max())
        torch.testing.assert_close(ours.eval()(images) / scale, expected / scale, rtol=0, atol=1e-5)
        exact = theirs.double()(images.double())
        torch.testing.assert_close(ours.double()(images.double()), exact, rtol=1e-10, atol=1e-10)
    assert (exact[0] - exact[1]).abs().mean() > 0.1  # the images are told apart, so that something was compared


@pytest.mark.parametrize(("stem", "side", "cells"), [("cifar", 32, 5), ("imagenet", 224, 3)])
def test_a_network_and_its_auxiliary_head_compute_what_the_darts_code_does(stem: str, side: int, cells: int) -> None:
    """At the sizes that the published heads expect: maps of 8×8 and 7×7 pixels."""
    shape = Shape(channels=4, cells=cells, stem=stem, auxiliary=0.4)  # type: ignore[arg-type]
    ours, theirs = pair_of(known("DARTS_V2"), shape, in_channels=3)
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        for mine, expected in zip(ours.double().eval().both(images), theirs.double().eval().both(images), strict=True):
            assert expected is not None
            torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-10)
            assert (expected[0] - expected[1]).abs().mean() > 0.1


@pytest.mark.parametrize("size", [(8, 8), (9, 11)], ids=str)
@pytest.mark.parametrize("name", list(KNOWN)[:4])
def test_a_published_network_learns_what_the_darts_code_does(name: str, size: tuple[int, int]) -> None:
    ours, theirs = pair_of(known(name), Shape(channels=4, cells=3), in_channels=1)
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
    for index in range(12):
        genotype = Genotype(
            random_cell(rng, nodes=rng.randint(1, 5), ops=OF_DARTS),
            random_cell(rng, nodes=3, first_output=2, ops=OF_DARTS),
        )
        stem = ("cifar", "imagenet")[index % 2]
        shape = Shape(channels=3 if stem == "cifar" else 4, cells=rng.randint(1, 6), stem=stem)  # type: ignore[arg-type]
        ours, theirs = pair_of(genotype, shape, in_channels=2)
        images = torch.randn(2, 2, 10, 7, dtype=torch.double, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            expected = theirs.double().eval()(images)
            torch.testing.assert_close(ours.double().eval()(images), expected, rtol=1e-10, atol=1e-10)


CIFAR = Shape(channels=36, cells=20)
IMAGENET = Shape(channels=48, cells=14, stem="imagenet")

# Millions of parameters, as published:
# DARTS, table 1 and 2: 3.3 and 4.7; PC-DARTS, table 1 and 2: 3.6 and 5.3; P-DARTS, table 1 and 2: 3.4 and 4.9;
# GDAS, table 1: 3.4. The NASNet cells have 3.3 there with fewer channels; 3.83 and SNAS's 2.66 are the counts beside
# the cells in fairdarts/genotypes.py of xiaomi-automl/FairDARTS (SNAS's own network, table 1, has 2.9).
SIZE_OF = [
    ("DARTS_V1", CIFAR, 3_169_414, 3.2),
    ("DARTS_V2", CIFAR, 3_349_342, 3.3),
    ("DARTS_V2", IMAGENET, 4_718_752, 4.7),
    ("NASNet", CIFAR, 3_830_950, 3.83),
    ("PC_DARTS_cifar", CIFAR, 3_634_678, 3.63),
    ("PC_DARTS_image", IMAGENET, 5_342_464, 5.3),
    ("PDARTS", CIFAR, 3_433_798, 3.43),
    ("PDARTS", IMAGENET, 4_944_352, 4.9),
    ("GDAS_V1", CIFAR, 3_368_782, 3.4),
    ("SNAS_mild", CIFAR, 2_661_382, 2.66),
]


@pytest.mark.parametrize(("name", "shape", "params", "millions"), SIZE_OF)
def test_a_published_network_has_its_published_size(name: str, shape: Shape, params: int, millions: float) -> None:
    outputs = 10 if shape is CIFAR else 1000
    with torch.device("meta"):
        ours = CellNetwork(known(name), shape, in_channels=3, outputs=outputs)
        theirs = DartsNetwork(known(name), shape.channels, shape.cells, 3, outputs, imagenet=shape.stem == "imagenet")
    assert sum(p.numel() for p in ours.parameters()) == params == sum(p.numel() for p in theirs.parameters())
    decimals = len(f"{millions}".split(".")[1])
    assert round(params / 1e6, decimals) == millions


def test_every_published_genotype_has_a_source() -> None:
    assert list(SOURCES) == list(KNOWN)
    assert len({known(name) for name in KNOWN}) == len(KNOWN)
    for source in SOURCES.values():
        repository, path = source.file.split(", ")
        assert repository.count("/") == 1
        assert path.endswith("genotypes.py")
        assert source.paper[-4:].isdigit()
