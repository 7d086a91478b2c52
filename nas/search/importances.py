"""Which parameters the best trials of a search agree in: PED-ANOVA (Watanabe, Bansal and Hutter 2023, IJCAI).

As optuna.importance.PedAnovaImportanceEvaluator has it, which tests compare this with. That is not loaded: it takes
more than a second, and a service that only answers has no other need of it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from nas.space import Categorical, Distribution, Integer
from nas.space.distributions import Value

FEWEST: Final = 10
"""Trials below which nothing is said."""

TOP_SHARE, TOP_TRIALS = 0.1, 5
"""Of all trials, those that count as the best; so many at the least, or one trial would decide."""

STEPS: Final = 50
"""Values at most that a number is rounded to."""

PRIOR: Final = 1.0
"""Trials that the uniform distribution counts for."""

NARROWEST: Final = 0.5 / 1.64
"""Deviation in steps at least: nine tenths of a kernel then lie on its own step."""

TINY: Final = 1e-12

Column = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]


def importances(
    columns: Mapping[str, Sequence[Value]], scores: Sequence[float], distributions: Mapping[str, Distribution]
) -> tuple[dict[str, float], str | None]:
    """(parameter → its share, largest first; why there are none).

    How far the values among the best trials are from those among all of them. The shares add up to 1.

    Args:
        columns: parameter → its value in each trial.
        scores: of the trials, to be maximised.
        distributions: of the parameters; each has more than one value.
    """
    count = len(scores)
    if count < FEWEST:
        return {}, f"it takes {FEWEST} trials with a score, and there are {count} so far"
    if not distributions:
        return {}, "there is nothing to choose in this search"
    sorted_ = sorted(scores, reverse=True)
    least = sorted_[math.ceil(max(TOP_SHARE, TOP_TRIALS / count) * count) - 1]
    if least == sorted_[-1]:
        return {}, "too many trials score the same: nothing tells the best ones from the others"
    top = np.asarray(scores) >= least
    found = {}
    for name, distribution in distributions.items():
        places, size = _on_grid(columns[name], distribution)
        density = _categories if isinstance(distribution, Categorical) else _kernels
        found[name] = _divergence(density(places[top], size), density(places, size))
    total = sum(found.values())
    if not total > 0:
        return {}, "no parameter tells the best trials from the others"
    ranked = sorted(found, key=lambda name: -found[name])
    return {name: found[name] / total for name in ranked}, None


def _divergence(best: Floats, every: Floats) -> float:
    """Pearson's, of the distribution of the best trials from that of all (theorem 1)."""
    best, every = best + TINY, every + TINY
    return float(every @ (best / every - 1) ** 2)


def _on_grid(values: Sequence[Value], distribution: Distribution) -> tuple[Column, int]:
    """Each value's place on a grid, and the size of the grid."""
    if isinstance(distribution, Categorical):
        places = {(type(choice), choice): place for place, choice in enumerate(distribution.choices)}
        return np.array([places[type(value), value] for value in values]), len(places)
    low, high, numbers = float(distribution.low), float(distribution.high), np.asarray(values, dtype=np.float64)
    size = STEPS
    if isinstance(distribution, Integer):
        wide = distribution.high - distribution.low + 1
        size = min(math.ceil(math.log2(wide)) + 1 if distribution.log else wide, STEPS)
    if distribution.log:
        low, high, numbers = math.log(low), math.log(high), np.log(numbers)
    places_ = np.ceil((numbers - low) / (high - low) * (size - 1) - 0.5).astype(np.intp)
    return np.clip(places_, 0, size - 1), size


def _categories(places: Column, size: int) -> Floats:
    """The density of a category at each place: a kernel for each value that occurs, and the prior."""
    counts = np.bincount(places, minlength=size)
    seen = np.flatnonzero(counts)
    kernels = np.full((len(seen) + 1, size), PRIOR / (len(seen) + 1))
    kernels[np.arange(len(seen)), seen] += 1
    kernels /= kernels.sum(axis=1, keepdims=True)
    return np.asarray(_weights(counts[seen]) @ kernels)


def _kernels(places: Column, size: int) -> Floats:
    """The density of a number at each place: kernels of Scott's width (1992), cut off at the ends."""
    counts = np.bincount(places, minlength=size)
    seen = np.flatnonzero(counts)
    weights, total = counts[seen], counts.sum()
    mean = (seen @ weights) / total
    deviation = math.sqrt(((seen - mean) ** 2 @ weights) / max(1, total - 1))
    reached = np.cumsum(weights)
    first = np.searchsorted(reached, total // 4, side="left")
    third = min(len(seen) - 1, int(np.searchsorted(reached, total * 3 // 4, side="right")))
    spread = 1.059 * min((seen[third] - seen[first]) / 1.34, deviation) * total**-0.2
    centres = np.append(seen, (size - 1) / 2)
    widths = np.append(np.full(len(seen), max(spread, NARROWEST)), size)
    edges = (np.arange(size + 1) - 0.5 - centres[:, None]) / widths[:, None]
    below = np.array([[0.5 * math.erfc(-edge / math.sqrt(2)) for edge in row] for row in edges])
    kernels = np.diff(below, axis=1) / (below[:, -1] - below[:, 0])[:, None]
    return np.asarray(_weights(weights) @ kernels)


def _weights(counts: Column) -> Floats:
    """Of the kernels, the prior last."""
    found = np.append(counts, PRIOR)
    return np.asarray(found / found.sum(), dtype=np.float64)
