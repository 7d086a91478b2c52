"""The cheapest candidate of a space, found without trying them all: what no limit can be below."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import combinations, product
from typing import Any, Final, Literal, TypeAlias

from nas.space.candidate import Candidate
from nas.space.cost import (
    FREE,
    Cost,
    Place,
    Size,
    classifier,
    cost,
    group_stride,
    layer,
    operation,
    positions,
    shortcut,
    strided,
)
from nas.space.distributions import Categorical, Distribution, Value
from nas.space.genotype import INPUTS, Cell, Edge, Genotype
from nas.space.joint import SPACE, FixedSpace, JointSpace
from nas.space.layer_space import LayerSpace
from nas.space.layers import Layer, LayerNet
from nas.space.space import CellSpace

SearchSpace: TypeAlias = CellSpace | LayerSpace | FixedSpace | JointSpace
By: TypeAlias = Literal["params", "macs"]

RESIDUES: Final = 12
"""Grouped convolutions cost less where 2, 3 or 4 divides the channels: of widths that are the same modulo this number,
and only of those, the narrowest is always the cheapest."""


def smallest(space: SearchSpace, by: By, *, image: tuple[int, int, int], outputs: int) -> tuple[Candidate, Cost]:
    """The candidate with the fewest parameters or multiply-accumulates, and its cost.

    The cost is a lower bound for all candidates where Cost.exact says so: with a user's own operation (nas.plugins) in
    the space, and for some spaces of layers if the image has many channels.

    Args:
        space: where to look.
        by: what is to be smallest.
        image: (channels, height, width).
        outputs: of the network.
    """
    match space:
        case CellSpace():
            candidate = _of_cells(space, by, image)
        case LayerSpace():
            return _of_layers(space, by, image, outputs)
        case FixedSpace(candidate):
            pass
        case JointSpace():
            found = [_in_frame(space, values, by, image, outputs) for values in _frames(space)]
            return min(found, key=lambda pair: _amount(pair[1], by))
    return candidate, cost(candidate, image=image, outputs=outputs)


def _in_frame(
    space: JointSpace, values: dict[str, Value], by: By, image: tuple[int, int, int], outputs: int
) -> tuple[Candidate, Cost]:
    """The cheapest candidate with these values of the open parameters."""
    base = space.base
    if isinstance(base, FixedSpace):
        candidate = space.decode(values)
        return candidate, cost(candidate, image=image, outputs=outputs)
    chosen = {name.removeprefix(SPACE): value for name, value in values.items() if name.startswith(SPACE)}
    inner = replace(base, shape=base.shape.model_copy(update=chosen))
    candidate, found = smallest(inner, by, image=image, outputs=outputs)
    return space.decode(inner.encode(candidate) | values), found


def _frames(space: JointSpace) -> Iterator[dict[str, Value]]:
    """Values of the open parameters, of which one set belongs to the cheapest candidate."""
    names = [name for name, _ in space.parameters]
    for values in product(*(_values(name, found, space.base) for name, found in space.parameters)):
        yield dict(zip(names, values, strict=True))


def _values(name: str, open_to: Distribution, base: CellSpace | LayerSpace | FixedSpace) -> list[Value]:
    """The values that may be those of the cheapest candidate; a single one where the cost does not depend on it."""
    field = name.removeprefix(SPACE)
    every: list[Any]
    if isinstance(open_to, Categorical):
        every = list(open_to.choices)
    elif name.startswith(SPACE) and field in ("channels", "cells", "tail"):
        every = list(range(int(open_to.low), int(open_to.high) + 1))
    else:
        every = [open_to.low]
    if not name.startswith(SPACE) or field not in MATTERS:
        return every[:1]
    if field in CHEAPEST_FIRST:
        return [min(every, key=CHEAPEST_FIRST[field].index)]
    if field == "tail" and isinstance(base, CellSpace):
        return [min(every)]  # a further cell costs something, and does not make the output narrower
    if field == "channels":
        return list({int(value) % RESIDUES: value for value in sorted(every, reverse=True)}.values())
    return every


MATTERS: Final = frozenset({"channels", "cells", "tail", "skeleton", "stem", "merge", "norm", "downsample"})
"""Fields of the shape that the cost depends on."""

CHEAPEST_FIRST: Final[dict[str, tuple[str, ...]]] = {
    "norm": ("batch_fixed", "none", "batch", "group"),
    "downsample": ("max_pool", "avg_pool", "factorized", "conv"),
}
"""Fields of which one value never costs more than another, whatever else is chosen."""


def _of_cells(space: CellSpace, by: By, image: tuple[int, int, int]) -> Candidate:
    """Every edge costs the same wherever else it goes, given its operation and whether it begins at an input."""
    at = positions(space.shape, image)
    norm, downsample = space.shape.norm, space.shape.downsample

    def cheapest(reduction: bool, from_input: bool) -> tuple[int, str]:
        places = [
            Place(channels, 2, size, norm, downsample)
            if reduction and from_input
            else Place(channels, 1, strided(size, 2 if reduction else 1), norm, downsample)
            for kind, channels, size in at
            if kind == reduction
        ]
        costs = {op: sum((operation(op, place) for place in places), FREE) for op in space.ops}
        best = min(space.ops, key=lambda op: (_amount(costs[op], by), not costs[op].exact))
        return _amount(costs[best], by), best

    def cell(reduction: bool) -> Cell:
        outer, inner = cheapest(reduction, from_input=True), cheapest(reduction, from_input=False)

        def edge(source: int) -> tuple[int, str]:
            return outer if source < INPUTS else inner

        nodes = []
        for node in range(INPUTS, INPUTS + space.nodes):
            pair = min(combinations(range(node), 2), key=lambda pair: edge(pair[0])[0] + edge(pair[1])[0])
            nodes.append(tuple(Edge(edge(source)[1], source) for source in pair))
        return Cell(tuple(nodes), tuple(range(INPUTS, INPUTS + space.nodes)))

    return Candidate(Genotype(cell(False), cell(True)), space.shape)


Chain: TypeAlias = tuple[int, tuple[Layer, ...]]
"""What layers cost, and the layers."""


def _of_layers(space: LayerSpace, by: By, image: tuple[int, int, int], outputs: int) -> tuple[Candidate, Cost]:
    """Exact unless the image has more channels than a layer needs, and narrowing them at once is not the cheapest.

    That may be so where a shortcut costs nothing as long as the channels stay, or where grouped convolutions like one
    number of channels better than a smaller one. A lower bound is then what it costs with neither.
    """
    candidate = _narrow(space, by, image, outputs)
    found = cost(candidate, image=image, outputs=outputs)
    grouped = "grouped" in _kinds(space)
    if image[0] > space.narrowest and (grouped or space.shape.skeleton == "residual"):
        easier = replace(space, shape=space.shape.model_copy(update={"skeleton": "stacked"}))
        if grouped:  # a 1×1 convolution does a part of what a grouped one does
            kinds = tuple("conv" if kind == "grouped" else kind for kind in space.kinds)
            easier = replace(easier, kinds=kinds, kernels=(1,))
        bound = cost(_narrow(easier, by, image, outputs), image=image, outputs=outputs)
        found = replace(bound, exact=bound == found)
    return candidate, found


def _narrow(space: LayerSpace, by: By, image: tuple[int, int, int], outputs: int) -> Candidate:
    """Layers side by side first, where the image has few channels, and then one after the other; all of them narrow.

    From the second layer on there are `narrowest` channels at least. Layers side by side all see those of the layer
    before them, and the next one sees theirs together, so that the same ones in a row cost no more.
    """
    kinds, shape = _kinds(space), space.shape
    widths = range(space.narrowest, min(space.widest, space.narrowest + RESIDUES - 1) + 1)
    widths = widths if "grouped" in kinds else widths[:1]
    strides = sorted({group_stride(kind) for kind in kinds})

    @cache
    def best(c_in: int, width: int, size: Size, stride: int, first: bool) -> tuple[int, Layer]:
        """One layer; it is the first one of a group that decides on the stride."""
        layers = [Layer(kind, width, min(space.kernels), not first) for kind in kinds]
        return min(
            (_amount(layer(at.kind, c_in, width, at.kernel, size, stride, shape.norm), by), at)
            for at in layers
            if not first or group_stride(at.kind) == stride
        )

    def around(c_in: int, width: int, size: Size, stride: int) -> int:
        return _amount(shortcut(c_in, width, size, stride, shape), by)

    @cache
    def row(count: int, c_in: int, size: Size) -> Chain:
        """So many layers one after the other, and the classifier."""
        if count == 0:
            return _amount(classifier(c_in, outputs), by), ()
        found = []
        for width, stride in product(widths, strides):
            amount, at = best(c_in, width, size, stride, True)
            after, layers = row(count - 1, width, strided(size, stride))
            found.append((amount + around(c_in, width, size, stride) + after, (at, *layers)))
        return min(found)

    c_in, size, found = image[0], image[1:], []
    for stride in strides:
        groups: dict[int, Chain] = {0: (0, ())}  # by their width
        for count in range(1, (space.fewest if space.parallel else 1) + 1):
            widest = count * space.narrowest + RESIDUES - 1
            wider: dict[int, Chain] = {}
            for (width, (amount, layers)), more in product(groups.items(), widths):
                if width + more <= widest:
                    added, at = best(c_in, more, size, stride, count == 1)
                    chain = (amount + added, (*layers, at))
                    wider[width + more] = min(wider.get(width + more, chain), chain)
            groups = wider
            for width, (amount, layers) in groups.items():
                after, others = row(space.fewest - count, width, strided(size, stride))
                found.append((amount + around(c_in, width, size, stride) + after, layers + others))
    return Candidate(LayerNet(min(found)[1]), shape)


def _kinds(space: LayerSpace) -> list[str]:
    """Without grouped convolutions where there are separable ones, which cost no more in any place."""
    return [kind for kind in space.kinds if kind != "grouped" or "separable" not in space.kinds]


def _amount(found: Cost, by: By) -> int:
    return found.params if by == "params" else found.macs
