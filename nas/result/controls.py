"""What the winner is measured against: random networks of its size, and a hand-designed one."""

from collections.abc import Set
from dataclasses import dataclass, replace

import numpy as np

from nas.model import params_of
from nas.space import Candidate, CellSpace, FixedSpace, JointSpace, LayerSpace, ResidualNet, Value
from nas.space.cost import cost

WINDOW = 0.25
"""Controls have the winner's parameters within this share."""

DRAWS = 400
"""Random candidates that are looked at before controls outside the window are taken."""

SIDE = 64
"""Of an image; parameters do not depend on it."""

NARROWEST = 10
"""The reference is as deep as leaves its first stage this many channels."""


@dataclass(frozen=True, slots=True)
class Sized:
    """A candidate with its number of parameters."""

    candidate: Candidate
    params: int


def find_controls(
    space: CellSpace | LayerSpace | JointSpace,
    *,
    winner: Candidate,
    params: int,
    count: int,
    exclude: Set[str],
    in_channels: int,
    outputs: int,
    seed: int,
) -> list[Sized]:
    """Random candidates of the space within WINDOW of `params`; the nearest ones where the space holds too few.

    Args:
        space: to draw from, uniformly.
        winner: controls are trained by its recipe, so that the networks are what differs. Where the space holds a
            single network and the search was for how to train it, they keep the recipe that they were drawn with.
        params: the winner's parameters.
        count: how many to find; fewer come back only if the space has no more.
        exclude: digests that are no control: the winner's.
        in_channels, outputs: of the data set.
        seed: of the draws.
    """
    alike = not (isinstance(space, JointSpace) and isinstance(space.base, FixedSpace))
    rng = np.random.default_rng(seed)
    seen = set(exclude)
    near: list[Sized] = []
    far: list[Sized] = []
    for _ in range(DRAWS):
        candidate = space.sample(rng)
        if alike:
            candidate = replace(candidate, recipe=winner.recipe)
        digest = space.digest(candidate)
        if digest in seen:
            continue
        seen.add(digest)
        size = _params(candidate, in_channels, outputs)
        within = abs(size - params) <= WINDOW * params
        (near if within else far).append(Sized(candidate, size))
        if len(near) == count:
            return near
    far.sort(key=lambda sized: abs(sized.params - params))
    return (near + far)[:count]


def find_reference(*, winner: Candidate, params: int, in_channels: int, outputs: int) -> Sized:
    """The plain residual network whose parameters come nearest to `params` at a sensible depth, in the winner's recipe.

    What the winner took over from another network it has not: its recipe says nothing about that.
    """
    recipe = tuple(chosen for chosen in winner.recipe if chosen[0] not in ("freeze", "kept_lr"))
    nearest = Sized(Candidate(ResidualNet(1, 1)), 0)
    for blocks in (3, 2, 1):
        nearest = _nearest(params, blocks, recipe, in_channels, outputs)
        shape = nearest.candidate.architecture
        if isinstance(shape, ResidualNet) and shape.width >= NARROWEST:
            break
    return nearest


def _params(candidate: Candidate, in_channels: int, outputs: int) -> int:
    """By formula, which takes microseconds; by building the network where a user's own operation has none."""
    found = cost(candidate, image=(in_channels, SIDE, SIDE), outputs=outputs)
    return found.params if found.exact else params_of(candidate, in_channels=in_channels, outputs=outputs)


def _nearest(params: int, blocks: int, recipe: tuple[tuple[str, Value], ...], in_channels: int, outputs: int) -> Sized:
    def sized(width: int) -> Sized:
        candidate = Candidate(ResidualNet(width, blocks), recipe=recipe)
        return Sized(candidate, _params(candidate, in_channels, outputs))

    low, high = 1, 2
    while sized(high).params < params:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if sized(middle).params < params else (low, middle)
    return min(sized(low), sized(high), key=lambda found: abs(found.params - params))
