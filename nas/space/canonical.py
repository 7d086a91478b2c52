"""One form for all cells that are the same up to the names of their nodes.

Two cells are isomorphic if renumbering the computed nodes turns one into the other; the order of a node's edges, and
the order of `concat` (which only permutes channels), do not count. A `none` edge gives zeros wherever it comes from,
so its source does not count either.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import permutations, product
from typing import TypeAlias

from nas.space.candidate import Candidate
from nas.space.genotype import INPUTS, Cell, Genotype
from nas.space.layers import HALVING, LayerNet
from nas.space.layout import is_reduction
from nas.space.shape import CELLS_ONLY, Shape

CanonicalCell: TypeAlias = tuple[tuple[tuple[tuple[str, int], ...], int], ...]
"""For each node, in canonical order: its sorted (operation, source) edges, and how often it stands in the output."""


def digest(candidate: Candidate) -> str:
    """sha256 of what a candidate is: of the network that is built, however it is written down, and of its recipe.

    Isomorphic cells are the same, and so are layers side by side in another order; a cell that is never built does not
    count. In a residual skeleton a shortcut adds channel to channel, so that there the order of channels counts too.
    """
    architecture, shape = candidate.architecture, candidate.shape
    form: object
    match architecture:
        case Genotype():
            form = [_cells(architecture, shape), is_reduction(shape), shape.model_dump(exclude={"cells", "tail"})]
        case LayerNet():
            form = [_layers(architecture, shape), shape.model_dump(exclude=set(CELLS_ONLY))]
        case _:
            form = [architecture.width, architecture.blocks]
    whole = [type(architecture).__name__, form, candidate.recipe]
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()


def canonical(cell: Cell) -> tuple[CanonicalCell, tuple[int, int]]:
    """The smallest description over all orders of the nodes that keep a colouring invariant; exact, not a heuristic.

    Returns:
        The nodes in canonical order, and how often each of the two inputs stands in the output.
    """
    colours = _refine(cell)
    classes: dict[int, list[int]] = {}
    for node, colour in enumerate(colours):
        classes.setdefault(colour, []).append(node)
    groups = [classes[colour] for colour in sorted(classes)]
    outputs = Counter(cell.concat)
    best = min(_describe(cell, order, outputs) for order in _orders(cell, groups))
    return best, (outputs[0], outputs[1])


def _cells(genotype: Genotype, shape: Shape) -> list[object]:
    """Both cells as far as they are built."""
    built = set(is_reduction(shape))
    cells = [genotype.normal if False in built else None, genotype.reduce if True in built else None]
    if shape.skeleton == "residual":
        return [cell and [_describe(cell, tuple(range(len(cell.nodes))), Counter()), cell.concat] for cell in cells]
    return [cell and canonical(cell) for cell in cells]


def _layers(network: LayerNet, shape: Shape) -> list[object]:
    """For each group its stride, which its first layer sets, and its layers."""
    groups = network.groups()
    found: list[object] = []
    for group, following in zip(groups, (*groups[1:], ()), strict=True):
        layers = [("conv" if layer.kind == "conv_down" else layer.kind, layer.width, layer.kernel) for layer in group]
        # The order of a group permutes channels. Another layer sees no difference, but for one: a grouped convolution
        # takes its channels apart by their places. (Two layers in the other order only mirror these.)
        seen = len(layers) > 2 and any(layer.kind == "grouped" for layer in following)
        found.append([group[0].kind in HALVING, layers if seen or shape.skeleton == "residual" else sorted(layers)])
    return found


def _refine(cell: Cell) -> list[int]:
    """Colours nodes by what they compute and what uses them until nothing more can be told apart (Weisfeiler-Leman)."""
    outputs = Counter(cell.concat)
    colours = [0] * len(cell.nodes)
    while True:
        consumers: list[list[tuple[str, int]]] = [[] for _ in cell.nodes]
        for node, edges in enumerate(cell.nodes):
            for edge in edges:
                if edge.op != "none" and edge.source >= INPUTS:
                    consumers[edge.source - INPUTS].append((edge.op, colours[node]))
        signatures = [
            (
                colours[node],
                outputs[node + INPUTS],
                tuple(sorted((edge.op, _colour(edge.source, colours, edge.op)) for edge in edges)),
                tuple(sorted(consumers[node])),
            )
            for node, edges in enumerate(cell.nodes)
        ]
        rank = {signature: index for index, signature in enumerate(sorted(set(signatures)))}
        refined = [rank[signature] for signature in signatures]
        if len(rank) == len(set(colours)):
            return refined
        colours = refined


def _colour(source: int, colours: Sequence[int], op: str) -> int:
    if op == "none":
        return -3
    return source - INPUTS if source < INPUTS else colours[source - INPUTS]


def _orders(cell: Cell, groups: list[list[int]]) -> Iterator[tuple[int, ...]]:
    """Every order of the nodes that keeps the groups apart; twins are interchangeable, so one order of them will do."""
    choices = [[tuple(group)] if _twins(cell, group) else list(permutations(group)) for group in groups]
    for choice in product(*choices):
        yield tuple(node for group in choice for node in group)


def _twins(cell: Cell, group: list[int]) -> bool:
    """Whether the nodes have the very same sources and users, so that swapping two of them changes nothing."""

    def neighbours(node: int) -> object:
        edges = Counter((edge.op, -1 if edge.op == "none" else edge.source) for edge in cell.nodes[node])
        users = Counter(
            (user, edge.op)
            for user, into in enumerate(cell.nodes)
            for edge in into
            if edge.source == node + INPUTS and edge.op != "none"
        )
        return edges, users

    first = neighbours(group[0])
    return all(neighbours(node) == first for node in group[1:])


def _describe(cell: Cell, order: tuple[int, ...], outputs: Counter[int]) -> CanonicalCell:
    position = {node: index for index, node in enumerate(order)}

    def source(index: int, op: str) -> int:
        if op == "none":
            return -1
        return index if index < INPUTS else INPUTS + position[index - INPUTS]

    return tuple(
        (
            tuple(sorted((edge.op, source(edge.source, edge.op)) for edge in cell.nodes[node])),
            outputs[node + INPUTS],
        )
        for node in order
    )
