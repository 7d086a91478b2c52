"""What a search makes of training-free scores: its first trials, and the best of several proposals. No torch.

The scores themselves are in nas.model.scores and nas.space.cost.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from nas.search.strategy import C
from nas.space import Candidate

BATCH: Final = 64
"""Candidates that one worker scores at a stretch: seconds, so that several workers share the work."""

NWOT_WEIGHT: Final = 2
"""Of the rank by nwot, beside 1 of the ranks by parameters and by multiply-accumulates.

Spearman's correlation with accuracy, of nwot alone, of all three alike, and with this weight: 0.57, 0.57 and 0.57 on
11,221 networks of the DARTS space (the surrogate), 0.51, 0.59 and 0.63 on 40 trained networks of layers.
"""

SHARE: Final = 0.4
"""Of the trials that the warm start may take."""

BEST: Final = 27
"""The most candidates that are in the warm start for their scores."""

RANDOM: Final = 0.15
"""Of the warm start: candidates that are in it whatever their scores, which are far from certain."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate, and what is known of it before any training.

    Attributes:
        candidate: that was drawn.
        nwot: see nas.model.scores; finite.
        params, macs: see nas.space.cost.
    """

    candidate: Candidate
    nwot: float
    params: int
    macs: int

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return {"candidate": self.candidate.to_json(), "nwot": self.nwot, "params": self.params, "macs": self.macs}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of to_json. Raises InvalidInput for what is no candidate."""
        return cls(Candidate.from_json(data["candidate"]), data["nwot"], data["params"], data["macs"])


def batches(samples: int) -> int:
    """How many batches so many candidates are scored in."""
    return -(-samples // BATCH)


def combine(scored: Sequence[Scored]) -> list[float]:
    """One score each, the larger the better: the mean of the ranks by nwot, which counts twice, parameters and MACs.

    Ranks, because the three have no unit in common. Where several are equal, each has the mean of their ranks.
    """
    ranks = (
        NWOT_WEIGHT * _ranks([one.nwot for one in scored])
        + _ranks([one.params for one in scored])
        + _ranks([one.macs for one in scored])
    )
    found: list[float] = (ranks / (NWOT_WEIGHT + 2)).tolist()
    return found


def warm_start(candidates: Sequence[C], scores: Sequence[float], *, trials: int, seed: int) -> list[C]:
    """What the first trials of a search train: the best by their scores, best first, and a few random ones in between.

    Args:
        candidates: to choose from; of equal ones the first counts.
        scores: theirs, the larger the better.
        trials: of the whole search, of which the warm start takes a part.
        seed: of the random ones and their places.
    """
    pool: dict[C, float] = {}
    for candidate, score in zip(candidates, scores, strict=True):
        pool.setdefault(candidate, score)
    ordered = sorted(pool, key=lambda candidate: -pool[candidate])
    total = min(len(ordered), max(1, math.floor(SHARE * trials)), round(BEST / (1 - RANDOM)))
    chance = round(RANDOM * total)
    best, rest = ordered[: total - chance], ordered[total - chance :]
    rng = np.random.default_rng(seed)
    drawn = [rest[index] for index in rng.permutation(len(rest))[:chance]]
    # The first is the one to begin with, however few of them will be trained.
    places = {1 + int(place) for place in rng.permutation(total - 1)[:chance]} if chance else set()
    of_each = iter(best), iter(drawn)
    return [next(of_each[place in places]) for place in range(total)]


def best_of(first: C, others: Iterable[C], score: Callable[[C], float]) -> C:
    """The candidate with the largest score; of equal ones, and where none has a finite score, the earliest.

    Args:
        first: a candidate.
        others: more of them; nothing is scored if there are none.
        score: training-free; nan and −inf are worse than any other.
    """
    proposed = [first, *others]
    if len(proposed) == 1:
        return first
    known = [(value if math.isfinite(value) else -math.inf) for value in map(score, proposed)]
    return proposed[known.index(max(known))]


def _ranks(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """1 for the smallest; equal values share the mean of their ranks."""
    _, which, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    ranks: npt.NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[which]
    return ranks
