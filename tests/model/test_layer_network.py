import random
from itertools import product

import pytest
import torch

from nas.model import LayerNetwork, build_network
from nas.model.layers import LAYERS
from nas.space import Candidate, Layer, LayerNet, Shape
from nas.space.layers import KERNELS, LAYER_KINDS
from tests.model.plain import layer_network, shaken

SHAPES = [
    Shape(),
    Shape(activation="silu", norm="group", dropout=0.5),
    Shape(activation="gelu", norm="none"),
    Shape(skeleton="residual"),
    Shape(skeleton="residual", downsample="conv", norm="none", activation="elu"),
    Shape(skeleton="residual", downsample="max_pool", norm="batch_fixed", activation="hardswish"),
    Shape(skeleton="residual", downsample="avg_pool", norm="group", activation="leaky_relu"),
]


def random_layers(seed: int, depth: int = 7) -> LayerNet:
    rng = random.Random(seed)
    return LayerNet(
        tuple(
            Layer(
                rng.choice(list(LAYER_KINDS)),
                rng.choice((2, 4, 6)),
                rng.choice(KERNELS),
                index > 0 and rng.random() < 0.4,
            )
            for index in range(depth)
        )
    )


def test_every_kind_of_layer_can_be_built() -> None:
    assert set(LAYERS) == set(LAYER_KINDS)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape.model_dump(exclude_defaults=True)))
@pytest.mark.parametrize("seed", [0, 1, 3, 4])
def test_a_network_of_layers_computes_what_its_formulas_say(seed: int, shape: Shape) -> None:
    layers = random_layers(seed)
    network = shaken(build_network(Candidate(layers, shape), in_channels=2, outputs=5)).double()
    for size in [(1, 1), (5, 9), (16, 16)]:
        images = torch.randn(2, 2, *size, dtype=torch.double)
        with torch.no_grad():
            expected = layer_network(network, layers, shape, images)
            torch.testing.assert_close(network(images), expected, rtol=1e-9, atol=1e-9)
    assert (expected[0] - expected[1]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", LAYER_KINDS)
def test_a_layer_alone_or_beside_another_keeps_to_its_stride(kind: str) -> None:
    down = kind in ("conv_down", "max_pool", "avg_pool")
    for kernel, (height, width), other in product(KERNELS, [(1, 1), (6, 5), (9, 2)], LAYER_KINDS):
        layers = LayerNet((Layer(kind, 3, kernel), Layer(other, 2, kernel, parallel=True)))
        network = build_network(Candidate(layers), in_channels=1, outputs=2)
        assert isinstance(network, LayerNetwork)
        stride = 2 if down else 1
        out = network.eval().features(torch.randn(1, 1, height, width))[0]
        assert out.shape == (1, 5, -(-height // stride), -(-width // stride))


def test_a_network_of_layers_has_the_size_that_its_formulas_say() -> None:
    sizes = {  # of 6 channels in, 8 out, kernels of 5, with batch norm
        "conv": 25 * 6 * 8,
        "conv_down": 25 * 6 * 8,
        "dilated": 25 * 6 * 8,
        "separable": 25 * 6 + 6 * 8,
        "grouped": 25 * 6 * 2 + 6 * 8,  # three groups of two channels
        "max_pool": 6 * 8,
        "avg_pool": 6 * 8,
    }
    for kind, size in sizes.items():
        network = build_network(Candidate(LayerNet((Layer(kind, 8, 5),))), in_channels=6, outputs=3)
        assert sum(p.numel() for p in network.parameters()) == size + 2 * 8 + 8 * 3 + 3
        around = build_network(
            Candidate(LayerNet((Layer(kind, 8, 5),)), Shape(skeleton="residual")), in_channels=6, outputs=3
        )
        assert sum(p.numel() for p in around.parameters()) == size + 2 * 8 + 8 * 3 + 3 + 6 * 8 + 2 * 8


@pytest.mark.parametrize("lowered", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape.model_dump(exclude_defaults=True)))
def test_a_network_of_layers_learns_from_images_of_any_size(shape: Shape, lowered: bool) -> None:
    layers = LayerNet(tuple(Layer(kind, 6, kernel) for kind, kernel in product(LAYER_KINDS, (1, 3))))
    network = build_network(Candidate(layers, shape), in_channels=3, outputs=2)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for size in [(1, 1), (7, 7), (5, 9)]:
        network.zero_grad()
        images = torch.randn(4, 3, *size).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=lowered):
            logits = network(images)
        logits.float().square().sum().backward()
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())


def test_a_network_of_layers_has_no_auxiliary_head() -> None:
    network = build_network(Candidate(random_layers(0), Shape(auxiliary=0.4)), in_channels=3, outputs=2)
    assert network.auxiliary == 0.0
    with pytest.raises(ValueError, match="no auxiliary head"):
        network.both(torch.randn(2, 3, 8, 8))
