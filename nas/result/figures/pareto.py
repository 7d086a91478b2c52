"""Trials by two of their figures, and those that no other one beats in both."""

from typing import TYPE_CHECKING, Any, Final

from nas.objectives import DIRECTIONS
from nas.result.figures.data import Point, Points
from nas.result.figures.drawing import Chart, Words, finish_axes
from nas.result.figures.look import Look, chart, of_total, show_amounts, show_scores, tell
from nas.result.figures.themes import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOK: Final = Look()

SPAN: Final = 20.0
"""An axis of costs that differ by more than this factor is logarithmic."""


def pareto(found: Points, look: Look = LOOK) -> Chart:
    """Trials by two of their figures; those that no other one beats in both are joined, the best one is marked."""
    front = unbeaten(found)
    best = next((point for point in found.items if point.trial == found.best), None)
    x, y = look.label(found.x), look.label(found.y)
    said = of_total(len(found.items), found.total)
    said += f"; {len(front)} of them are beaten in both by none" if front else ""
    said += f"; trial {best.trial} is the best" if best else ""
    words = Words("pareto", f"{y} and {x}", f"{y} over {x} of {said}.")

    def draw(axes: "Axes") -> list[dict[str, Any]]:
        _scale(axes, found)
        keys = _keys(look.theme)
        points = {kind: [point for point in found.items if _kind(point) == kind] for kind in ("stopped", "complete")}
        # What no other one beats in all that the job looks for; of one objective that is only its best.
        points["member"] = [point for point in found.items if point.front]
        points |= {"front": front[:-1] and front, "best": [best] if best else []}  # one point is no line
        for kind, those in points.items():
            at = [point.x for point in those], [point.y for point in those]
            style = {name: value for name, value in keys[kind].items() if name != "label"}
            axes.plot(*at, **style, gid=kind, zorder=3 if kind in ("front", "member") else 4 if kind == "best" else 2)
        axes.margins(x=0.08, y=0.1)
        for name, side in ((found.x, "x"), (found.y, "y")):
            (show_scores(axes, look, side) if name == "accuracy" else show_amounts(axes, side))
        if best is not None:
            tell(axes, f"trial {best.trial}", (best.x, best.y), look.theme)
        finish_axes(axes, look.theme, x, y)
        return [key for kind, key in keys.items() if points[kind]]

    return chart(words, look, draw)


def unbeaten(found: Points) -> list[Point]:
    """The complete trials that no other one is as good as in both figures, by x; none where a figure is no merit."""
    if found.x not in DIRECTIONS or found.y not in DIRECTIONS:
        return []
    sign_x, sign_y = (1 if DIRECTIONS[name] == "maximize" else -1 for name in (found.x, found.y))
    whole = [point for point in found.items if point.state == "complete"]
    # From the best x to the worst: who is no better in y than all before is beaten by one of them.
    whole.sort(key=lambda point: (-sign_x * point.x, -sign_y * point.y, point.trial))
    front: list[Point] = []
    for point in whole:
        if not front or sign_y * point.y > sign_y * front[-1].y:
            front.append(point)
    return sorted(front, key=lambda point: point.x)


def _keys(theme: Theme) -> dict[str, dict[str, Any]]:
    """Kind of points → how they are drawn, and what the legend says of them."""
    point: dict[str, Any] = {"linestyle": "none", "markersize": 5}
    ring = point | {"marker": "o", "markersize": 9, "markerfacecolor": "none", "markeredgecolor": theme.good}
    return {
        "complete": point | {"label": "complete", "marker": "o", "color": theme.accent, "alpha": 0.75},
        "stopped": point | {"label": "not complete", "marker": "x", "color": theme.faint},
        "front": {"label": "best in both", "color": theme.good, "linewidth": 1.6},
        "member": ring | {"label": "Pareto set", "color": theme.good},
        "best": point | {"label": "best", "marker": "*", "markersize": 14, "color": theme.bad},
    }


def _kind(point: Point) -> str:
    return "complete" if point.state == "complete" else "stopped"


def _scale(axes: "Axes", found: Points) -> None:
    for name, side in ((found.x, "x"), (found.y, "y")):
        values = [getattr(point, side) for point in found.items]
        if (
            name in DIRECTIONS
            and name != "accuracy"
            and values
            and min(values) > 0
            and max(values) > SPAN * min(values)
        ):
            getattr(axes, f"set_{side}scale")("log")
