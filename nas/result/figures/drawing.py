"""A picture as SVG and as PNG; those with axes are drawn by matplotlib's objects, without pyplot and its global state.

Matplotlib is imported where it is used: that takes half a second, for which the API's start need not wait.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from html import escape
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Protocol

from nas.result.figures.themes import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FONTS: Final = "system-ui, 'Segoe UI', Roboto, Helvetica, Arial, 'DejaVu Sans', sans-serif"
TEXT_PX: Final = 13
SMALL_PX: Final = 12

NOT_XML: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_SAVING = Lock()
"""Matplotlib's SVG writer takes two settings from a place that all threads share."""


class Drawing(Protocol):
    """A picture. The same data give the same text and the same bytes."""

    @property
    def svg(self) -> str:
        """An SVG element with a title and a description; it loads and runs nothing."""
        ...

    def png(self, scale: float = 2.0) -> bytes:
        """A PNG with `scale` pixels for each unit of the SVG."""
        ...


@dataclass(frozen=True, slots=True)
class Words:
    """What a picture is called, what is to be seen in it, and the word that its elements' ids begin with."""

    name: str
    title: str
    description: str


@dataclass(frozen=True, eq=False, slots=True)
class Chart:
    """A picture with axes.

    Attributes:
        words: of it.
        width_px, height_px: of the SVG.
        theme: its colours.
        draw: fills an empty figure; called for every file that is made.
    """

    words: Words
    width_px: int
    height_px: int
    theme: Theme
    draw: Callable[["Figure"], None] = field(repr=False)

    @property
    def svg(self) -> str:
        """See Drawing."""
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        figure = self._figure()
        buffer = io.StringIO()
        with _SAVING:
            # What words are stays words: they can be searched, read aloud, and are smaller than outlines.
            mpl.rcParams["svg.fonttype"] = "none"
            mpl.rcParams["svg.hashsalt"] = "nas"
            canvas: Any = FigureCanvasSVG(figure)
            canvas.print_svg(buffer, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        return _finished(buffer.getvalue(), self.words, self.width_px, self.height_px)

    def png(self, scale: float = 2.0) -> bytes:
        """See Drawing."""
        return png_of(self._figure(), scale, self.words.title)

    def _figure(self) -> "Figure":
        figure = empty_figure(self.width_px, self.height_px, self.theme)
        self.draw(figure)
        return figure


def empty_figure(width_px: float, height_px: float, theme: Theme) -> "Figure":
    """A figure of that size: one unit of its SVG is one pixel."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_px / 72, height_px / 72), dpi=72, facecolor=theme.surface, edgecolor="none")


def png_of(figure: "Figure", scale: float, title: str) -> bytes:
    """The figure as PNG with `scale` pixels for each of its units."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(72 * scale)
    buffer = io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(buffer, metadata={"Software": None, "Title": NOT_XML.sub("\N{REPLACEMENT CHARACTER}", title)})
    return buffer.getvalue()


def font(size_px: float, *, bold: bool = False, mono: bool = False) -> Any:
    """Matplotlib's own font of that size, by its file: the same on every machine."""
    from matplotlib.font_manager import FontProperties

    name = f"DejaVuSans{'Mono' if mono else ''}{'-Bold' if bold else ''}.ttf"
    weight = "bold" if bold else "normal"  # which only the SVG asks for
    return FontProperties(fname=str(_fonts() / name), family="DejaVu Sans", weight=weight, size=size_px)


def add_axes(figure: "Figure", place_px: tuple[float, float, float, float], theme: Theme) -> "Axes":
    """Axes with a pale grid.

    Args:
        figure: that they are added to.
        place_px: their (left, top, right, bottom) in the figure, from its upper left corner.
        theme: its colours.
    """
    width, height = (72 * inches for inches in figure.get_size_inches())
    left, top, right, bottom = place_px
    axes = figure.add_axes((left / width, 1 - bottom / height, (right - left) / width, (bottom - top) / height))
    axes.set_facecolor("none")
    axes.grid(visible=True, color=theme.grid, linewidth=1)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.line)
    return axes


def finish_axes(axes: "Axes", theme: Theme, x: str, y: str) -> None:
    """Names the axes and sets the words on them; to be called when their scales and limits stand."""
    axes.tick_params(which="both", color=theme.line, length=4)
    axes.tick_params(which="minor", length=0)
    axes.minorticks_off()
    axes.set_xlabel(x, fontproperties=font(TEXT_PX), color=theme.ink, labelpad=6)
    axes.set_ylabel(y, fontproperties=font(TEXT_PX), color=theme.ink, labelpad=6)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_fontproperties(font(SMALL_PX))
        label.set_color(theme.muted)


@cache
def _fonts() -> Path:
    import matplotlib as mpl

    return Path(mpl.get_data_path()) / "fonts" / "ttf"


_ID = re.compile(r'\bid="([^"]*)"')
_REFERENCE = re.compile(r'(href="#|url\(#)([^")]*)')


def _finished(written: str, words: Words, width_px: int, height_px: int) -> str:
    """Matplotlib's SVG without what stands before the element; in pixels, with words for who cannot see it.

    Ids get a prefix, so that several pictures can stand in one page.
    """
    body = written[written.index("<svg") :]
    body = body[body.index(">") + 1 :]
    # Its rule for all elements would hold for the page that the picture stands in, too.
    body = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = re.sub(r"font-family: [^;\"]*", f"font-family: {FONTS}", body)
    body = re.sub(r"font: (\d[\d.]*)px [^;\"]*", rf"font: \1px {FONTS}", body)
    body = _ID.sub(rf'id="{words.name}-\1"', body)
    body = _REFERENCE.sub(rf"\1{words.name}-\2", body)
    head = opened(words, width_px, height_px).replace('role="img"', 'role="img" stroke-linejoin="round"', 1)
    return head + body.lstrip()


def opened(words: Words, width_px: float, height_px: float) -> str:
    """The beginning of an SVG element, up to its description."""
    name, title = f"{words.name}-title", f"{words.name}-description"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'aria-labelledby="{name} {title}" width="{width_px:.0f}" height="{height_px:.0f}" '
        f'viewBox="0 0 {width_px:.0f} {height_px:.0f}"><title id="{name}">{said(words.title)}</title>'
        f'<desc id="{title}">{said(words.description)}</desc>\n'
    )


def said(text: str) -> str:
    """A text as it may stand in XML, whatever is in it."""
    return escape(NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))
