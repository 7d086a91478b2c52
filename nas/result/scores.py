"""How good outputs are on a test split, also on a split whose images are weighted: what the bootstrap draws.

One class a task. Each has the task's score (nas.train.tasks.SCORE) for every retraining of a network: `plain` on the
split as it is, `drawn` on replicates of it.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float, Float32, Num

Weights = Float[npt.NDArray[np.float64], "replicates images"]
PerSeed = Float[npt.NDArray[np.float64], " seeds"]
Drawn = Float[npt.NDArray[np.float64], "seeds replicates"]


class Scores(Protocol):
    """The outputs of a network's retrainings, as scores; larger is better, 1 is perfect."""

    @property
    def plain(self) -> PerSeed:
        """The score of each retraining."""
        ...

    def drawn(self, weights: Weights) -> Drawn:
        """The score of each retraining when image i counts weights[r, i]."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Correct:
    """Accuracy: whether each image was classified correctly, [seeds, images]."""

    correct: Bool[npt.NDArray[np.bool_], "seeds images"]

    @property
    def plain(self) -> PerSeed:
        """See Scores."""
        return np.asarray(self.correct.mean(axis=1), dtype=np.float64)

    def drawn(self, weights: Weights) -> Drawn:
        """See Scores."""
        return np.asarray(self.correct.astype(np.float64) @ weights.T / weights.sum(axis=1))


@dataclass(frozen=True, eq=False, slots=True)
class Ranked:
    """Mean average precision over labels: area under the precision-recall steps, ties taken together.

    A label without a positive image is left out of the mean.

    Attributes:
        outputs: [seeds, images, labels].
        targets: 0 or 1, [images, labels].
    """

    outputs: Float32[npt.NDArray[np.float32], "seeds images labels"]
    targets: Num[npt.NDArray[Any], "images labels"]

    @property
    def plain(self) -> PerSeed:
        """See Scores."""
        return np.asarray(self.drawn(np.ones((1, len(self.targets))))[:, 0])

    def drawn(self, weights: Weights) -> Drawn:
        """See Scores."""
        return np.stack([self._one(outputs, weights) for outputs in self.outputs])

    def _one(self, outputs: Float32[npt.NDArray[np.float32], "images labels"], weights: Weights) -> Any:
        labels = [
            _average_precision(outputs[:, label], self.targets[:, label], weights)
            for label in range(self.targets.shape[1])
        ]
        counted = ~np.isnan(labels)
        # A replicate without any positive of any label is as good as none.
        return np.where(counted.any(axis=0), np.nansum(labels, axis=0) / np.maximum(counted.sum(axis=0), 1), 0.0)


@dataclass(frozen=True, eq=False, slots=True)
class Explained:
    """R², the share of the targets' variance that is explained; the mean over targets.

    A target that does not vary counts 1 if it is met and 0 if not.

    Attributes:
        outputs: [seeds, images, targets].
        targets: [images, targets].
    """

    outputs: Float32[npt.NDArray[np.float32], "seeds images targets"]
    targets: Float32[npt.NDArray[np.float32], "images targets"]

    @property
    def plain(self) -> PerSeed:
        """See Scores."""
        return np.asarray(self.drawn(np.ones((1, len(self.targets))))[:, 0])

    def drawn(self, weights: Weights) -> Drawn:
        """See Scores."""
        shares = weights / weights.sum(axis=1, keepdims=True)
        targets = self.targets.astype(np.float64)
        mean = shares @ targets  # [replicates, targets]
        # Around the split's own mean first: the difference of two large squares would lose the variance.
        centred = targets - targets.mean(axis=0)
        variance = np.maximum(0.0, shares @ centred**2 - (mean - targets.mean(axis=0)) ** 2)
        errors = np.stack([shares @ (outputs.astype(np.float64) - targets) ** 2 for outputs in self.outputs])
        constant = variance <= 1e-12 * np.maximum(1.0, targets.var(axis=0))
        r2 = np.where(constant, (errors <= 1e-12).astype(np.float64), 1 - errors / np.where(constant, 1.0, variance))
        return np.asarray(r2.mean(axis=2))


def _average_precision(
    outputs: Float32[npt.NDArray[np.float32], " images"],
    targets: Num[npt.NDArray[Any], " images"],
    weights: Weights,
) -> Float[npt.NDArray[np.float64], " replicates"]:
    order = np.argsort(-outputs, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(outputs[order])), len(order) - 1)  # the last image of each tie
    found = np.cumsum(weights[:, order] * (targets[order] > 0), axis=1)[:, ends]
    taken = np.cumsum(weights[:, order], axis=1)[:, ends]
    positives = found[:, -1]
    precision = found / np.where(taken > 0, taken, 1.0)
    gained = np.diff(found, axis=1, prepend=0.0)
    return np.where(positives > 0, (gained * precision).sum(axis=1) / np.where(positives > 0, positives, 1.0), np.nan)


def scores(
    task: str,
    outputs: Float32[npt.NDArray[np.float32], "seeds images outputs"],
    targets: Num[npt.NDArray[Any], "images ..."],
) -> Scores:
    """The scores of a network's retrainings on a task."""
    if task == "multi_label":
        return Ranked(outputs, targets)
    if task == "regression":
        return Explained(outputs, targets)
    return Correct(outputs.argmax(axis=2) == targets)
