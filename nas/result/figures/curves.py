"""Learning curves, and the best score so far."""

from typing import TYPE_CHECKING, Any, Final

from nas.result.figures.data import Curve, Curves, Incumbents
from nas.result.figures.drawing import Chart, Words, finish_axes
from nas.result.figures.look import Look, chart, of_total, show_scores, show_whole_numbers, tell
from nas.result.figures.themes import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOK: Final = Look()

UNITS: Final = (("days", 2 * 86_400.0), ("hours", 2 * 3_600.0), ("minutes", 120.0))
"""Unit of time → from how many seconds on it is used; below them seconds are."""

MARKED: Final = 50
"""Of more changes than these none has a mark: they would hide the line."""

UNIT_S: Final = {"days": 86_400.0, "hours": 3_600.0, "minutes": 60.0, "seconds": 1.0}


def curves(found: Curves, look: Look = LOOK) -> Chart:
    """The learning curves of all trials: those that were stopped early are dim, the best one stands out."""
    best = next((curve for curve in found.items if curve.trial == found.best and curve.points), None)
    said = of_total(len(found.items), found.total)
    if best is not None:
        said += f"; the best, trial {best.trial}, has {look.value(best.points[-1][1])} in epoch {best.points[-1][0]}"
    words = Words("curves", "Learning curves", f"{look.label('accuracy')} over epochs of {said}.")

    def draw(axes: "Axes") -> list[dict[str, Any]]:
        drawn = sorted((curve for curve in found.items if curve.points), key=lambda curve: _depth(curve, found.best))
        alpha = max(0.25, min(0.8, 40 / (1 + len(drawn))))
        for curve in drawn:
            _draw_curve(axes, curve, _kind(curve, found.best), alpha, look.theme)
        axes.margins(x=0.03, y=0.08)
        show_whole_numbers(axes)
        show_scores(axes, look, "y")
        if best is not None:
            tell(axes, f"trial {best.trial}", best.points[-1], look.theme)
        finish_axes(axes, look.theme, "epoch", look.label("accuracy"))
        shown = {_kind(curve, found.best) for curve in drawn}
        return [key for kind, key in _keys(look.theme).items() if kind in shown]

    return chart(words, look, draw)


def incumbents(found: Incumbents, look: Look = LOOK) -> Chart:
    """The best score so far, over the time of the job."""
    said = ""
    if found.items:
        trial, at_s, score = found.items[-1]
        said = f"; trial {trial} is the last, with {look.value(score)} after {at_s:,.0f} s"
    words = Words("incumbents", "Best so far", f"Best {look.label('accuracy')} over time{said}.")
    unit = next((unit for unit, from_s in UNITS if found.items and found.items[-1][1] >= from_s), "seconds")

    def draw(axes: "Axes") -> list[dict[str, Any]]:
        times = [at_s / UNIT_S[unit] for _, at_s, _ in found.items]
        scores = [score for _, _, score in found.items]
        axes.step(times, scores, where="post", color=look.theme.accent, linewidth=2, gid="step")
        if len(times) <= MARKED:
            axes.plot(times, scores, "o", color=look.theme.accent, markersize=5, gid="changes")
        axes.margins(x=0.08, y=0.12)
        axes.set_xlim(left=0.0)
        show_scores(axes, look, "y")
        if found.items:
            tell(axes, f"trial {found.items[-1][0]}", (times[-1], scores[-1]), look.theme)
        finish_axes(axes, look.theme, f"{unit} since the start", f"best {look.label('accuracy')}")
        return []

    return chart(words, look, draw)


def _keys(theme: Theme) -> dict[str, dict[str, Any]]:
    """Kind of a curve → how it is drawn, and what the legend says of it."""
    return {
        "best": {"label": "best", "color": theme.bad, "linewidth": 2.6},
        "complete": {"label": "complete", "color": theme.accent, "linewidth": 1.3},
        "running": {"label": "running", "color": theme.accent, "linewidth": 1.3, "linestyle": "--"},
        "stopped": {"label": "stopped early", "color": theme.faint, "linewidth": 0.9, "marker": "x", "markersize": 4},
    }


_BELOW: Final = ("stopped", "complete", "running", "best")
"""Kinds of curves, in the order in which they are drawn."""


def _kind(curve: Curve, best: int | None) -> str:
    if curve.trial == best:
        return "best"
    return curve.state if curve.state in ("complete", "running") else "stopped"


def _depth(curve: Curve, best: int | None) -> tuple[int, int]:
    return _BELOW.index(_kind(curve, best)), curve.trial


def _draw_curve(axes: "Axes", curve: Curve, kind: str, alpha: float, theme: Theme) -> None:
    style = {name: value for name, value in _keys(theme)[kind].items() if name != "label"}
    if len(curve.points) == 1:  # a line of one point is none
        style |= {"marker": style.get("marker", "o"), "markersize": 4}
    axes.plot(
        [epoch for epoch, _ in curve.points],
        [score for _, score in curve.points],
        **style,
        markevery=[-1],  # where it ended
        alpha=1.0 if kind == "best" else alpha,
        gid=f"trial-{curve.trial}",
    )
