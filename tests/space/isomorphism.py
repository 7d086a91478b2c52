"""What it means that two cells are the same, in the plainest way: try every renumbering."""

import random
from collections import Counter
from itertools import permutations

from nas.space import Cell, Edge
from nas.space.genotype import INPUTS
from nas.space.operations import OPERATIONS


def isomorphic(one: Cell, other: Cell) -> bool:
    """Whether some renumbering of the computed nodes turns one cell into the other."""
    count = len(one.nodes)
    if count != len(other.nodes):
        return False
    for order in permutations(range(INPUTS, INPUTS + count)):
        new = {0: 0, 1: 1} | {INPUTS + node: order[node] for node in range(count)}
        same_edges = all(
            Counter((edge.op, "anywhere" if edge.op == "none" else new[edge.source]) for edge in one.nodes[node])
            == Counter(
                (edge.op, "anywhere" if edge.op == "none" else edge.source)
                for edge in other.nodes[new[INPUTS + node] - INPUTS]
            )
            for node in range(count)
        )
        if same_edges and Counter(new[index] for index in one.concat) == Counter(other.concat):
            return True
    return False


def random_cell(
    rng: random.Random, *, nodes: int, edges: int = 3, ops: tuple[str, ...] = tuple(OPERATIONS), first_output: int = 0
) -> Cell:
    """A cell of that many nodes, 1 to `edges` edges a node, and any output from node `first_output` on."""
    return Cell(
        tuple(
            tuple(Edge(rng.choice(ops), rng.randrange(index)) for _ in range(rng.randint(1, edges)))
            for index in range(INPUTS, INPUTS + nodes)
        ),
        tuple(rng.randrange(first_output, INPUTS + nodes) for _ in range(rng.randint(1, nodes + 1))),
    )


def renumbered(cell: Cell, rng: random.Random) -> Cell:
    """The same cell: its nodes in another order that is possible, edges and output shuffled, `none` from anywhere."""
    left = list(range(len(cell.nodes)))
    new = {0: 0, 1: 1}
    order = []
    while left:
        ready = [node for node in left if all(edge.source in new or edge.op == "none" for edge in cell.nodes[node])]
        node = rng.choice(ready)
        left.remove(node)
        order.append(node)
        new[INPUTS + node] = INPUTS + len(order) - 1
    nodes = []
    for index, node in enumerate(order, INPUTS):
        edges = [
            Edge(edge.op, rng.randrange(index) if edge.op == "none" else new[edge.source]) for edge in cell.nodes[node]
        ]
        rng.shuffle(edges)
        nodes.append(tuple(edges))
    concat = [new[index] for index in cell.concat]
    rng.shuffle(concat)
    return Cell(tuple(nodes), tuple(concat))


def slightly_changed(cell: Cell, rng: random.Random) -> Cell:
    """The cell with another operation or source on one edge, or another output; by luck it may be the same cell."""
    place = rng.randrange(len(cell.nodes) + 1)
    if place == len(cell.nodes):
        position = rng.randrange(len(cell.concat))
        index = rng.randrange(INPUTS + len(cell.nodes))
        return Cell(cell.nodes, (*cell.concat[:position], index, *cell.concat[position + 1 :]))
    edges = list(cell.nodes[place])
    which = rng.randrange(len(edges))
    edges[which] = rng.choice(
        [
            Edge(rng.choice(sorted({edge.op for node in cell.nodes for edge in node})), edges[which].source),
            Edge(edges[which].op, rng.randrange(INPUTS + place)),
        ]
    )
    return Cell((*cell.nodes[:place], tuple(edges), *cell.nodes[place + 1 :]), cell.concat)
