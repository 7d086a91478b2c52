"""What a program calls: nas.build and nas.published."""

import pytest
import torch

import nas
from nas.errors import InvalidInput, NotFound
from nas.model import CellNetwork, LayerNetwork
from nas.space import Layer, LayerNet, from_text, known


def test_a_network_is_built_by_name_with_any_field_of_a_shape() -> None:
    network = nas.build(
        "DARTS_V2", channels=4, cells=3, in_channels=1, classes=7, stem="imagenet", auxiliary=0.4, activation="silu"
    )
    assert isinstance(network, CellNetwork)
    assert network.auxiliary == 0.4
    assert any(isinstance(module, torch.nn.SiLU) for module in network.modules())
    assert [logits.shape for logits in network.both(torch.randn(2, 1, 9, 9))] == [(2, 7), (2, 7)]
    assert len(network.cells) == 3
    assert network.stem.widths == (4, 4)


def test_without_more_it_is_the_network_of_the_paper() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in nas.build("DARTS_V2").parameters()) == 3_349_342


def test_cells_and_layers_are_built_as_they_are() -> None:
    torch.manual_seed(0)
    one = nas.build(known("DARTS_V1"), channels=2, cells=3)
    torch.manual_seed(0)
    other = nas.build("DARTS_V1", channels=2, cells=3)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    layers = nas.build(LayerNet((Layer("conv", 8), Layer("max_pool", 8))), classes=4, norm="group")
    assert isinstance(layers, LayerNetwork)
    assert layers(torch.randn(2, 3, 5, 5)).shape == (2, 4)


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"activaton": "silu"}, "activaton", "the fields are channels, cells, tail, skeleton, stem"),
        ({"activation": "sulu"}, "activation", "Input should be 'relu', 'leaky_relu'"),
        ({"cells": 0}, "cells", "greater than or equal to 1"),
        ({"dropout": "0.5"}, "dropout", "valid number"),
    ],
)
def test_a_field_that_is_wrong_is_named(fields: dict[str, object], field: str, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        nas.build("DARTS_V2", **fields)  # type: ignore[arg-type]
    assert caught.value.field == field
    assert caught.value.value == fields[field]
    assert says in str(caught.value)


def test_an_unknown_name_is_answered_with_the_published_ones() -> None:
    with pytest.raises(NotFound, match=r"'DARTS_V3'.*DARTS_V1, DARTS_V2, NASNet, AmoebaNet, PC_DARTS_cifar"):
        nas.build("DARTS_V3")


def test_the_published_cells_come_with_their_text() -> None:
    found = nas.published()
    assert {"DARTS_V2", "PC_DARTS_cifar", "PDARTS", "GDAS_V1"} <= set(found)
    assert all(from_text(text) == known(name) for name, text in found.items())
    found.clear()
    assert nas.published()
