"""What a history says about its candidates, rung by rung, in one scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from nas.search.strategy import Observation

RUNGS: Final = 6
"""Rungs that are told apart; where there are more, they are the last epoch, the later half, the quarter before it, …"""

CORNER: Final = 0.05
"""Share of the sum in a scalarised value, beside the objective that is worst off (Knowles 2006, ParEGO)."""

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Scores of trials at rungs, a row each; a trial that failed has a row of -inf at the first one.

    Attributes:
        trials: [n], places in the history, ascending.
        levels: [n], rungs by their order from 0.
        values: [n, objectives], as observed.
    """

    trials: Indices
    levels: Indices
    values: Floats

    def __len__(self) -> int:
        return len(self.trials)

    def where(self, kept: NDArray[Any]) -> "Evidence":
        """Some of the rows."""
        return Evidence(self.trials[kept], self.levels[kept], self.values[kept])

    def scores(self, weights: Floats) -> Floats:
        """[n]: of all objectives in one, by rank within each rung, as if drawn from a normal distribution.

        Args:
            weights: of the objectives.
        """
        found = np.empty(len(self))
        for level in np.unique(self.levels):
            rows = self.levels == level
            each = np.stack([_normal(column) for column in self.values[rows].T], axis=1) * weights
            found[rows] = each[:, 0] if len(weights) == 1 else _normal(each.min(1) + CORNER * each.sum(1))
        return found


def gather(history: Sequence[Observation[Any]]) -> Evidence:
    """All scores that stand. Of running trials only those at their rungs, of infeasible ones none."""
    rows: list[tuple[int, int, float, tuple[float, ...]]] = []
    failed: list[int] = []
    objectives = 1
    for index, observation in enumerate(history):
        if observation.finished and observation.score is None:
            if not observation.infeasible:
                failed.append(index)
            continue
        points = dict(observation.rungs)
        if observation.settled and observation.score is not None:
            points[observation.epoch] = observation.score
        objectives = max(objectives, 1 + len(observation.others))
        rows += [(index, epoch, score, observation.others) for epoch, score in points.items()]
    levels, kept = _levels([row[0] for row in rows], [row[1] for row in rows])
    rows = [rows[place] for place in kept]
    values = np.full((len(rows) + len(failed), objectives), -np.inf)
    for place, (_, _, score, others) in enumerate(rows):
        values[place, : 1 + len(others)] = (score, *others)
    trials = np.array([row[0] for row in rows] + failed, np.intp)
    order = np.argsort(trials, kind="stable")
    return Evidence(trials[order], np.append(levels, np.zeros(len(failed), np.intp))[order], values[order])


def _levels(trials: list[int], epochs: list[int]) -> tuple[Indices, list[int]]:
    """The rung of each row, from 0, and the rows that are kept: the last one of a trial at each rung."""
    reached, levels = np.unique(epochs, return_inverse=True)
    if len(reached) > RUNGS:
        below = 1 + np.floor(np.log2(reached[-1] / np.maximum(reached, 1))).astype(np.intp)
        below = np.where(reached == reached[-1], 0, np.minimum(below, RUNGS - 1))
        _, levels = np.unique(-below[levels], return_inverse=True)
    last = {(trial, level): row for row, (trial, level) in enumerate(zip(trials, levels.tolist(), strict=True))}
    kept = list(last.values())
    return levels[kept].astype(np.intp), kept


def _normal(values: Floats) -> Floats:
    """By their ranks, as if drawn from a standard normal distribution; equal ones stay equal."""
    return np.asarray(ndtri((rankdata(values) - 0.5) / len(values)))
