"""What tells one cell from another, in words."""

from collections import Counter
from dataclasses import dataclass
from typing import Self

from nas.space.genotype import INPUTS, Cell


@dataclass(frozen=True, slots=True)
class CellChange:
    """Edges that one cell has and another one has not, as `sep_conv_3x3: node 1 → node 4`, by node, source and name.

    Attributes:
        added: of the later cell.
        removed: of the earlier one.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]

    @classmethod
    def between(cls, earlier: Cell, later: Cell) -> Self:
        """What has changed; an edge that a node has twice counts twice. What goes into the output are edges as well."""
        before, after = Counter(_edges(earlier)), Counter(_edges(later))
        return cls(_told(after - before), _told(before - after))


def _edges(cell: Cell) -> list[tuple[int, int, str]]:
    """(target, source, operation) of each edge; the output is the node behind the last one."""
    inner = [(node, edge.source, edge.op) for node, edges in enumerate(cell.nodes, INPUTS) for edge in edges]
    # Whatever their number of nodes, two cells have the same output.
    return inner + [(_OUTPUT, source, "concat") for source in cell.concat]


_OUTPUT = 10**6


def _told(edges: Counter[tuple[int, int, str]]) -> tuple[str, ...]:
    return tuple(
        f"{op}: node {source} → {'output' if target == _OUTPUT else f'node {target}'}"
        for target, source, op in sorted(edges.elements())
    )
