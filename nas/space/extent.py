"""How far the networks of a space reach: the smallest and the largest one, and what is typical of them."""

from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import median
from typing import Final

import numpy as np

from nas.space.candidate import Candidate
from nas.space.cost import Cost, cost
from nas.space.distributions import Integer
from nas.space.joint import SPACE, JointSpace
from nas.space.largest import amount, largest
from nas.space.limits import Limits, broken
from nas.space.smallest import By, SearchSpace, smallest

SAMPLE: Final = 32
"""Random candidates that say what is typical."""

DRAWS: Final = 10 * SAMPLE
"""At most, where limits leave few of them."""

BOTH: Final[tuple[By, By]] = ("params", "macs")


@dataclass(frozen=True, slots=True)
class Range:
    """A cost over a space; `typical` is the median of random candidates within the job's limits."""

    smallest: int
    typical: int
    largest: int


@dataclass(frozen=True, slots=True)
class Extent:
    """Of a space within limits.

    Attributes:
        candidates: random ones, 32 at most.
        params, macs: of its networks.
        exact: whether that is all they cost; a user's own operations have no formula, and do not count.
    """

    candidates: tuple[Candidate, ...]
    params: Range
    macs: Range
    exact: bool


@lru_cache(maxsize=64)  # whoever fills in a form asks again at every change, of which few are to the space
def extent(space: SearchSpace, limits: Limits, image: tuple[int, int, int], outputs: int) -> Extent:
    """What there is in a space within limits, for images (channels, height, width) and so many outputs."""
    rng = np.random.default_rng(0)
    drawn: list[tuple[Candidate, Cost]] = []
    for _ in range(DRAWS):
        candidate = space.sample(rng)
        found = cost(candidate, image=image, outputs=outputs)
        if broken(limits, found) is None:
            drawn.append((candidate, found))
        if len(drawn) == SAMPLE:
            break
    least = _narrowed(space)
    ranges: dict[By, Range] = {}
    exact = all(found.exact for _, found in drawn)
    for by in BOTH:
        candidate, low = smallest(least, by, image=image, outputs=outputs)
        high = largest(space, by, image=image, outputs=outputs)
        drawn, exact = drawn or [(candidate, low)], exact and high.exact
        ranges[by] = _range(by, low, [found for _, found in drawn], high, limits)
    return Extent(tuple(candidate for candidate, _ in drawn), ranges["params"], ranges["macs"], exact)


def _range(by: By, low: Cost, drawn: list[Cost], high: Cost, limits: Limits) -> Range:
    values = sorted(amount(found, by) for found in drawn)
    limit = limits.max_params if by == "params" else limits.max_macs
    highest = max(values[-1], amount(high, by))
    return Range(min(amount(low, by), values[0]), int(median(values)), min(highest, limit or highest))


def _narrowed(space: SearchSpace) -> SearchSpace:
    """With the low ends of what is open of the frame: to look through all of it takes seconds."""
    if not isinstance(space, JointSpace):
        return space
    return replace(
        space,
        parameters=tuple(
            (name, replace(found, high=min(found.high, found.low + 2)))
            if isinstance(found, Integer) and name in (f"{SPACE}channels", f"{SPACE}cells")
            else (name, found)
            for name, found in space.parameters
        ),
    )
