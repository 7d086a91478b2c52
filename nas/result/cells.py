"""A picture of a genotype: both cells as one self-contained SVG.

The layout is Sugiyama's (Sugiyama, Tagawa, Toda 1981) with Graphviz's treatment of labels (Gansner et al. 1993): nodes
stand in columns by longest path, and between two columns of nodes there is a column of lanes. An edge owns one lane in
every column that it passes and writes its operation into one of them. Lanes have room of their own and are level, edges
bend only between columns; so labels meet neither one another nor a node nor another edge, whatever the genotype.
"""

import re
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import accumulate, pairwise
from operator import attrgetter
from random import Random
from statistics import fmean
from typing import Final

from nas.space.genotype import INPUTS, Cell, Genotype

COLOURS: Final = {
    "none": "#6b7280",
    "skip_connect": "#0a8457",
    "max_pool_3x3": "#1e40af",
    "avg_pool_3x3": "#0277b5",
    "sep_conv_3x3": "#c2410c",
    "sep_conv_5x5": "#be1240",
    "sep_conv_7x7": "#6b0f2a",
    "dil_conv_3x3": "#8440f5",
    "dil_conv_5x5": "#7a1271",
    "conv_7x1_1x7": "#4d4000",
    "conv_1x1": "#0102f8",
    "conv_3x3": "#1602b3",
    "conv_5x5": "#0c026f",
    "group_conv_3x3": "#721d4f",
    "group_conv_5x5": "#18002a",
}
"""Operation → colour of its edges and its name, in the order of the legend. All have a contrast above 4.5 on white; to
the eye without red or green cones (Machado et al. 2009) any two still differ by 16 in CIELAB, mostly in lightness. A
user's own operations are drawn in INK."""

INK, GREY, PALE = "#1e293b", "#94a3b8", "#e2e8f0"
SANS, MONO = "system-ui, 'Segoe UI', Helvetica, Arial, sans-serif", "ui-monospace, Menlo, Consolas, monospace"
ARROW = (  # an arrowhead cannot inherit the colour of its path everywhere: one for each
    '<marker id="to-{}" viewBox="0 0 10 10" refY="5" orient="auto" markerUnits="userSpaceOnUse" markerWidth="8" '
    'markerHeight="8"><path d="M0 1 10 5 0 9z" fill="{}"/></marker>'
)
BOLD = 'font-weight="600" font-size'
CHARACTER_PX = 6.7  # at the labels' 11 px, in the widest of the common monospace fonts
NODE_PX, LABEL_PX, LANE_PX, GAP_PX, PORT_PX, ARROW_PX = 40, 18, 6, 6, 13, 8  # PORT: between the ends of edges at a node
MARGIN_PX, HEADING_PX, SWATCH_PX, LEGEND_PX = 24, 40, 28, 150
SWEEPS, STARTS, STARTS_BOXES = 12, 24, 6000  # a large cell gets fewer starting points, so as not to take seconds
Y = attrgetter("y")
NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(slots=True, eq=False)
class _Box:
    """What takes room in a column, a node or a lane; `left` and `right` are its neighbours from top to bottom."""

    column: int
    height: float
    label: str = ""
    y: float = 0.0
    left: list["_Box"] = field(default_factory=list)
    right: list["_Box"] = field(default_factory=list)


_Wire = tuple[str, str, list[_Box]]
"""An edge: its operation, "" for a connection to the output; what it is called; its source, its lanes, its target."""


def cells_svg(genotype: Genotype, *, title: str) -> str:
    """Both cells as an SVG document; the same genotype and title always give the same text."""
    cells = {"Normal cell": genotype.normal, "Reduction cell": genotype.reduce}
    drawings = {name: _cell_svg(cell) for name, cell in cells.items()}
    used = {edge.op for cell in cells.values() for edges in cell.nodes for edge in edges}
    ops = [op for op in COLOURS if op in used] + sorted(used - COLOURS.keys())
    inner = max(4.0 * LEGEND_PX, *(width for _, width, _ in drawings.values()))
    title = NOT_XML.sub("\N{REPLACEMENT CHARACTER}", title)
    shown = title if len(title) <= inner / 11 else title[: int(inner / 11)] + "…"
    parts, y = [f'<text x="{MARGIN_PX}" y="42" {BOLD}="18">{escape(shown)}</text>'], 60.0
    for name, (drawing, width, height) in drawings.items():
        x, tall = MARGIN_PX + (inner - width) / 2, HEADING_PX + height
        frame = f'width="{inner:.1f}" height="{tall:.1f}" rx="12" fill="none" stroke="{PALE}"'
        parts.append(f'<rect x="{MARGIN_PX}" y="{y:.1f}" {frame}/>')
        parts.append(f'<text x="{MARGIN_PX + 16}" y="{y + 25:.1f}" {BOLD}="13">{name}</text>')
        parts.append(f'<g transform="translate({x:.1f} {y + HEADING_PX:.1f})">{drawing}</g>')
        y += tall + MARGIN_PX / 2
    columns = int(inner // LEGEND_PX)
    for i, op in enumerate(ops):
        x, row = MARGIN_PX + 16 + i % columns * LEGEND_PX, y + 20 + i // columns * 20
        swatch = f'<path d="M{x} {row:.1f}h{SWATCH_PX}" {_stroke(op)}/>'
        parts.append(f'<g class="legend">{swatch}{_label(op, x + SWATCH_PX + 14, row)}</g>')
    width, height = inner + 2 * MARGIN_PX, y + 20 * -(-len(ops) // columns) + MARGIN_PX
    arrows = "".join(ARROW.format(op, _colour(op)) for op in (*ops, ""))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{SANS}" fill="{INK}"><title>{escape(title)}</title>'
        f'<defs>{arrows}</defs><rect width="100%" height="100%" fill="#fff"/>'
        f"{''.join(parts)}</svg>\n"
    )


def _cell_svg(cell: Cell) -> tuple[str, float, float]:
    """The drawing of one cell, its width and its height."""
    nodes, wires = _graph(cell)
    boxes = [*nodes, *(lane for _, _, path in wires for lane in path[1:-1])]
    starts = range(max(1, min(STARTS, STARTS_BOXES // len(boxes))))
    columns = _layout(boxes, min(starts, key=lambda start: _cost(_layout(boxes, start))))
    sides, x = [], float(MARGIN_PX)
    for i, column in enumerate(columns):
        text_px = max(len(box.label) for box in column) * CHARACTER_PX
        sides.append((x, x + (NODE_PX if i % 2 == 0 else text_px and text_px + 12)))
        rise = max((abs(_port(a, b) - _port(b, a)) for a in column for b in a.right), default=0.0)
        x = sides[i][1] + min(100, max(36, rise / 2))
    top = min(box.y - box.height / 2 for box in boxes)
    bottom = max(box.y + box.height / 2 for box in boxes)
    names = [*("c k−2", "c k−1"), *map(str, range(INPUTS, len(nodes) - 1)), "c k"]
    drawn = [_wire_svg(wire, sides) for wire in wires]
    drawn += [_node_svg(node, name, sides[node.column][0]) for node, name in zip(nodes, names, strict=True)]
    group = f'<g transform="translate(0 {-top:.1f})">{"".join(drawn)}</g>'
    return group, sides[-1][1] + MARGIN_PX, bottom - top + MARGIN_PX


def _graph(cell: Cell) -> tuple[list[_Box], list[_Wire]]:
    """The nodes, inputs first and output last, and the wires between them, each with its lanes."""
    depth = [0] * INPUTS
    for edges in cell.nodes:
        depth.append(1 + max(depth[edge.source] for edge in edges))
    nodes = [_Box(2 * level, NODE_PX) for level in (*depth, 1 + max(depth))]
    ends = [("", source, len(depth)) for source in cell.concat]
    ends += [(edge.op, edge.source, target) for target, edges in enumerate(cell.nodes, INPUTS) for edge in edges]
    wires: list[_Wire] = []
    labels = Counter[int]()
    # Short edges first: they have no choice of where to put their label, long ones then fill up where there is room.
    for op, source, target in sorted(ends, key=lambda end: nodes[end[2]].column - nodes[end[1]].column):
        lanes = [_Box(column, LANE_PX) for column in range(nodes[source].column + 1, nodes[target].column)]
        name = f"{op}: node {source} → node {target}" if op else f"concat: node {source} → output"
        if op:
            lane = min(lanes[::2], key=lambda lane: labels[lane.column])
            lane.label, lane.height = op, LABEL_PX
            labels[lane.column] += 1
        path = [nodes[source], *lanes, nodes[target]]
        for a, b in pairwise(path):
            a.right.append(b)
            b.left.append(a)
        wires.append((op, name, path))
    for node in nodes:
        node.height = GAP_PX + max(NODE_PX, PORT_PX * max(len(node.left), len(node.right)))
    return nodes, wires


def _layout(boxes: Sequence[_Box], start: int) -> list[list[_Box]]:
    """Sets y of every box and orders its neighbours by it; `start` is the seed of how ties are broken. The columns."""
    columns: list[list[_Box]] = [[] for _ in range(1 + max(box.column for box in boxes))]
    for box in boxes:
        box.y = 0.0
        columns[box.column].append(box)
    rng = Random(start)
    for column in columns[1:]:
        rng.shuffle(column)
    for sweep in range(2 * SWEEPS):  # to and fro
        ordering, rightward = sweep < SWEEPS, sweep % 2 == 0
        for column in columns if rightward else columns[::-1]:
            for box in column:  # first be level with the column just left, to find an order; then straighten
                box.y = fmean(map(Y, (box.left if rightward else box.right) or [box])) if ordering else _level(box)
            if ordering and column is not columns[0]:  # the inputs keep their order, so that pictures are alike
                column.sort(key=Y)
            _place(column)
        for box in boxes:
            box.left.sort(key=Y)
            box.right.sort(key=Y)
    return columns


def _cost(columns: Sequence[Sequence[_Box]]) -> tuple[int, float]:
    """The number of crossings, and the sum of rises and falls."""
    crossings, rises = 0, 0.0
    for column in columns:
        ends: list[float] = []
        for start, end in sorted((box.y, other.y) for box in column for other in box.right):
            crossings += len(ends) - bisect_right(ends, end)
            insort(ends, end)
            rises += abs(start - end)
    return crossings, rises


def _place(column: Sequence[_Box]) -> None:
    """Moves boxes apart, as little as their order and heights allow: least squares, by pooling those that collide."""
    steps = ((a.height + b.height) / 2 + GAP_PX for a, b in pairwise(column))
    offsets = list(accumulate(steps, initial=0.0))
    pools: list[tuple[float, int]] = []
    for box, offset in zip(column, offsets, strict=True):
        pools.append((box.y - offset, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, m), (b, n) = pools[-2:]
            pools[-2:] = [((a * m + b * n) / (m + n), m + n)]
    starts = [mean for mean, size in pools for _ in range(size)]
    for box, start, offset in zip(column, starts, offsets, strict=True):
        box.y = start + offset


def _port(box: _Box, other: _Box) -> float:
    """Where on the side of a box the connection with its neighbour ends."""
    side = box.left if other.column < box.column else box.right
    return box.y + (side.index(other) - (len(side) - 1) / 2) * PORT_PX


def _level(box: _Box) -> float:
    """Where the connections of a box would be level on average; a long edge prefers to bend at its ends."""
    others = [*box.left, *box.right]
    levels = [box.y + _port(other, box) - _port(box, other) for other in others]
    weights = [8 if LANE_PX in (box.height, other.height) else 1 for other in others]
    return fmean(levels, weights) if others else box.y


def _wire_svg(wire: _Wire, sides: Sequence[tuple[float, float]]) -> str:
    """A curve through the lanes, level within them, and the operation's name on the lane that carries it."""
    op, name, path = wire
    x, y = sides[path[0].column][1], _port(path[0], path[1])
    curve, label = f"M{x:.1f} {y:.1f}", ""
    for before, box in pairwise(path):
        (left, right), level = sides[box.column], _port(box, before)
        if left == right:  # a column without labels, the one before the output: nothing to keep clear of
            continue
        end = f"{left - ARROW_PX:.1f} {level:.1f}" if box is path[-1] else f"{left:.1f} {level:.1f}H{right:.1f}"
        curve += f"C{(x + left) / 2:.1f} {y:.1f} {(x + left) / 2:.1f} {level:.1f} {end}"
        x, y = right, level
        if box.label:
            label = _label(op, (left + right - len(op) * CHARACTER_PX) / 2, y)
    kind = "edge" if op else "concat"
    return f'<g class="{kind}"><title>{name}</title><path d="{curve}" {_stroke(op)}/>{label}</g>'


def _node_svg(node: _Box, name: str, x: float) -> str:
    """A rounded box with the node's index; inputs and output in another shade, named by their cell as a subscript."""
    height, fill = node.height - GAP_PX, "#fff" if name.isdigit() else PALE
    frame = f'width="{NODE_PX}" height="{height:.1f}" rx="9" fill="{fill}" stroke="{INK}" stroke-width="1.4"'
    text = re.sub(" (.*)", r'<tspan dy="3" font-size="9">\1</tspan>', name)
    return (
        f'<g class="node"><rect x="{x:.1f}" y="{node.y - height / 2:.1f}" {frame}/>'
        f'<text x="{x + NODE_PX / 2:.1f}" y="{node.y + 4.5:.1f}" text-anchor="middle" {BOLD}="14">{text}</text></g>'
    )


def _colour(op: str) -> str:
    """Of an operation, or of "" for a connection to the output."""
    return COLOURS.get(op, INK) if op else GREY


def _stroke(op: str) -> str:
    """The attributes of a path that stands for an operation, or for "" a connection to the output."""
    line = f'fill="none" stroke="{_colour(op)}" marker-end="url(#to-{op})"'
    dash = ' stroke-dasharray="5 4" stroke-opacity="0.5"' if op == "none" else ""
    return f'{line} stroke-width="{1.8 if op else 1}"{dash}'


def _label(op: str, x: float, y: float) -> str:
    """The name of an operation from x on, on a white ground that interrupts the edge."""
    width = len(op) * CHARACTER_PX
    return (
        f'<rect x="{x - 4:.1f}" y="{y - LABEL_PX / 2:.1f}" width="{width + 8:.1f}" height="{LABEL_PX}" fill="#fff"/>'
        f'<text x="{x:.1f}" y="{y + 4:.1f}" textLength="{width:.1f}" font-family="{MONO}" font-size="11" '
        f'fill="{_colour(op)}">{op}</text>'
    )
