"""The costliest candidate of a space, about: how much a search may come to train."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

from nas.space.candidate import Candidate
from nas.space.cost import FREE, MOST_GROUPS, Cost, Place, cost, operation, positions
from nas.space.distributions import Categorical, Distribution, Value
from nas.space.genotype import INPUTS, Cell, Edge, Genotype
from nas.space.joint import SPACE, FixedSpace, JointSpace
from nas.space.layer_space import LayerSpace
from nas.space.layers import HALVING, Layer, LayerNet
from nas.space.smallest import CHEAPEST_FIRST, MATTERS, By, SearchSpace
from nas.space.space import CellSpace


def largest(space: SearchSpace, by: By, *, image: tuple[int, int, int], outputs: int) -> Cost:
    """The cost of the candidate with the most parameters or multiply-accumulates.

    Of cells it is the largest there is in a frame. Of layers it is that of the largest chain of groups of one size, all
    layers of one kind: others are hardly larger.

    Args:
        space: where to look.
        by: what is to be largest.
        image: (channels, height, width).
        outputs: of the network.
    """
    match space:
        case CellSpace():
            found = [_of_cells(space, by, image)]
        case LayerSpace():
            found = list(_of_layers(space))
        case FixedSpace(candidate):
            found = [candidate]
        case JointSpace():
            costs = [_in_frame(space, values, by, image, outputs) for values in _frames(space)]
            return max(costs, key=lambda one: amount(one, by))
    return max((cost(candidate, image=image, outputs=outputs) for candidate in found), key=lambda one: amount(one, by))


def _in_frame(space: JointSpace, values: dict[str, Value], by: By, image: tuple[int, int, int], outputs: int) -> Cost:
    base = space.base
    if isinstance(base, FixedSpace):
        return cost(space.decode(values), image=image, outputs=outputs)
    chosen = {name.removeprefix(SPACE): value for name, value in values.items() if name.startswith(SPACE)}
    inner = replace(base, shape=base.shape.model_copy(update=chosen))
    return largest(inner, by, image=image, outputs=outputs)


def _frames(space: JointSpace) -> Iterator[dict[str, Value]]:
    names = [name for name, _ in space.parameters]
    for values in product(*(_values(name, found) for name, found in space.parameters)):
        yield dict(zip(names, values, strict=True))


def _values(name: str, open_to: Distribution) -> list[Any]:
    """Those that may be the costliest candidate's.

    A cell more may move the reductions, whose places follow from a third of the cells, and one channel less may leave
    grouped convolutions with fewer groups; beyond that more always cost more.
    """
    field = name.removeprefix(SPACE)
    if not isinstance(open_to, Categorical):
        fewer = {f"{SPACE}cells": 2, f"{SPACE}channels": MOST_GROUPS - 1}.get(name, 0)
        return [open_to.high - less for less in range(fewer + 1) if open_to.high - less >= open_to.low]
    every: list[Any] = list(open_to.choices)
    if not name.startswith(SPACE) or field not in MATTERS:
        return every[:1]
    if field in CHEAPEST_FIRST:
        return [max(every, key=CHEAPEST_FIRST[field].index)]
    return every


def _of_cells(space: CellSpace, by: By, image: tuple[int, int, int]) -> Candidate:
    """As in nas.space.smallest an edge costs the same wherever it ends; from the inputs none costs less than others."""
    at = positions(space.shape, image)

    def cell(reduction: bool) -> Cell:
        places = [
            Place(channels, 2 if reduction else 1, size, space.shape.norm, space.shape.downsample)
            for kind, channels, size in at
            if kind == reduction
        ]
        op = max(space.ops, key=lambda op: amount(sum((operation(op, place) for place in places), FREE), by))
        return Cell(((Edge(op, 0), Edge(op, 1)),) * space.nodes, tuple(range(INPUTS, INPUTS + space.nodes)))

    return Candidate(Genotype(cell(False), cell(True)), space.shape)


def _of_layers(space: LayerSpace) -> Iterator[Candidate]:
    """Layers side by side all see those of the group before them: two wide groups cost more than a chain."""
    kinds = [kind for kind in space.kinds if kind not in HALVING] or space.kinds
    most = space.most
    groups = {1, -(-most // 2), -(-2 * most // 3), most} if space.parallel else {1}  # what costs most of most kinds
    for kind, group in product(kinds, sorted(groups)):
        fewest = (
            space.widest - MOST_GROUPS + 1 if kind == "grouped" else space.widest
        )  # of fewer channels, fewer groups
        for width in range(max(space.narrowest, fewest), space.widest + 1):
            layers = (Layer(kind, width, max(space.kernels), index % group > 0) for index in range(most))
            yield Candidate(LayerNet(tuple(layers)), space.shape)


def amount(found: Cost, by: By) -> int:
    """The parameters or the multiply-accumulates of a cost."""
    return found.params if by == "params" else found.macs
