"""What a search looks for: frozen, comparable values that go to JSON and back.

A cell follows DARTS (Liu et al. 2019, section 2.1): nodes 0 and 1 are the outputs of the two previous cells, every
further node is the sum of its edges, and the output concatenates the nodes named in `concat`.
"""

from dataclasses import dataclass
from typing import Any, Self

from nas.errors import GenotypeError
from nas.space.operations import known_operations

INPUTS = 2
"""Nodes 0 and 1 of a cell are its inputs; the first computed node has index 2."""

MAX_NODES = 64
"""A bound on what is read from outside, far above any published cell."""


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """An operation applied to the node `source`."""

    op: str
    source: int


@dataclass(frozen=True, slots=True)
class Cell:
    """A directed acyclic graph of operations.

    Attributes:
        nodes: the edges into each computed node, in order; node `i` of this tuple has index `i + 2`.
        concat: indices of the nodes whose feature maps are concatenated, in order.

    Raises:
        GenotypeError: an unknown operation, an edge from a later node, a node without edges, an index out of range.
    """

    nodes: tuple[tuple[Edge, ...], ...]
    concat: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.nodes) <= MAX_NODES:
            raise GenotypeError("nodes", len(self.nodes), f"a cell has 1 to {MAX_NODES} nodes")
        operations = known_operations()
        for index, edges in enumerate(self.nodes, INPUTS):
            if not edges:
                raise GenotypeError(f"node {index}", [], "a node needs at least one edge")
            for edge in edges:
                if edge.op not in operations:
                    raise GenotypeError(f"node {index}", edge.op, f"the operations are {', '.join(operations)}")
                if not 0 <= edge.source < index:
                    raise GenotypeError(f"node {index}", edge.source, f"an edge comes from a node in 0..{index - 1}")
        if not self.concat:
            raise GenotypeError("concat", [], "the output needs at least one node")
        for index in self.concat:
            if not 0 <= index < INPUTS + len(self.nodes):
                raise GenotypeError("concat", index, f"the nodes are 0..{INPUTS + len(self.nodes) - 1}")

    def to_json(self) -> dict[str, Any]:
        """As `{"nodes": [[[op, source], …], …], "concat": […]}`."""
        return {
            "nodes": [[[edge.op, edge.source] for edge in edges] for edges in self.nodes],
            "concat": list(self.concat),
        }

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """The inverse of to_json. Raises GenotypeError for anything else."""
        try:
            if set(data) != {"nodes", "concat"}:
                raise ValueError("other fields")
            nodes = tuple(tuple(Edge(_text(op), _index(source)) for op, source in edges) for edges in data["nodes"])
            concat = tuple(_index(index) for index in data["concat"])
        except (KeyError, TypeError, ValueError) as error:
            raise GenotypeError("cell", data, '{"nodes": [[[op, source], …], …], "concat": [index, …]}') from error
        return cls(nodes, concat)


@dataclass(frozen=True, slots=True)
class Genotype:
    """The two cells that a network stacks: `normal` keeps the resolution, `reduce` halves it.

    Raises:
        GenotypeError: the reduction cell's output names one of its inputs, which still has the larger resolution.
    """

    normal: Cell
    reduce: Cell

    def __post_init__(self) -> None:
        for index in self.reduce.concat:
            if index < INPUTS:
                raise GenotypeError("reduce.concat", index, "inputs keep their resolution; name computed nodes only")

    def to_json(self) -> dict[str, Any]:
        """As `{"normal": cell, "reduce": cell}`."""
        return {"normal": self.normal.to_json(), "reduce": self.reduce.to_json()}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """The inverse of to_json. Raises GenotypeError for anything else."""
        if not isinstance(data, dict) or set(data) != {"normal", "reduce"}:
            raise GenotypeError("genotype", data, 'it has to be {"normal": cell, "reduce": cell}')
        return cls(Cell.from_json(data["normal"]), Cell.from_json(data["reduce"]))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _index(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(value)
    return value
