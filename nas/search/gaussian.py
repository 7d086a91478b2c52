"""A Gaussian process over candidates and rungs (Rasmussen, Williams 2006; several fidelities: Kennedy, O'Hagan 2000).

What a candidate is worth at the end is a smooth function of its features; at each earlier rung a further one is added,
so that rungs tell the more about the end the nearer they are to it. How much, and how noisy each rung is, is learned.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from nas.search.features import Floats

Levels = NDArray[np.intp]

OFFSET: Final = 2.0
"""Variance of a rung's mean: the trials that got there were chosen."""

SWEEPS: Final = 2
"""Times that each setting is doubled and halved while that helps."""

DOUBT: Final = 1.5
"""Standard deviation of the logarithm of a setting about its default."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is learned beside the function itself.

    Attributes:
        length: distance over which candidates are alike.
        linear: share of the variance that is linear in the features, as odds.
        drift: variance that each rung before the last one adds.
        noise: variance of an observation at each rung.
        weights: of the parts of the features.
    """

    length: float
    linear: float
    drift: float
    noise: tuple[float, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """Observations.

    Attributes:
        features: [n, features].
        levels: [n], rungs by their order from 0.
        values: [n], about 0 and of variance 1 at each level.
    """

    features: Floats
    levels: Levels
    values: Floats


def default(levels: int, groups: int) -> Settings:
    """What is assumed before anything is known."""
    return Settings(1.0, 1.0, 0.3, (0.1,) * levels, (1.0,) * groups)


class Process:
    """The process given what is known.

    Args:
        known: what was observed.
        pending: [m, features], what is being tried: nothing is known of it yet, but it soon will be.
        groups: of each feature, the part that it belongs to.
        settings: see Settings.
    """

    def __init__(self, known: Known, pending: Floats, groups: Levels, settings: Settings) -> None:
        self._settings, self._groups, self._top = settings, groups, len(settings.noise) - 1
        self._centre = known.features.mean(0)
        self._points = self._weighted(np.vstack([known.features, pending]))
        # What is pending ends at the first rung, but it counts as known at the last one: there is no use in its twin.
        self._levels = np.concatenate([known.levels, np.full(len(pending), self._top, np.intp)])
        self._scale = _scale(self._points[: len(known.values)])
        covariance = self._covariance(self._points, self._levels)
        covariance[np.diag_indices_from(covariance)] += np.array(settings.noise)[self._levels] + 1e-6
        self._factor = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
        seen = len(known.values)
        leading = self._factor[:seen, :seen]
        half = solve_triangular(leading, known.values, lower=True, check_finite=False)
        self._dual = solve_triangular(leading, half, lower=True, trans=1, check_finite=False)

    def mean(self, features: Floats) -> Floats:
        """[k, features] → [k]: at the last rung."""
        seen = len(self._dual)
        covariance = self._covariance(self._weighted(features), self._ends(features), seen)
        return np.asarray(covariance @ self._dual)

    def deviation(self, features: Floats) -> Floats:
        """[k, features] → [k]: of the function, without the noise."""
        points = self._weighted(features)
        reduced = solve_triangular(
            self._factor, self._covariance(points, self._ends(features)).T, lower=True, check_finite=False
        )
        share = self._settings.linear / (1 + self._settings.linear)
        prior = 1 - share + share * self._scale * (points**2).sum(1) + OFFSET
        return np.asarray(np.sqrt(np.maximum(prior - (reduced**2).sum(0), 1e-9)))

    def _covariance(self, points: Floats, levels: Levels, count: int | None = None) -> Floats:
        others, their = self._points[:count], self._levels[:count]
        product = points @ others.T
        squares = (points**2).sum(1)[:, None] + (others**2).sum(1)[None] - 2 * product
        return _kernel(squares, self._scale * product, _Pairs.of(levels, their, self._top), self._settings)

    def _ends(self, features: Floats) -> Levels:
        return np.full(len(features), self._top, np.intp)

    def _weighted(self, features: Floats) -> Floats:
        return np.asarray((features - self._centre) * np.sqrt(self._settings.weights)[self._groups])


def learn(known: Known, levels: int, groups: Levels) -> Settings:
    """The most likely settings, given what is known, and that they are not far from the default."""
    parts = int(groups.max()) + 1
    centred = known.features - known.features.mean(0)
    products = np.stack([centred[:, groups == part] @ centred[:, groups == part].T for part in range(parts)])
    pairs = _Pairs.of(known.levels, known.levels, levels - 1)
    best = first = default(levels, parts)
    score = _badness(known, products, pairs, best, first)
    for _ in range(SWEEPS):
        for move in _moves(levels, parts):
            for factor in (3.0, 1 / 3):
                tried = _moved(best, move, factor)
                if (found := _badness(known, products, pairs, tried, first)) < score:
                    best, score = tried, found
                    break
    return best


class _Pairs(NamedTuple):
    """Of the rungs of two observations: how many rungs before the last one they have in common, and if they are one."""

    shared: Levels
    same: NDArray[np.bool_]

    @classmethod
    def of(cls, one: Levels, other: Levels, top: int) -> Self:
        return cls(top - np.maximum(one[:, None], other[None]), one[:, None] == other[None])


def _kernel(squares: Floats, products: Floats, pairs: _Pairs, settings: Settings) -> Floats:
    """Matérn 3/2 and a linear part, from the squares of the distances and the products of the features."""
    distance = np.sqrt(np.maximum(squares, 0))  # from here on in place: these are the largest arrays of all
    distance *= np.sqrt(3) / settings.length
    share = settings.linear / (1 + settings.linear)
    smooth = np.exp(-distance)
    distance += 1
    smooth *= distance
    smooth *= 1 - share
    smooth += share * products
    if len(settings.noise) == 1:  # a single rung
        smooth += OFFSET
        return np.asarray(smooth)
    smooth *= 1 + settings.drift * pairs.shared
    smooth += OFFSET * pairs.same
    return np.asarray(smooth)


def _scale(points: Floats) -> float:
    return float(1 / max((points**2).sum(1).mean(), 1e-9))


def _moves(levels: int, parts: int) -> Iterator[tuple[str, int]]:
    """Settings that can be changed one at a time; the noise is changed as a whole first."""
    yield from (("noise", -1), ("length", 0), ("linear", 0))
    if levels > 1:
        yield ("drift", 0)
        yield from (("noise", level) for level in range(levels))
    if 1 < parts <= PARTS:
        yield from (("weights", part) for part in range(parts))


PARTS: Final = 16
"""Parts of the features up to which each has a weight of its own: more cannot be told apart by few trials."""


def _moved(settings: Settings, move: tuple[str, int], factor: float) -> Settings:
    name, index = move
    value = getattr(settings, name)
    changed: Any = value * factor if isinstance(value, float) else _scaled(value, index, factor)
    return replace(settings, **{name: changed})


def _scaled(values: tuple[float, ...], index: int, factor: float) -> tuple[float, ...]:
    """One of the values times the factor; all of them if the index is -1."""
    return tuple(value * factor if index in (-1, place) else value for place, value in enumerate(values))


def _badness(known: Known, products: Floats, pairs: _Pairs, settings: Settings, first: Settings) -> float:
    """The negative logarithm of the posterior, up to a constant."""
    product = np.tensordot(np.array(settings.weights), products, 1)
    own = np.diag(product)
    squares = own[:, None] + own[None] - 2 * product
    matrix = _kernel(squares, product / max(float(own.mean()), 1e-9), pairs, settings)
    matrix[np.diag_indices_from(matrix)] += np.array(settings.noise)[known.levels] + 1e-6
    try:
        factor = cholesky(matrix, lower=True, overwrite_a=True, check_finite=False)
    except LinAlgError:
        return np.inf
    half = solve_triangular(factor, known.values, lower=True, check_finite=False)
    return float(half @ half / 2 + np.log(np.diag(factor)).sum() + _far(settings, first))


def _far(settings: Settings, first: Settings) -> float:
    def logarithms(one: Settings) -> Floats:
        return np.log([one.length, one.linear, one.drift, *one.noise, *one.weights])

    return float((((logarithms(settings) - logarithms(first)) / DOUBT) ** 2).sum() / 2)
