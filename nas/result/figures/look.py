"""What the pictures with axes have in common: their size, their scales, and how they say a score."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from nas.result.figures.drawing import SMALL_PX, Chart, Words, add_axes, font
from nas.result.figures.themes import LIGHT, Theme
from nas.words import NAMES, ahead, bare, is_share, score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT_PX, TOP_PX, RIGHT_PX, BOTTOM_PX = 74, 40, 20, 50
KEY_PX, ROW_PX = 108, 19
HEIGHT_SHARE: Final = 0.64

LABELS: Final = {
    "accuracy": "{score} on validation",
    "params": "parameters",
    "macs": "multiply-accumulates",
    "latency_ms": "latency in ms",
    "memory_mb": "peak memory in MB",
    "epoch": "epochs trained",
    "number": "number of the trial",
}
"""Figure of a trial → what stands at its axis."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a picture is drawn.

    Attributes:
        theme: its colours.
        width_px: of its SVG.
        metric: the task's score (nas.train.tasks.SCORE).
    """

    theme: Theme = LIGHT
    width_px: int = 640
    metric: str = "accuracy"

    @property
    def score(self) -> str:
        """What the task's score is called."""
        return NAMES[self.metric]

    @property
    def percent(self) -> bool:
        """Whether the score is a share."""
        return is_share(self.metric)

    def value(self, value: float) -> str:
        """A score as it is said."""
        return _printed(score(value, self.metric))

    def size(self, difference: float) -> str:
        """How far two scores are apart: 1.25 points, or 0.012 of R²."""
        return f"{bare(abs(difference), self.metric)}{' points' if self.percent else ''}"

    def ahead(self, difference: float) -> str:
        """How far a score is ahead of another one, with its sign."""
        return _printed(ahead(difference, self.metric))

    def label(self, name: str) -> str:
        """What stands at the axis of a trial's figure."""
        return LABELS[name].format(score=self.score)


def _printed(number: str) -> str:
    return number.replace("-", "−")


def chart(words: Words, look: Look, draw: Callable[["Axes"], Sequence[dict[str, Any]]]) -> Chart:
    """A picture of one pair of axes; `draw` fills them, and returns the keys of the legend."""
    height_px = round(look.width_px * HEIGHT_SHARE)

    def fill(figure: "Figure") -> None:
        from matplotlib.lines import Line2D

        axes = add_axes(figure, (LEFT_PX, TOP_PX, look.width_px - RIGHT_PX, height_px - BOTTOM_PX), look.theme)
        keys = draw(axes)
        columns = max(1, min(len(keys), (look.width_px - LEFT_PX) // KEY_PX))
        if len(keys) > columns:  # a second row of keys takes its room from the axes
            low = axes.get_position()
            axes.set_position((low.x0, low.y0, low.width, low.height - ROW_PX / height_px))
        figure.legend(
            handles=[Line2D([], [], **key) for key in keys],
            loc="upper left",
            bbox_to_anchor=(LEFT_PX / look.width_px, 1 - 12 / height_px),
            ncols=columns,
            frameon=False,
            prop=font(SMALL_PX),
            labelcolor=look.theme.ink,
            borderpad=0,
            borderaxespad=0,
            handlelength=1.5,
            handletextpad=0.5,
            columnspacing=1.0,
        )

    return Chart(words, look.width_px, height_px, look.theme, fill)


def of_total(shown: int, total: int) -> str:
    """How many trials there are to see."""
    return f"{shown:,} of {total:,} trials" if shown < total else f"{total:,} trial{'' if total == 1 else 's'}"


def show_scores(axes: "Axes", look: Look, side: str) -> None:
    """Scores along a side, in per cent where they are shares."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis = getattr(axes, f"{side}axis")
    axis.set_major_locator(MaxNLocator(6 if side == "y" else max(2, look.width_px // 100)))
    if look.percent:
        # The margin above 100 % has no number: there is no such score.
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{round(value * 100, 2):g} %" if value <= 1 else ""))


def show_amounts(axes: "Axes", side: str) -> None:
    """Amounts along a side: 2.5 k, 1.2 M."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

    axis = getattr(axes, f"{side}axis")
    axis.set_major_locator(
        LogLocator(subs=(1.0, 2.0, 5.0)) if axis.get_scale() == "log" else MaxNLocator(6, min_n_ticks=2)
    )
    axis.set_major_formatter(FuncFormatter(lambda value, _: amount(value)))


def show_whole_numbers(axes: "Axes") -> None:
    """Whole numbers along x."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))


def amount(value: float) -> str:
    """A number as people write it short."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{round(value / size, 2):g} {unit}"
    return f"{value:.4g}"


def tell(axes: "Axes", text: str, at: tuple[float, float], theme: Theme) -> None:
    """Words above a place, on the side where there is room; readable across what lies below them."""
    across, _ = axes.transAxes.inverted().transform(axes.transData.transform(at))
    axes.annotate(
        text,
        at,
        xytext=(6 if across > 0.6 else -6, 8),
        textcoords="offset points",
        horizontalalignment="right" if across > 0.6 else "left",
        verticalalignment="bottom",
        fontproperties=font(SMALL_PX, bold=True),
        color=theme.ink,
        parse_math=False,
        zorder=6,
        bbox={"facecolor": theme.surface, "edgecolor": "none", "alpha": 0.85, "pad": 1.5},
    )
