"""A task's score in words: the same ones wherever a person reads of it. Without torch and numpy.

Every task's score is filed as `accuracy`; which one it is stands beside it as `metric` (nas.train.tasks.SCORE).
"""

from typing import Final, overload

NAMES: Final = {"accuracy": "accuracy", "map": "mean average precision", "r2": "R²"}
"""Metric → what people call it."""

SHORT: Final = NAMES | {"map": "mAP"}
"""The same, where there is room for one word."""


def is_share(metric: str) -> bool:
    """Whether a score is a share of something, and so said in percent; R² is none, for it can be below 0."""
    return metric != "r2"


@overload
def score(value: float, metric: str) -> str: ...


@overload
def score(value: float | None, metric: str) -> str | None: ...


def score(value: float | None, metric: str) -> str | None:
    """A score as people read it: 98.24 %, or 0.982 of R²; None where there is none."""
    if value is None:
        return None
    return f"{bare(value, metric)} %" if is_share(metric) else bare(value, metric)


def bare(value: float, metric: str) -> str:
    """The same without its unit, for intervals."""
    return f"{value * 100:z.2f}" if is_share(metric) else f"{value:z.3f}"


@overload
def named(value: float, metric: str) -> str: ...


@overload
def named(value: float | None, metric: str) -> str | None: ...


def named(value: float | None, metric: str) -> str | None:
    """A score with its name, which goes without saying for accuracy: 98.24 %, R² 0.982; None where there is none."""
    if value is None or metric == "accuracy":
        return score(value, metric)
    return f"{SHORT[metric]} {score(value, metric)}"


def ahead(value: float, metric: str) -> str:
    """How far a score is ahead of another one: +1.25 (points), or +0.012 of R²."""
    return f"{value * 100:+.2f}" if is_share(metric) else f"{value:+.3f}"
