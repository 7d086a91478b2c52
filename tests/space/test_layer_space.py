from collections import Counter

import numpy as np
import pytest

from nas.space import Candidate, Layer, LayerNet, LayerSpace, ResidualNet, Shape, known
from nas.space.layers import LAYER_KINDS

SPACE = LayerSpace()
SMALL = LayerSpace(("conv", "max_pool"), 1, 3, 4, 5, (3, 5), parallel=True, shape=Shape(norm="group"))
CONV, WIDE, LARGE, POOL = Layer("conv", 4), Layer("conv", 5), Layer("conv", 4, 5), Layer("max_pool", 4)
BESIDE = Layer("conv", 4, parallel=True)


def net(*layers: Layer, shape: Shape = SMALL.shape) -> Candidate:
    return Candidate(LayerNet(layers), shape)


def layers_of(candidate: Candidate) -> tuple[Layer, ...]:
    assert isinstance(candidate.architecture, LayerNet)
    return candidate.architecture.layers


def test_networks_have_as_many_layers_as_asked_and_all_numbers_are_equally_likely() -> None:
    rng = np.random.default_rng(0)
    drawn = Counter(len(layers_of(SPACE.sample(rng))) for _ in range(3_000))
    assert set(drawn) == set(range(3, 9))
    assert sum((count - 500) ** 2 / 500 for count in drawn.values()) < 20.5  # 5 degrees of freedom, once in a thousand


def test_layers_are_of_all_kinds_kernels_and_widths_in_the_bounds() -> None:
    rng = np.random.default_rng(0)
    layers = [layer for _ in range(500) for layer in layers_of(SPACE.sample(rng))]
    assert {layer.kind for layer in layers} == set(LAYER_KINDS)
    assert {layer.kernel for layer in layers} == {3, 5}
    assert {layer.parallel for layer in layers} == {False, True}
    widths = [layer.width for layer in layers]
    assert (min(widths), max(widths)) == (16, 256)
    assert 0.45 < sum(width < 64 for width in widths) / len(widths) < 0.55  # on a logarithmic scale 64 is half-way


def test_where_nothing_stands_beside_anything_no_layer_does() -> None:
    rng, space = np.random.default_rng(0), LayerSpace(parallel=False)
    assert not any(layer.parallel for _ in range(100) for layer in layers_of(space.sample(rng)))
    assert not any(name.endswith("parallel") for name in space.distributions())


def test_the_values_of_a_network_are_its_layers_and_the_plainest_ones_for_those_that_it_has_not() -> None:
    assert SMALL.encode(net(Layer("max_pool", 5, 5), BESIDE)) == {
        "layers": 2,
        "layer.0.kind": "max_pool",
        "layer.0.width": 5,
        "layer.0.kernel": 5,
        "layer.1.kind": "conv",
        "layer.1.width": 4,
        "layer.1.kernel": 3,
        "layer.1.parallel": True,
        "layer.2.kind": "conv",
        "layer.2.width": 4,
        "layer.2.kernel": 3,
        "layer.2.parallel": False,
    }


def test_values_of_layers_that_a_shorter_network_has_not_are_without_effect() -> None:
    values = SMALL.encode(net(CONV))
    assert SMALL.decode(values | {"layer.1.kind": "max_pool", "layer.2.width": 5, "layer.1.parallel": True}) == net(
        CONV
    )


def test_neighbours_of_a_network_change_a_layer_or_add_or_drop_the_last() -> None:
    assert Counter(SMALL.neighbours(net(CONV))) == Counter([net(WIDE), net(LARGE), net(POOL), net(CONV, CONV)])
    two = [net(CONV), net(CONV, POOL, CONV)]
    two += [net(other, POOL) for other in (WIDE, LARGE, POOL)]
    two += [
        net(CONV, other)
        for other in (CONV, Layer("max_pool", 5), Layer("max_pool", 4, 5), Layer("max_pool", 4, parallel=True))
    ]
    assert Counter(SMALL.neighbours(net(CONV, POOL))) == Counter(two)


@pytest.mark.parametrize(
    "candidate",
    [
        net(*[CONV] * 4),
        net(Layer("separable", 4)),
        net(Layer("conv", 3)),
        net(Layer("conv", 6)),
        net(Layer("conv", 4, 7)),
        net(CONV, Layer("conv", 4, 1)),
        net(CONV, shape=Shape()),
        Candidate(LayerNet((CONV,)), SMALL.shape, recipe=(("lr", 0.1),)),
        Candidate(known("DARTS_V1"), SMALL.shape),
        Candidate(ResidualNet(4, 1)),
    ],
)
def test_other_networks_are_not_of_the_space(candidate: Candidate) -> None:
    assert SMALL.contains(net(CONV, BESIDE, POOL))
    assert not SMALL.contains(candidate)
    with pytest.raises(ValueError, match="is not a candidate of"):
        SMALL.encode(candidate)


def test_networks_with_too_few_layers_or_layers_side_by_side_can_be_ruled_out() -> None:
    two = LayerSpace(("conv", "max_pool"), 2, 3, 4, 5, (3, 5), parallel=False, shape=SMALL.shape)
    assert two.contains(net(CONV, CONV))
    assert not two.contains(net(CONV))
    assert not two.contains(net(CONV, BESIDE))
