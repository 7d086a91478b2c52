import json
from typing import Any

import pytest
from hypothesis import given

from nas.errors import GenotypeError
from nas.space import Layer, LayerNet
from nas.space.layers import KERNELS, LAYER_KINDS, MAX_LAYERS, MAX_WIDTH
from tests.space.given import layer_nets

CONV = Layer("conv", 16)
BESIDE = Layer("max_pool", 8, 5, parallel=True)


def test_a_network_is_written_as_lists() -> None:
    assert LayerNet((CONV, BESIDE)).to_json() == [["conv", 16, 3, False], ["max_pool", 8, 5, True]]


@given(layer_nets())
def test_a_network_comes_back_from_json(network: LayerNet) -> None:
    assert LayerNet.from_json(json.loads(json.dumps(network.to_json()))) == network


def test_layers_that_stand_beside_others_are_of_their_group() -> None:
    network = LayerNet((CONV, BESIDE, BESIDE, CONV, CONV, BESIDE))
    assert network.groups() == ((CONV, BESIDE, BESIDE), (CONV,), (CONV, BESIDE))


@given(layer_nets())
def test_groups_hold_all_layers_in_their_order(network: LayerNet) -> None:
    assert tuple(layer for group in network.groups() for layer in group) == network.layers
    for first, *others in network.groups():
        assert not first.parallel
        assert all(layer.parallel for layer in others)


@pytest.mark.parametrize(
    ("layer", "field", "value"),
    [
        (("convolution", 8, 3, False), "layers.kind", "convolution"),
        (("conv", 0, 3, False), "layers.width", 0),
        (("conv", MAX_WIDTH + 1, 3, False), "layers.width", MAX_WIDTH + 1),
        (("conv", 8.0, 3, False), "layers.width", 8.0),
        (("conv", True, 3, False), "layers.width", True),
        (("conv", 8, 2, False), "layers.kernel", 2),
        (("conv", 8, 9, False), "layers.kernel", 9),
        (("conv", 8, True, False), "layers.kernel", True),
        (("conv", 8, 3.0, False), "layers.kernel", 3.0),
        (("conv", 8, 3, 1), "layers.parallel", 1),
        (("conv", 8, 3, None), "layers.parallel", None),
    ],
)
def test_a_layer_that_there_is_not_is_refused_by_the_value_at_fault(
    layer: tuple[Any, ...], field: str, value: object
) -> None:
    with pytest.raises(GenotypeError) as caught:
        Layer(*layer)
    assert (caught.value.field, caught.value.value) == (field, value)
    assert type(caught.value.value) is type(value)
    with pytest.raises(GenotypeError):
        LayerNet.from_json([list(layer)])


def test_all_kinds_kernels_and_widths_in_the_bounds_are_layers() -> None:
    for kind in LAYER_KINDS:
        for kernel in KERNELS:
            for width in (1, MAX_WIDTH):
                assert LayerNet.from_json([[kind, width, kernel, False]]).layers == (Layer(kind, width, kernel),)


@pytest.mark.parametrize(
    ("layers", "field", "value"),
    [((), "layers", 0), ((CONV,) * (MAX_LAYERS + 1), "layers", MAX_LAYERS + 1), ((BESIDE,), "layers.parallel", True)],
)
def test_a_chain_that_is_none_is_refused(layers: tuple[Layer, ...], field: str, value: object) -> None:
    with pytest.raises(GenotypeError) as caught:
        LayerNet(layers)
    assert (caught.value.field, caught.value.value) == (field, value)


@pytest.mark.parametrize(
    "data",
    [
        None,
        3,
        "conv",
        {},
        [],
        ["conv", 8, 3, False],
        [["conv", 8, 3]],
        [["conv", 8, 3, False, None]],
        [[["conv"], 8, 3, False]],
        [["conv", "8", 3, False]],
        [[None, 8, 3, False]],
        [["conv", 8, 3, True]],
        [{"kind": "conv", "width": 8, "kernel": 3, "parallel": False}],
        [["conv", 8, 3, False]] * (MAX_LAYERS + 1),
    ],
)
def test_json_that_is_no_network_is_refused(data: Any) -> None:
    with pytest.raises(GenotypeError):
        LayerNet.from_json(data)
