"""The picture of a chain of layers, read back from the SVG itself."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from nas.result.layers import BOX_PX, COLOURS, HIGH_PX, layers_svg
from nas.result.picture import architecture_svg
from nas.space import Candidate, Layer, LayerNet, LayerSpace, ResidualNet, known
from nas.space.layers import LAYER_KINDS

SVG = "{http://www.w3.org/2000/svg}"
NETWORK = LayerNet(
    (Layer("conv", 16), Layer("max_pool", 32), Layer("separable", 48, 5, parallel=True), Layer("dilated", 24))
)


def texts(svg: ET.Element, kind: str) -> list[list[str]]:
    return [
        ["".join(text.itertext()) for text in group.iter(f"{SVG}text")]
        for group in svg.iter(f"{SVG}g")
        if group.get("class") == kind
    ]


def test_every_layer_is_a_box_with_its_kind_kernel_and_width() -> None:
    svg = ET.fromstring(layers_svg(NETWORK, title="t"))
    assert texts(svg, "layer") == [
        ["conv", "3×3, 16 channels"],
        ["max_pool", "3×3, 32 channels"],
        ["separable", "5×5, 48 channels"],
        ["dilated", "3×3, 24 channels"],
    ]
    assert set(COLOURS) == set(LAYER_KINDS)


def test_layers_side_by_side_see_the_same_input_and_are_joined() -> None:
    svg = ET.fromstring(layers_svg(NETWORK, title="t"))
    boxes = [
        (float(rect.get("x", 0)), float(rect.get("y", 0)))
        for group in svg.iter(f"{SVG}g")
        if group.get("class") in ("layer", "end")
        for rect in group.iter(f"{SVG}rect")
    ]
    assert len({y for _, y in boxes}) == 5  # image, three rows, classifier
    flows = [path.get("d", "") for path in svg.iter(f"{SVG}path") if path.get("class") == "flow"]
    # image → conv → both → dilated → classifier
    assert len(flows) == 1 + 2 + 2 + 1
    whole = "".join(svg.itertext())
    assert "80 channels together" in whole
    assert whole.count("1/2 of the side") == 2
    assert whole.count("full size") == 1


@pytest.mark.parametrize("seed", range(5))
def test_boxes_do_not_overlap_and_nothing_lies_outside(seed: int) -> None:
    architecture = LayerSpace(most=20, fewest=10).sample(np.random.default_rng(seed)).architecture
    assert isinstance(architecture, LayerNet)
    svg = ET.fromstring(layers_svg(architecture, title="a title that is far too long for its picture " * 5))
    width, height = float(svg.get("width", 0)), float(svg.get("height", 0))
    boxes = [
        (float(rect.get("x", 0)), float(rect.get("y", 0)))
        for group in svg.iter(f"{SVG}g")
        if group.get("class") == "layer"
        for rect in group.iter(f"{SVG}rect")
    ]
    assert len(boxes) == len(architecture.layers)
    for index, (x, y) in enumerate(boxes):
        assert 0 <= x <= width - BOX_PX
        assert 0 <= y <= height - HIGH_PX
        assert not any(abs(x - a) < BOX_PX and abs(y - b) < HIGH_PX for a, b in boxes[index + 1 :])


def test_a_hostile_title_stays_text() -> None:
    svg = layers_svg(NETWORK, title="<script>\x00&")
    assert "<script>" not in svg
    assert re.search("&lt;script&gt;\N{REPLACEMENT CHARACTER}&amp;", svg)


def test_the_picture_follows_the_architecture() -> None:
    assert "dilated" in architecture_svg(Candidate(NETWORK), title="t")
    assert "Reduction cell" in architecture_svg(Candidate(known("DARTS_V2")), title="t")
    with pytest.raises(TypeError):
        architecture_svg(Candidate(ResidualNet(4, 1)), title="t")
