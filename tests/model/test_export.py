"""Networks of several shapes under torch.export, which the ONNX file is made from."""

import pytest
import torch

from nas.model import build_network, strip_auxiliary
from nas.space import Candidate, Cell, Edge, Genotype, Layer, LayerNet, Shape

CELL = Cell(
    ((Edge("group_conv_3x3", 0), Edge("skip_connect", 1), Edge("conv_1x1", 0)), (Edge("dil_conv_3x3", 2),)), (2, 3)
)
CANDIDATES = {
    "cells": Candidate(
        Genotype(CELL, CELL),
        Shape(
            channels=2, cells=3, merge="weighted", skeleton="residual", norm="group", activation="gelu", auxiliary=0.4
        ),
    ),
    "imagenet": Candidate(
        Genotype(CELL, CELL),
        Shape(channels=2, cells=2, merge="concat", stem="imagenet", norm="none", downsample="avg_pool", drop_path=0.5),
    ),
    "layers": Candidate(
        LayerNet((Layer("conv_down", 4, 1), Layer("grouped", 3, 3, parallel=True), Layer("separable", 4, 5))),
        Shape(skeleton="residual", activation="hardswish", norm="batch_fixed", dropout=0.5),
    ),
}


@pytest.mark.parametrize("name", CANDIDATES)
def test_an_exported_network_computes_the_same_for_any_number_of_images(name: str) -> None:
    torch.manual_seed(0)
    network = strip_auxiliary(build_network(CANDIDATES[name], in_channels=1, outputs=3)).eval()
    images = torch.randn(5, 1, 7, 9)
    program = torch.export.export(network, (images[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert not any(key.startswith("auxiliary") for key in program.state_dict)
    for count in (1, 5):
        torch.testing.assert_close(program.module()(images[:count]), network(images[:count]), rtol=1e-5, atol=1e-5)
