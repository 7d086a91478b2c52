"""The picture is read back from the SVG itself: its paths, its texts and where they lie."""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
import pytest

from nas.result.cells import ARROW_PX, COLOURS, cells_svg
from nas.space import Cell, CellSpace, Edge, Genotype, known
from nas.space.known import KNOWN
from nas.space.operations import DARTS_OPERATIONS, OPERATIONS

SVG = "{http://www.w3.org/2000/svg}"
ONE_NODE = Cell(((Edge("sep_conv_3x3", 0),),), (2,))


@dataclass(frozen=True)
class Area:
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: "Area") -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def holds(self, x: float, y: float) -> bool:
        """More than a fifth of a pixel inside; the SVG is rounded to a tenth."""
        return self.left + 0.2 < x < self.right - 0.2 and self.top + 0.2 < y < self.bottom - 0.2


@cache
def picture(genotype: Genotype, title: str = "a title") -> ET.Element:
    return ET.fromstring(cells_svg(genotype, title=title))


Placed = tuple[ET.Element, float, float]


def placed(element: ET.Element, dx: float = 0.0, dy: float = 0.0) -> Iterator[Placed]:
    """Every group, with the sum of the translations around it."""
    for group in element.findall(SVG + "g"):
        x, y = map(float, re.findall(r"-?[\d.]+", group.get("transform", "translate(0 0)")))
        yield group, dx + x, dy + y
        yield from placed(group, dx + x, dy + y)


def groups(svg: ET.Element, kind: str) -> list[Placed]:
    return [found for found in placed(svg) if found[0].get("class") == kind]


def child(element: ET.Element, tag: str) -> ET.Element:
    found = element.findall(SVG + tag)
    assert len(found) == 1, f"{len(found)} times {tag}"
    return found[0]


def number(element: ET.Element, name: str) -> float:
    return float(element.attrib[name])


def text_area(group: ET.Element, dx: float, dy: float) -> Area:
    text = child(group, "text")
    x, y, size = number(text, "x") + dx, number(text, "y") + dy, number(text, "font-size")
    return Area(x, y - 0.8 * size, x + number(text, "textLength"), y + 0.25 * size)


def node_area(group: ET.Element, dx: float, dy: float) -> Area:
    rect = child(group, "rect")
    x, y = number(rect, "x") + dx, number(rect, "y") + dy
    return Area(x, y, x + number(rect, "width"), y + number(rect, "height"))


def points(group: ET.Element, dx: float, dy: float) -> list[tuple[float, float]]:
    """A path of M, C and H commands, sampled."""
    found: list[tuple[float, float]] = []
    for command, rest in re.findall(r"([MCH])([^MCH]*)", child(group, "path").attrib["d"]):
        values = list(map(float, rest.split()))
        if command == "M":
            found.append((values[0], values[1]))
            continue
        start = found[-1]
        if command == "H":
            values = [start[0], start[1], values[0], start[1], values[0], start[1]]
        for t in np.linspace(0, 1, 20):
            weights = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
            xs, ys = (start[0], *values[0::2]), (start[1], *values[1::2])
            found.append((float(np.dot(weights, xs)), float(np.dot(weights, ys))))
    return [(x + dx, y + dy) for x, y in found]


def titles(genotype: Genotype) -> Counter[str]:
    return Counter(
        f"{edge.op}: node {edge.source} → node {target}"
        for cell in (genotype.normal, genotype.reduce)
        for target, edges in enumerate(cell.nodes, 2)
        for edge in edges
    )


def drawn(seed: int, nodes: int) -> Genotype:
    architecture = CellSpace(tuple(DARTS_OPERATIONS), nodes).sample(np.random.default_rng(seed)).architecture
    assert isinstance(architecture, Genotype)
    return architecture


EXAMPLES = {name: known(name) for name in KNOWN} | {f"{nodes} nodes": drawn(nodes, nodes) for nodes in (1, 4, 5, 8)}
every_example = pytest.mark.parametrize("genotype", EXAMPLES.values(), ids=EXAMPLES.keys())


def contrast_on_white(colour: str) -> float:
    """WCAG 2.2, "relative luminance" and "contrast ratio"."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 1.05 / (float(np.dot(linear, (0.2126, 0.7152, 0.0722))) + 0.05)


def test_every_operation_has_a_colour_of_its_own_that_is_readable_on_white() -> None:
    assert set(COLOURS) == set(OPERATIONS)
    assert len(set(COLOURS.values())) == len(COLOURS)
    assert {op: contrast_on_white(colour) for op, colour in COLOURS.items() if contrast_on_white(colour) < 4.5} == {}


@every_example
def test_every_edge_is_one_path_in_its_colour_with_its_name_and_a_title(genotype: Genotype) -> None:
    edges = [group for group, _, _ in groups(picture(genotype), "edge")]
    assert Counter(child(group, "title").text for group in edges) == titles(genotype)
    for group in edges:
        op = (child(group, "title").text or "").split(":")[0]
        assert child(group, "text").text == op
        assert child(group, "path").get("stroke") == child(group, "text").get("fill") == COLOURS[op]


@every_example
def test_the_legend_has_exactly_the_operations_that_occur(genotype: Genotype) -> None:
    legend = [(child(group, "text").text, child(group, "path")) for group, _, _ in groups(picture(genotype), "legend")]
    used = {title.split(":")[0] for title in titles(genotype)}
    assert [(op, path.get("stroke")) for op, path in legend] == [(op, COLOURS[op]) for op in COLOURS if op in used]


@every_example
def test_every_arrowhead_is_defined_and_has_the_colour_of_its_path(genotype: Genotype) -> None:
    svg = picture(genotype)
    heads = {f"url(#{marker.get('id')})": child(marker, "path").get("fill") for marker in svg.iter(SVG + "marker")}
    ends = [(path.get("marker-end"), path.get("stroke")) for path in svg.iter(SVG + "path") if path.get("marker-end")]
    assert set(ends) == set(heads.items())


@every_example
def test_labels_overlap_neither_one_another_nor_a_node(genotype: Genotype) -> None:
    svg = picture(genotype)
    areas = [text_area(*found) for kind in ("edge", "legend") for found in groups(svg, kind)]
    areas += [node_area(*found) for found in groups(svg, "node")]
    assert [(a, b) for a, b in combinations(areas, 2) if a.overlaps(b)] == []


@every_example
def test_edges_run_through_no_node_and_no_label_but_their_own(genotype: Genotype) -> None:
    svg = picture(genotype)
    labels = {id(found[0]): text_area(*found) for found in groups(svg, "edge")}
    nodes = [node_area(*found) for found in groups(svg, "node")]
    for found in groups(svg, "edge") + groups(svg, "concat"):
        areas = nodes + [label for owner, label in labels.items() if owner != id(found[0])]
        hit = [area for area in areas for x, y in points(*found) if area.holds(x, y)]
        assert hit == [], child(found[0], "title").text


@every_example
def test_edges_begin_and_end_at_the_nodes_that_they_name(genotype: Genotype) -> None:
    svg = picture(genotype)
    normal, nodes = genotype.normal, [node_area(*found) for found in groups(svg, "node")]
    edges, concat = groups(svg, "edge"), groups(svg, "concat")
    in_normal = edges[: sum(map(len, normal.nodes))] + concat[: len(normal.concat)]
    for found in edges + concat:
        here = nodes[: len(normal.nodes) + 3] if found in in_normal else nodes[len(normal.nodes) + 3 :]
        ends = re.findall(r"node (\d+)|(output)", child(found[0], "title").text or "")
        source, target = (here[int(index) if index else -1] for index, _ in ends)
        (x0, y0), (x1, y1) = points(*found)[0], points(*found)[-1]
        assert x0 == pytest.approx(source.right, abs=0.2)
        assert x1 == pytest.approx(target.left - ARROW_PX, abs=0.2)
        assert source.top < y0 < source.bottom
        assert target.top < y1 < target.bottom


@every_example
def test_nothing_lies_outside_the_picture(genotype: Genotype) -> None:
    svg = picture(genotype)
    width, height = number(svg, "width"), number(svg, "height")
    wires = [point for kind in ("edge", "concat") for found in groups(svg, kind) for point in points(*found)]
    areas = [text_area(*found) for kind in ("edge", "legend") for found in groups(svg, kind)]
    areas += [node_area(*found) for found in groups(svg, "node")]
    assert all(Area(0, 0, width, height).holds(x, y) for x, y in wires)
    assert all(area.left > 0 and area.top > 0 and area.right < width and area.bottom < height for area in areas)


def test_parallel_edges_take_different_paths() -> None:
    twice = Cell(((Edge("skip_connect", 0), Edge("skip_connect", 0), Edge("none", 0)),), (2,))
    paths = [points(*found) for found in groups(picture(Genotype(twice, ONE_NODE)), "edge")][:3]
    for a, b in combinations(paths, 2):
        middle = len(a) // 2
        assert abs(a[middle][1] - b[middle][1]) > 10


def test_the_output_takes_a_connection_for_every_entry_of_concat() -> None:
    cell = Cell(ONE_NODE.nodes, (2, 0, 2, 1))
    wires = [group for group, _, _ in groups(picture(Genotype(cell, ONE_NODE)), "concat")]
    assert Counter(child(group, "title").text for group in wires) == {
        "concat: node 0 → output": 1,
        "concat: node 1 → output": 1,
        "concat: node 2 → output": 2 + 1,
    }
    assert len({child(group, "path").get("d") for group in wires[:4]}) == 4


def test_only_edges_without_connection_are_dashed() -> None:
    cell = Cell(((Edge("none", 0), Edge("skip_connect", 1)),), (2,))
    edges = [group for group, _, _ in groups(picture(Genotype(cell, ONE_NODE)), "edge")]
    dashed = {child(group, "text").text: "stroke-dasharray" in child(group, "path").attrib for group in edges}
    assert dashed == {"none": True, "skip_connect": False, "sep_conv_3x3": False}


def test_a_hostile_title_stays_text() -> None:
    title = "</title><script>alert('1')</script>&\"<!--\x00\x1b\ud800 ]]>"
    svg = picture(Genotype(ONE_NODE, ONE_NODE), title)
    shown = title.replace("\x00", "\ufffd").replace("\x1b", "\ufffd").replace("\ud800", "\ufffd")
    assert svg.get("role") == "img"
    assert svg[0].tag == SVG + "title"
    assert svg[0].text == shown
    assert svg.findall(SVG + "text")[0].text == shown
    assert {element.tag for element in svg.iter()}.isdisjoint({SVG + "script", "script"})


def test_a_long_title_is_shortened_where_it_is_shown_and_whole_on_hover() -> None:
    svg = picture(Genotype(ONE_NODE, ONE_NODE), "word " * 1000)
    shown = svg.findall(SVG + "text")[0].text or ""
    assert shown.endswith("…")
    assert len(shown) < 100
    assert svg[0].text == "word " * 1000


def test_the_largest_cell_is_drawn() -> None:
    rng = np.random.default_rng(0)
    nodes = tuple(
        tuple(Edge(str(rng.choice(list(OPERATIONS))), int(rng.integers(index))) for _ in range(2))
        for index in range(2, 66)
    )
    chain = Cell(tuple((Edge("skip_connect", index - 1),) for index in range(2, 66)), tuple(range(2, 66)))
    genotype = Genotype(Cell(nodes, tuple(range(66))), chain)
    assert Counter(child(group, "title").text for group, _, _ in groups(picture(genotype), "edge")) == titles(genotype)


def test_the_same_genotype_gives_the_same_picture() -> None:
    assert cells_svg(known("NASNet"), title="x") == cells_svg(known("NASNet"), title="x")
