"""A picture of a network that was designed layer by layer: from the image down to the classifier."""

import re
from html import escape
from typing import Final

from nas.space.layers import LAYER_KINDS, Layer, LayerNet

COLOURS: Final = {
    "conv": "#c2410c",
    "separable": "#be1240",
    "dilated": "#8440f5",
    "grouped": "#4d4000",
    "conv_down": "#7a1271",
    "max_pool": "#1e40af",
    "avg_pool": "#0277b5",
}
"""Kind → colour of its frame and its name; all have a contrast above 4.5 on white."""

DOWN: Final = ("conv_down", "max_pool", "avg_pool")
"""Kinds that halve the map, where they are the first of a group."""

INK, PALE = "#1e293b", "#e2e8f0"
SANS = "system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"
BOX_PX, HIGH_PX, GAP_PX, ROW_PX, MARGIN_PX, NOTE_PX = 170, 46, 16, 84, 24, 120
TITLE_PX = 60
NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def layers_svg(network: LayerNet, *, title: str) -> str:
    """The chain as an SVG document; layers side by side stand in one row. The same network gives the same text."""
    groups = network.groups()
    inner = max(len(group) for group in groups) * (BOX_PX + GAP_PX) - GAP_PX
    inner = max(inner, 2 * BOX_PX)
    width = inner + 2 * MARGIN_PX + NOTE_PX
    middle = MARGIN_PX + inner / 2
    title = NOT_XML.sub("\N{REPLACEMENT CHARACTER}", title)
    most = int((width - 2 * MARGIN_PX) / 11)
    shown = title if len(title) <= most else f"{title[:most]}…"
    parts = [f'<text x="{MARGIN_PX}" y="42" font-weight="600" font-size="18">{escape(shown)}</text>']
    parts.append(_end("image", middle, TITLE_PX))
    halved, above = 0, [middle]
    for row, group in enumerate(groups, 1):
        top = TITLE_PX + row * ROW_PX
        left = middle - (len(group) * (BOX_PX + GAP_PX) - GAP_PX) / 2
        centres = [left + index * (BOX_PX + GAP_PX) + BOX_PX / 2 for index in range(len(group))]
        # All of a group see all of the group above: its outputs are joined before they are handed on.
        parts.append(_arrows(above, centres, top))
        parts += [_box(layer, centre, top) for layer, centre in zip(group, centres, strict=True)]
        halved += group[0].kind in DOWN
        scale = f"1/{2**halved} of the side" if halved else "full size"
        joined = f", {sum(layer.width for layer in group)} channels together" if len(group) > 1 else ""
        note = f'<text x="{MARGIN_PX + inner + 12}" y="{top + HIGH_PX / 2 + 4:.1f}" font-size="11">{scale}'
        parts.append(f'{note}<tspan x="{MARGIN_PX + inner + 12}" dy="14">{joined.removeprefix(", ")}</tspan></text>')
        above = centres
    top = TITLE_PX + (len(groups) + 1) * ROW_PX
    parts += [_arrows(above, [middle], top), _end("average pooling, classifier", middle, top)]
    height = top + HIGH_PX + MARGIN_PX
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{SANS}" fill="{INK}"><title>{escape(title)}</title>'
        '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" orient="auto" markerWidth="7" '
        f'markerHeight="7"><path d="M0 1 10 5 0 9z" fill="{INK}"/></marker></defs>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _box(layer: Layer, centre: float, top: float) -> str:
    colour = COLOURS[layer.kind]
    frame = f'width="{BOX_PX}" height="{HIGH_PX}" rx="9" fill="#fff" stroke="{colour}" stroke-width="1.6"'
    words = f"{layer.kernel}×{layer.kernel}, {layer.width} channels"
    return (
        f'<g class="layer"><title>{escape(LAYER_KINDS[layer.kind])}</title>'
        f'<rect x="{centre - BOX_PX / 2:.1f}" y="{top}" {frame}/>'
        f'<text x="{centre:.1f}" y="{top + 19}" text-anchor="middle" font-weight="600" font-size="13" '
        f'fill="{colour}">{layer.kind}</text>'
        f'<text x="{centre:.1f}" y="{top + 36}" text-anchor="middle" font-size="12">{words}</text></g>'
    )


def _end(words: str, centre: float, top: float) -> str:
    frame = f'width="{BOX_PX + 30}" height="{HIGH_PX}" rx="9" fill="{PALE}" stroke="{INK}"'
    return (
        f'<g class="end"><rect x="{centre - BOX_PX / 2 - 15:.1f}" y="{top}" {frame}/>'
        f'<text x="{centre:.1f}" y="{top + 28}" text-anchor="middle" font-size="13">{words}</text></g>'
    )


def _arrows(above: list[float], below: list[float], top: float) -> str:
    bottom = top - ROW_PX + HIGH_PX
    curves = [
        f'<path class="flow" d="M{a:.1f} {bottom}C{a:.1f} {bottom + 18} {b:.1f} {top - 18} {b:.1f} {top}" fill="none" '
        f'stroke="{INK}" stroke-opacity="0.6" marker-end="url(#arrow)"/>'
        for a in above
        for b in below
    ]
    return "".join(curves)
