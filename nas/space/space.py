"""The space of cells: which genotypes there are, how to draw one, and how a sampler sees them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from nas.space.candidate import Candidate
from nas.space.canonical import digest
from nas.space.distributions import Categorical, Distribution, Value
from nas.space.genotype import INPUTS, Cell, Edge, Genotype
from nas.space.parameters import ParameterSpace
from nas.space.shape import Shape


@dataclass(frozen=True, slots=True)
class CellSpace(ParameterSpace[Candidate]):
    """All genotypes whose nodes take two different earlier nodes through two of `ops`; the output concatenates all.

    Attributes:
        ops: names of operations that an edge may carry.
        nodes: computed nodes a cell.
        shape: the frame of all its networks.
    """

    ops: tuple[str, ...]
    nodes: int
    shape: Shape = field(default_factory=Shape)

    def digest(self, candidate: Candidate) -> str:
        """See Space; isomorphic cells are the same (nas.space.canonical)."""
        return digest(candidate)

    def distributions(self) -> dict[str, Distribution]:
        """Per cell and node: the pair of sources (where there is a choice), and an operation for each of the two."""
        found: dict[str, Distribution] = {}
        ops = Categorical(self.ops)
        for cell in ("normal", "reduce"):
            for node in range(INPUTS, INPUTS + self.nodes):
                pairs = tuple(f"{a},{b}" for a, b in combinations(range(node), 2))
                if len(pairs) > 1:
                    found[f"{cell}.{node}.sources"] = Categorical(pairs)
                found[f"{cell}.{node}.op_a"] = ops
                found[f"{cell}.{node}.op_b"] = ops
        return found

    def values_of(self, candidate: Candidate) -> dict[str, Value] | None:
        """See ParameterSpace."""
        genotype = candidate.architecture
        if not isinstance(genotype, Genotype):
            return None
        found: dict[str, Value] = {}
        for name, cell in (("normal", genotype.normal), ("reduce", genotype.reduce)):
            for node, edges in enumerate(cell.nodes, INPUTS):
                if len(edges) != 2:
                    return None
                a, b = edges
                if node > INPUTS:
                    found[f"{name}.{node}.sources"] = f"{a.source},{b.source}"
                found[f"{name}.{node}.op_a"] = a.op
                found[f"{name}.{node}.op_b"] = b.op
        return found

    def decode(self, values: Mapping[str, Any]) -> Candidate:
        """See Space."""
        return Candidate(Genotype(self._cell("normal", values), self._cell("reduce", values)), self.shape)

    def _cell(self, name: str, values: Mapping[str, Any]) -> Cell:
        nodes = []
        for node in range(INPUTS, INPUTS + self.nodes):
            a, b = values.get(f"{name}.{node}.sources", "0,1").split(",")
            nodes.append((Edge(values[f"{name}.{node}.op_a"], int(a)), Edge(values[f"{name}.{node}.op_b"], int(b))))
        return Cell(tuple(nodes), self._concat())

    def _concat(self) -> tuple[int, ...]:
        return tuple(range(INPUTS, INPUTS + self.nodes))
