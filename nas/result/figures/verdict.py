"""The verdict as a picture: every retraining of the winner, of its controls and of the reference, and what differs."""

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from nas.result.figures.drawing import SMALL_PX, TEXT_PX, Chart, Words, add_axes, finish_axes, font
from nas.result.figures.look import Look, show_scores
from nas.result.figures.themes import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOK: Final = Look()

NAMES_PX, RIGHT_PX, ROW_PX, LINE_PX = 156, 20, 40, 20


@dataclass(frozen=True, slots=True)
class Group:
    """Retrainings on the test split: a name, each one's score, their mean, and its 95 % interval."""

    name: str
    scores: tuple[float, ...]
    mean: float
    low: float
    high: float


def sentence(found: dict[str, Any], look: Look = LOOK) -> str:
    """The verdict in one sentence.

    Args:
        found: the verdict of a job (nas.result.verdict).
        look: has the score.
    """
    difference = found["difference"]
    interval = f"95 % interval {look.ahead(difference['low'])} to {look.ahead(difference['high'])}"
    by = look.size(difference["mean"])
    of = "" if found.get("score", "accuracy") == "accuracy" else f" of {found['score']}"
    if difference["low"] > 0:
        return f"The search beat random networks of its size by {by}{of} on the test split ({interval})."
    if difference["high"] < 0:
        return f"The search lost to random networks of its size by {by}{of} on the test split ({interval})."
    side = "above" if difference["mean"] > 0 else "below" if difference["mean"] < 0 else "from"
    return f"The search cannot be told from luck: {by}{of} {side} random networks of its size ({interval})."


def is_whole(found: dict[str, Any] | None) -> bool:
    """Whether there is a verdict, with all that its picture shows."""
    return found is not None and {"winner", "controls", "reference", "difference", "reference_difference"} <= set(found)


def groups(found: dict[str, Any]) -> list[Group]:
    """The winner, the random networks together, and the hand-designed one."""
    controls = found["controls"]
    random = tuple(score for network in controls["networks"] for score in network["accuracies"])
    count = len(controls["networks"])
    named = (
        ("the winner", tuple(found["winner"]["accuracies"]), found["winner"]),
        (f"{count} random network{'' if count == 1 else 's'}", random, controls),
        ("hand-designed", tuple(found["reference"]["accuracies"]), found["reference"]),
    )
    return [Group(name, scores, of["mean"], of["low"], of["high"]) for name, scores, of in named]


def verdict(found: dict[str, Any], look: Look = LOOK, *, headed: bool = True) -> Chart:
    """Every retraining as a dot, each group's mean and interval, and the differences against zero.

    Args:
        found: the verdict of a job (nas.result.verdict).
        look: of the picture.
        headed: whether its sentence stands above it.
    """
    shown, said = groups(found), sentence(found, look)
    words = Words("verdict", "Verdict", " ".join([said, *(_described(group, look) for group in shown)]))
    lines = textwrap.wrap(said, int(look.width_px / 8.4)) if headed else []
    top = 18 + LINE_PX * len(lines)
    middle = top + ROW_PX * len(shown)
    bottom = middle + 74
    height_px = bottom + 2 * ROW_PX + 52

    def draw(figure: "Figure") -> None:
        for index, line in enumerate(lines):
            y = 1 - (14 + LINE_PX * index) / height_px
            style = {"fontproperties": font(TEXT_PX, bold=True), "color": look.theme.ink, "verticalalignment": "top"}
            figure.text(18 / look.width_px, y, line, **style, parse_math=False)
        axes = add_axes(figure, (NAMES_PX, top, look.width_px - RIGHT_PX, middle), look.theme)
        for row, group in enumerate(shown):
            _draw_group(axes, row, group, look.theme, strong=row == 0)
        _finish(axes, [group.name for group in shown], f"{found.get('score', look.score)} on the test split", look)
        axes = add_axes(figure, (NAMES_PX, bottom, look.width_px - RIGHT_PX, bottom + 2 * ROW_PX), look.theme)
        axes.axvline(0.0, color=look.theme.ink, linewidth=1.2, linestyle="--", gid="zero")
        _draw_difference(axes, 0, found["difference"], look.theme, "difference")
        _draw_difference(axes, 1, found["reference_difference"], look.theme, "reference-difference")
        unit = "points ahead, 95 % interval" if look.percent else "ahead by, 95 % interval"
        _finish(axes, ["against random", "against hand-designed"], unit, look)
        if look.percent:
            _show_points(axes)
            finish_axes(axes, look.theme, unit, "")

    return Chart(words, look.width_px, height_px, look.theme, draw)


def _draw_group(axes: "Axes", row: int, group: Group, theme: Theme, *, strong: bool) -> None:
    colour = theme.accent if strong else theme.muted
    axes.plot([group.low, group.high], [row, row], color=colour, linewidth=2, gid=f"interval-{row}")
    axes.plot([group.mean], [row], "D", color=colour, markersize=8, gid=f"mean-{row}")
    # Dots stand a little above the line, those of the same score one above the other.
    seen: dict[float, int] = {}
    heights = []
    for score in group.scores:
        heights.append(row - 0.24 - 0.07 * min(2, seen.get(score, 0)))
        seen[score] = seen.get(score, 0) + 1
    axes.plot(group.scores, heights, "o", color=colour, alpha=0.6, markersize=5, markeredgewidth=0, gid=f"runs-{row}")


def _draw_difference(axes: "Axes", row: int, found: dict[str, float], theme: Theme, gid: str) -> None:
    colour = theme.good if found["low"] > 0 else theme.bad if found["high"] < 0 else theme.muted
    axes.plot([found["low"], found["high"]], [row, row], color=colour, linewidth=3, gid=gid)
    for end in (found["low"], found["high"]):
        axes.plot([end], [row], "|", color=colour, markersize=12, markeredgewidth=2)
    axes.plot([found["mean"]], [row], "D", color=colour, markersize=8, gid=f"{gid}-mean")


def _finish(axes: "Axes", names: list[str], label: str, look: Look) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.55)
    axes.margins(x=0.08)
    show_scores(axes, look, "x")
    finish_axes(axes, look.theme, label, "")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    for name in axes.get_yticklabels():
        name.set_fontproperties(font(SMALL_PX))
        name.set_color(look.theme.ink)


def _show_points(axes: "Axes") -> None:
    from matplotlib.ticker import FuncFormatter

    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))


def _tick(value: float) -> str:
    points = round(value * 100, 2)
    return f"{points:+g}".replace("-", "−") if points else "0"


def _described(group: Group, look: Look) -> str:
    each = ", ".join(look.value(score) for score in group.scores)
    interval = f"{look.value(group.low)} to {look.value(group.high)}"
    return f"{group.name.capitalize()}: {look.value(group.mean)} ({interval}), each {each}."
