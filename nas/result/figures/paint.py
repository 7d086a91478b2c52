"""The project's own SVG painted with matplotlib, so that its PNG needs no browser and no fonts but matplotlib's.

Only what nas.result.cells and nas.result.layers write is understood: groups that are moved, rectangles, paths of M, C,
H, h and z, texts with spans, and arrowheads. Anything else is an error, so that no picture lacks a part.
"""

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from nas.result.figures.drawing import empty_figure, font
from nas.result.figures.themes import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.path import Path

NARROWER: Final = 0.92
"""Matplotlib's font is as much wider than those for which the pictures leave room."""

SILENT: Final = ("title", "desc", "defs")

_TOKEN: Final = re.compile(r"[MCHhz]|-?[\d.]+")
_MOVED: Final = re.compile(r"translate\((-?[\d.]+) (-?[\d.]+)\)")

Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Brush:
    """Where an element is painted, and with what if it does not say: which elements inherit from those around them."""

    x: float
    y: float
    ink: str
    order: int = 0


def painted(svg: str, theme: Theme) -> "Figure":
    """The figure of an SVG of this project."""
    root = ET.fromstring(svg)  # noqa: S314 - our own text
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    figure = empty_figure(width, height, theme)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0.0, width)
    axes.set_ylim(height, 0.0)
    markers = {f"url(#{marker.attrib['id']})": marker for marker in root.iter(_named("marker"))}
    _paint(axes, root, _Brush(0.0, 0.0, root.attrib["fill"]), markers)
    return figure


def _named(tag: str) -> str:
    return f"{{http://www.w3.org/2000/svg}}{tag}"


def _paint(axes: "Axes", parent: ET.Element, brush: _Brush, markers: dict[str, ET.Element]) -> None:
    for element in parent:
        kind = element.tag.rpartition("}")[2]
        if kind in SILENT:
            continue
        if kind == "g":
            moved = _MOVED.fullmatch(element.get("transform", "translate(0 0)"))
            if moved is None:
                raise ValueError(element.attrib["transform"])
            _paint(axes, element, replace(brush, x=brush.x + float(moved[1]), y=brush.y + float(moved[2])), markers)
        elif kind == "rect":
            _paint_rectangle(axes, element, brush)
        elif kind == "path":
            _paint_path(axes, element, brush, markers)
        elif kind == "text":
            _paint_text(axes, element, brush)
        else:
            raise ValueError(kind)


def _order(axes: "Axes") -> float:
    """Above all that was painted before."""
    return 2.0 + len(axes.patches) + len(axes.texts)


def _paint_rectangle(axes: "Axes", element: ET.Element, brush: _Brush) -> None:
    from matplotlib.patches import FancyBboxPatch

    if element.attrib["width"] == "100%":  # the ground, which the figure has
        return
    x, y, width, height, radius = (float(element.get(name, 0)) for name in ("x", "y", "width", "height", "rx"))
    stroke = element.get("stroke", "none")
    axes.add_patch(
        FancyBboxPatch(
            (brush.x + x, brush.y + y),
            width,
            height,
            boxstyle=f"round,pad=0,rounding_size={radius}" if radius else "square,pad=0",
            facecolor=element.get("fill", brush.ink),
            edgecolor=stroke,
            linewidth=0.0 if stroke == "none" else float(element.get("stroke-width", 1)),
            zorder=_order(axes),
        )
    )


def _paint_path(axes: "Axes", element: ET.Element, brush: _Brush, markers: dict[str, ET.Element]) -> None:
    from matplotlib.patches import PathPatch

    path, before, end = _path(element.attrib["d"], (brush.x, brush.y))
    dashes = [float(length) for length in element.get("stroke-dasharray", "").split()]
    width = float(element.get("stroke-width", 1))
    axes.add_patch(
        PathPatch(
            path,
            fill=False,
            edgecolor=element.attrib["stroke"],
            linewidth=width,
            linestyle=(0, [length / width for length in dashes]) if dashes else "-",
            alpha=float(element.get("stroke-opacity", 1)),
            capstyle="butt",
            zorder=_order(axes),
        )
    )
    marker = markers.get(element.get("marker-end", ""))
    if marker is not None:
        _paint_arrowhead(axes, marker, width, before, end)


def _paint_arrowhead(axes: "Axes", marker: ET.Element, width: float, before: Place, end: Place) -> None:
    """The marker's shape at the end of a path, turned to where the path went."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    [shape] = marker
    outline, _, _ = _path(shape.attrib["d"], (-float(marker.get("refX", 0)), -float(marker.get("refY", 0))))
    unit = 1.0 if marker.get("markerUnits") == "userSpaceOnUse" else width
    scale = float(marker.attrib["markerWidth"]) / float(marker.attrib["viewBox"].split()[2]) * unit
    angle = math.atan2(end[1] - before[1], end[0] - before[0])
    along, across = scale * math.cos(angle), scale * math.sin(angle)
    places: Any = outline.vertices
    turned = [(end[0] + x * along - y * across, end[1] + x * across + y * along) for x, y in places]
    head = Path(turned, outline.codes)
    axes.add_patch(PathPatch(head, facecolor=shape.attrib["fill"], linewidth=0.0, zorder=_order(axes)))


def _path(text: str, origin: Place) -> tuple["Path", Place, Place]:
    """A path that begins at an origin, the place from which its last part comes, and where that ends."""
    from matplotlib.path import Path

    tokens = _TOKEN.findall(text)
    places: list[Place] = []
    codes: list[int] = []
    command, index = "", 0
    while index < len(tokens):
        if tokens[index].isalpha():
            command, index = tokens[index], index + 1
        if command == "z":
            places.append(places[0])
            codes.append(int(Path.CLOSEPOLY))
            continue
        if command in "Hh":
            start = origin[0] if command == "H" else places[-1][0]
            places.append((start + float(tokens[index]), places[-1][1]))
            codes.append(int(Path.LINETO))
            index += 1
            continue
        count = 3 if command == "C" else 1
        for _ in range(count):
            places.append((origin[0] + float(tokens[index]), origin[1] + float(tokens[index + 1])))
            index += 2
        # Pairs after the first one of an M are lines.
        codes += [int(Path.CURVE4)] * 3 if command == "C" else [int(Path.LINETO if codes else Path.MOVETO)]
    return Path(places, codes), places[-2], places[-1]


def _paint_text(axes: "Axes", element: ET.Element, brush: _Brush) -> None:
    """A line of words; a span is smaller and lower, or a line of its own."""
    x, y = brush.x + float(element.attrib["x"]), brush.y + float(element.attrib["y"])
    mono = "Menlo" in element.get("font-family", "")
    size = float(element.get("font-size", 16)) * (1.0 if mono else NARROWER)
    bold = element.get("font-weight") == "600"
    colour = element.get("fill", brush.ink)
    spans = [(element.text or "", size, x, y)]
    for span in element:
        down = y + float(span.get("dy", 0))
        if "x" in span.attrib:
            spans.append((span.text or "", size, brush.x + float(span.attrib["x"]), down))
        else:
            spans.append((span.text or "", float(span.attrib["font-size"]) * NARROWER, math.nan, down))
    widths = [_width(axes, text, of_px, bold, mono) for text, of_px, _, _ in spans]
    together = sum(widths) if all(math.isnan(at) for _, _, at, _ in spans[1:]) else widths[0]
    pen = x - (together / 2 if element.get("text-anchor") == "middle" else 0.0)
    for (text, of_px, at, down), width in zip(spans, widths, strict=True):
        left = pen if math.isnan(at) or at == x else at
        axes.text(
            left,
            down,
            _drawable(text, bold, mono),
            fontproperties=font(of_px, bold=bold, mono=mono),
            color=colour,
            parse_math=False,
            verticalalignment="baseline",
            zorder=_order(axes),
        )
        pen = left + width


def _width(axes: "Axes", text: str, size_px: float, bold: bool, mono: bool) -> float:
    """Of a text, in the picture's units."""
    from matplotlib.textpath import TextPath

    drawable = _drawable(text, bold, mono)
    if not drawable.strip():
        return 0.0
    box = TextPath((0, 0), drawable, prop=font(size_px, bold=bold, mono=mono), usetex=False).get_extents()
    return float(box.x1)


def _drawable(text: str, bold: bool, mono: bool) -> str:
    """The text with a mark for every character that the font has no picture of."""
    from matplotlib.font_manager import get_font

    known = get_font(font(12, bold=bold, mono=mono).get_file()).get_charmap()
    return "".join(character if ord(character) in known else "\N{REPLACEMENT CHARACTER}" for character in text)
