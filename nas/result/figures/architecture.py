"""The picture of an architecture: the SVG of nas.result.picture, in both themes, and the same as PNG."""

import re
from dataclasses import dataclass
from typing import Final

from nas.result import cells as of_cells
from nas.result import layers as of_layers
from nas.result.figures.drawing import Words, opened, png_of
from nas.result.figures.paint import painted
from nas.result.figures.themes import LIGHT, Theme
from nas.result.picture import architecture_svg
from nas.space import Candidate, Genotype

DARK_CELLS: Final = {
    "none": "#9e9e9e",
    "skip_connect": "#bcecb8",
    "max_pool_3x3": "#8785ff",
    "avg_pool_3x3": "#569abb",
    "sep_conv_3x3": "#ff9d86",
    "sep_conv_5x5": "#ff6b5a",
    "sep_conv_7x7": "#d07a71",
    "dil_conv_3x3": "#b479d9",
    "dil_conv_5x5": "#e6aad0",
    "conv_7x1_1x7": "#ffe700",
    "conv_1x1": "#b8f8ff",
    "conv_3x3": "#96b5eb",
    "conv_5x5": "#5caeff",
    "group_conv_3x3": "#ffc5d4",
    "group_conv_5x5": "#d6d0ff",
}
"""As nas.result.cells.COLOURS, for the dark ground; the dashboard's pages have the same (css/cells.css)."""

DARK_LAYERS: Final = {
    "conv": "#ff9d86",
    "separable": "#ff6b5a",
    "dilated": "#b479d9",
    "grouped": "#ffe700",
    "conv_down": "#e6aad0",
    "max_pool": "#8785ff",
    "avg_pool": "#569abb",
}
"""As nas.result.layers.COLOURS, in the same way."""

_COLOUR: Final = re.compile(r'(?<==")#[0-9a-f]{3,6}(?=")')
_OPENING: Final = re.compile(r'<svg [^>]*width="(\d+)" height="(\d+)"[^>]*?( font-family="[^"]*" fill="[^"]*")>')


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG of this project's own, which is painted stroke by stroke for the PNG."""

    svg: str
    title: str
    theme: Theme

    def png(self, scale: float = 2.0) -> bytes:
        """See Drawing."""
        return png_of(painted(self.svg, self.theme), scale, self.title)


def cells(candidate: Candidate, title: str, theme: Theme = LIGHT) -> Picture:
    """Both cells of a candidate, or its chain of layers. Raises TypeError for the residual network.

    Args:
        candidate: whose architecture is drawn.
        title: what stands above it.
        theme: its colours.
    """
    written = architecture_svg(candidate, title=title)
    opening = _OPENING.match(written)
    if opening is None:
        raise ValueError(written[:200])
    words = Words("cells", title, describe(candidate))
    body = written[opening.end() :]
    body = body[body.index("</title>") + len("</title>") :]
    head = opened(words, float(opening[1]), float(opening[2])).replace("><title", f"{opening[3]}><title", 1)
    colours = recolouring(candidate, theme)
    svg = _COLOUR.sub(lambda found: colours.get(found[0], found[0]), head + body)
    return Picture(svg.replace('id="to-', 'id="cells-to-').replace("url(#to-", "url(#cells-to-"), title, theme)


def recolouring(candidate: Candidate, theme: Theme) -> dict[str, str]:
    """Colour of the light picture → that of the theme."""
    if theme == LIGHT:
        return {}
    made_of_cells = isinstance(candidate.architecture, Genotype)
    light, dark = (of_cells.COLOURS, DARK_CELLS) if made_of_cells else (of_layers.COLOURS, DARK_LAYERS)
    plain = {of_cells.INK: theme.ink, of_cells.GREY: theme.faint, of_cells.PALE: theme.line, "#fff": theme.surface}
    return plain | {light[name]: dark[name] for name in light}


def describe(candidate: Candidate) -> str:
    """The architecture in words."""
    match candidate.architecture:
        case Genotype(normal=normal, reduce=reduce):
            parts = []
            for name, cell in (("Normal cell", normal), ("Reduction cell", reduce)):
                nodes = [
                    f"node {index} adds {' and '.join(f'{edge.op} of {edge.source}' for edge in edges)}"
                    for index, edges in enumerate(cell.nodes, 2)
                ]
                parts.append(f"{name}: {'; '.join(nodes)}.")
            return f"{' '.join(parts)} 0 and 1 are the two cells before."
        case architecture:
            return f"{architecture}"
