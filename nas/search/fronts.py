"""An order for several objectives, all to be maximised: non-dominated rank, then crowding distance.

As in NSGA-II (Deb et al. 2002, section III). The ranks of two objectives come from one sweep in O(n log n); those of
more from comparing each value with those before it in lexicographic order, in blocks of bounded memory.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

BLOCK: Final = 128
"""Values that are compared with all those before them at once: 128 × 10,000 booleans are about a megabyte."""


def fronts(values: Sequence[tuple[float, ...]]) -> list[int]:
    """The non-dominated rank of each value: 0 if none dominates it, otherwise 1 more than its worst dominator's.

    A value dominates another if it is as large in every objective and larger in one. Equal values share a rank.

    Args:
        values: of equal length, without NaN.
    """
    if not values:
        return []
    listed: list[int] = _ranks(np.asarray(values, np.float64)).tolist()
    return listed


def merits(values: Sequence[tuple[float, ...]]) -> list[float]:
    """A number for each value by which to order them, the largest first.

    With one objective it is the value. With several it is 0 for the first front, -1 for the second and so on, plus up
    to a half for the crowding distance within the front, so that the ends of a front and its lonely members come first.

    Args:
        values: of equal length, without NaN.
    """
    if not values or len(values[0]) == 1:
        return [value[0] for value in values]
    table = np.asarray(values, np.float64)
    ranks = _ranks(table)
    distance = _crowding(table, ranks)
    share = np.where(np.isinf(distance), 1.0, 1 - 1 / (1 + distance))
    found: list[float] = (share / 2 - ranks).tolist()
    return found


def _ranks(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """fronts of [n, objectives]."""
    # Places in the order of an objective stand for its values: small integers compare faster.
    table = np.stack([_places(column) for column in values.T], axis=1)
    order = np.lexsort(-table.T[::-1])  # descending, the first objective first: dominators stand before
    descending = table[order]
    fresh = np.append(True, (descending[1:] != descending[:-1]).any(axis=1))
    different = descending[fresh]
    match different.shape[1]:
        case 1:
            ranks = np.arange(len(different))
        case 2:
            ranks = _sweep(different)
        case _:
            ranks = _compare(different)
    found = np.empty(len(table), np.intp)
    found[order] = ranks[np.cumsum(fresh) - 1]
    return found


def _places(column: NDArray[np.float64]) -> NDArray[np.signedinteger]:
    """Equal values have the same place."""
    places = np.unique(column, return_inverse=True)[1].reshape(-1)
    return places.astype(np.int16 if len(column) < np.iinfo(np.int16).max else np.int32)


def _sweep(descending: NDArray[np.signedinteger]) -> NDArray[np.intp]:
    """Ranks of different pairs, the first objective descending, the second within equals of it.

    All earlier pairs are as large in the first objective, so that a front holds one that dominates this pair if its
    largest second objective is as large. These largest ones descend from front to front: negated, they are sorted.
    """
    ranks = []
    best: list[int] = []
    for second in (-descending[:, 1]).tolist():
        rank = bisect_right(best, second)
        ranks.append(rank)
        best[rank : rank + 1] = [second]
    return np.array(ranks)


def _compare(descending: NDArray[np.signedinteger]) -> NDArray[np.intp]:
    """Ranks of different values in descending lexicographic order, whose dominators all stand before them."""
    count = len(descending)
    ranks = np.zeros(count, np.intp)
    by_rank = np.empty(0, np.intp)  # all before the block, the highest rank first: the first dominator is the worst
    for start in range(0, count, BLOCK):
        members = np.arange(start, min(start + BLOCK, count))
        above = _dominated(descending, members, by_rank)
        if start:
            ranks[members] = np.where(above.any(axis=1), ranks[by_rank][above.argmax(axis=1)] + 1, 0)
        inside = np.tril(_dominated(descending, members, members), -1)
        while True:  # a chain of dominators within the block takes a round for each of its members
            raised = np.maximum(ranks[members], np.where(inside, ranks[members] + 1, 0).max(axis=1))
            if (raised == ranks[members]).all():
                break
            ranks[members] = raised
        known = np.concatenate([by_rank, members])
        by_rank = known[np.argsort(-ranks[known], kind="stable")]
    return ranks


def _dominated(values: NDArray[np.signedinteger], members: NDArray[np.intp], by: NDArray[np.intp]) -> NDArray[np.bool_]:
    """[members, by]: whether it is no larger in any objective but the first, by which they are sorted."""
    found = np.ones((len(members), len(by)), bool)
    for column in values.T[1:]:
        found &= column[by] >= column[members][:, None]
    return found


def _crowding(values: NDArray[np.float64], ranks: NDArray[np.intp]) -> NDArray[np.float64]:
    """The crowding distance of each value [n, objectives] within its front: infinite at the ends of every objective."""
    distance = np.zeros(len(values))
    for column in values.T:
        order = np.lexsort((column, ranks))
        ordered, front = column[order], ranks[order]
        first = np.append(True, front[1:] != front[:-1])
        last = np.append(first[1:], True)
        distance[order[first | last]] = np.inf
        low, high = (ordered[ends][front] for ends in (first, last))
        inner = ~(first | last) & (low < high) & np.isfinite(low) & np.isfinite(high)
        [places] = np.nonzero(inner)
        gaps = ordered[places + 1] - ordered[places - 1]
        distance[order[places]] += gaps / (high[places] - low[places])
    return distance
