"""The picture of an architecture: the PNG shows what the SVG says, in both themes, whatever stands in its title."""

import io
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

import api.web
from nas.result import cells as of_cells
from nas.result import figures
from nas.result import layers as of_layers
from nas.result.figures import DARK, LIGHT, THEMES
from nas.result.figures.architecture import DARK_CELLS, DARK_LAYERS
from nas.result.figures.paint import painted
from nas.result.picture import architecture_svg
from nas.space import Candidate, CellSpace, LayerSpace, ResidualNet, Shape
from nas.space.operations import DEFAULT_OPERATIONS

SVG = "{http://www.w3.org/2000/svg}"
CELLS = CellSpace(DEFAULT_OPERATIONS, nodes=4, shape=Shape(channels=8, cells=3))
LAYERS = LayerSpace(most=5)
HOSTILE = '<script>alert("1")</script> & $\\frac{1}{0}$ 漢字 \x00\ud800 ]]>'


def drawn(seed: int = 0, theme: str = "light", title: str = "A network") -> tuple[ET.Element, np.ndarray]:
    """The SVG, and the pixels of the PNG at two for each of its units."""
    picture = figures.cells(CELLS.sample(np.random.default_rng(seed)), title, THEMES[theme])
    return ET.fromstring(picture.svg), np.asarray(Image.open(io.BytesIO(picture.png(2.0))).convert("RGB")).astype(int)


def colour(text: str) -> np.ndarray:
    full = text if len(text) == 7 else "#" + "".join(2 * character for character in text[1:])
    return np.array([int(full[i : i + 2], 16) for i in (1, 3, 5)])


def shows(pixels: np.ndarray, x: float, y: float, expected: str, reach: int = 3, within: float = 60) -> bool:
    """Whether a colour is to be seen around a place."""
    column, row = round(2 * x), round(2 * y)
    around = pixels[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
    return bool(np.abs(around - colour(expected)).sum(axis=2).min() <= within)


def moved(root: ET.Element) -> list[tuple[ET.Element, float, float]]:
    """All elements with how far the groups around them move them."""
    found: list[tuple[ET.Element, float, float]] = []

    def walk(parent: ET.Element, x: float, y: float) -> None:
        for child in parent:
            numbers = [float(n) for n in re.findall(r"-?[\d.]+", child.get("transform", "0 0"))]
            found.append((child, x + numbers[0], y + numbers[1]))
            if child.tag != f"{SVG}defs":
                walk(child, x + numbers[0], y + numbers[1])

    walk(root, 0.0, 0.0)
    return found


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_edge_node_and_name_is_painted_where_the_svg_has_it(theme: str, seed: int) -> None:
    root, pixels = drawn(seed, theme)
    assert pixels.shape == (2 * int(root.attrib["height"]), 2 * int(root.attrib["width"]), 3)
    painted_edges = names = nodes = 0
    for element, x, y in moved(root):
        kind = element.tag.removeprefix(SVG)
        if kind == "path" and element.get("stroke"):
            start = [float(n) for n in re.findall(r"-?[\d.]+", element.attrib["d"])[:2]]
            assert shows(pixels, x + start[0] + 1, y + start[1], element.attrib["stroke"]), element.attrib
            painted_edges += 1
        elif kind == "rect" and element.get("rx") == "9":
            left, top, height = (float(element.attrib[name]) for name in ("x", "y", "height"))
            assert shows(pixels, x + left, y + top + height / 2, element.attrib["stroke"])
            assert shows(pixels, x + left + 5, y + top + height - 6, element.attrib["fill"], reach=0, within=12)
            nodes += 1
        elif kind == "text" and element.get("textLength"):
            left, base, length = (float(element.attrib[name]) for name in ("x", "y", "textLength"))
            for share in (0.1, 0.5, 0.9):
                place = x + left + share * length, y + base - 4
                assert shows(pixels, *place, element.attrib["fill"], reach=10, within=200)
            names += 1
    legend = names - 2 * 8
    assert legend > 2
    assert painted_edges == 2 * (8 + 4) + legend  # two into each node, one from each to the output
    assert nodes == 2 * (2 + 4 + 1)


def test_the_arrowhead_stands_before_the_node_that_it_points_to() -> None:
    root, pixels = drawn()
    heads = 0
    for element, x, y in moved(root):
        if element.tag == f"{SVG}path" and "M0 1" not in element.attrib["d"] and element.get("marker-end"):
            numbers = [float(n) for n in re.findall(r"-?[\d.]+", element.attrib["d"])]
            if "C" in element.attrib["d"]:
                assert shows(pixels, x + numbers[-2] + 3, y + numbers[-1], element.attrib["stroke"], reach=1, within=30)
                heads += 1
    assert heads == 2 * 12


def test_a_hostile_title_is_a_title_in_both_forms() -> None:
    root, pixels = drawn(title=HOSTILE)
    title = root.find(f"{SVG}title")
    assert title is not None
    assert title.text == HOSTILE.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
    assert not list(root.iter(f"{SVG}script"))
    assert (pixels[60:110, 60:600] != pixels[0, 0]).any(axis=2).mean() > 0.05  # words are to be seen


def test_the_light_picture_is_the_one_of_the_package() -> None:
    candidate = CELLS.sample(np.random.default_rng(3))
    own = re.findall(r'<path d="[^"]*"|<text [^>]*>[^<]*', architecture_svg(candidate, title="t"))
    ours = re.findall(r'<path d="[^"]*"|<text [^>]*>[^<]*', figures.cells(candidate, "t").svg)
    assert own == ours


def test_a_chain_of_layers_is_painted_too() -> None:
    candidate = LAYERS.sample(np.random.default_rng(1))
    for theme in THEMES.values():
        picture = figures.cells(candidate, "Layers", theme)
        root = ET.fromstring(picture.svg)
        pixels = np.asarray(Image.open(io.BytesIO(picture.png(2.0))).convert("RGB")).astype(int)
        frames = [each for each in root.iter(f"{SVG}rect") if each.get("stroke") and each.get("stroke-width") == "1.6"]
        assert len(frames) == len(candidate.architecture.layers)  # type: ignore[union-attr]
        for frame in frames:
            x, y, height = (float(frame.attrib[name]) for name in ("x", "y", "height"))
            assert shows(pixels, x, y + height / 2, frame.attrib["stroke"])
        first = frames[0]
        down = float(first.attrib["x"]) + float(first.attrib["width"]) / 2, float(first.attrib["y"]) - 3
        if len({frame.attrib["y"] for frame in frames[:2]}) == 2:
            assert shows(pixels, *down, root.attrib["fill"], within=120)


def test_what_the_painter_does_not_know_is_an_error() -> None:
    for unknown in ("<circle/>", '<g transform="rotate(3)"/>'):
        with pytest.raises(ValueError, match=r"circle|rotate"):
            painted(f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" fill="#000">{unknown}</svg>', LIGHT)


def test_the_dark_colours_are_those_of_the_pages() -> None:
    sheet = (Path(api.web.__file__).parent / "static/css/cells.css").read_text()
    pages = {
        op: (light, dark)
        for names, light, dark in re.findall(r"^(\[data-op.*?) \{ --op: light-dark\((#\w+), (#\w+)\)", sheet, re.M)
        for op in re.findall(r'data-op="(\w+)"', names)
    }
    ours = {op: (light, DARK_CELLS[op]) for op, light in of_cells.COLOURS.items()}
    ours |= {kind: (light, DARK_LAYERS[kind]) for kind, light in of_layers.COLOURS.items()}
    assert {op: pages[op] for op in ours} == ours
    tokens = (Path(api.web.__file__).parent / "static/css/tokens.css").read_text()
    for theme, first in ((LIGHT, 0), (DARK, 1)):
        for name in ("surface", "ink", "muted", "line", "grid", "accent", "good", "bad"):
            assert re.findall(rf"--{name}: (#\w+);", tokens)[first] == getattr(theme, name)


def test_dark_colours_stand_out_from_their_ground() -> None:
    def luminance(text: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour(text) / 255]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    for dark in (*DARK_CELLS.values(), *DARK_LAYERS.values()):
        assert (luminance(dark) + 0.05) / (luminance(DARK.surface) + 0.05) >= 4.5, dark


def test_a_residual_network_has_no_such_picture() -> None:
    with pytest.raises(TypeError):
        figures.cells(Candidate(ResidualNet(4, 1)), "t")
