"""The cell search space: which candidates there are, how to draw one, and how a sampler sees them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

import numpy as np

from nas.space.candidate import Candidate
from nas.space.canonical import canonical
from nas.space.genotype import INPUTS, Cell, Edge, Genotype

NORMAL_CELL_FROM = 3
"""A network of fewer cells consists of reduction cells only, so that its normal cell is never built."""


class Space(Protocol):
    """What a strategy may know of the candidates."""

    def sample(self, rng: np.random.Generator) -> Candidate:
        """Draws a candidate uniformly."""
        ...

    def contains(self, candidate: Candidate) -> bool:
        """Whether the candidate can be drawn."""
        ...

    def digest(self, candidate: Candidate) -> str:
        """The same for candidates that are the same network, and for no others; 64 hexadecimal digits."""
        ...

    def distributions(self) -> Mapping[str, tuple[str, ...]]:
        """The free categorical parameters and their choices."""
        ...

    def encode(self, candidate: Candidate) -> dict[str, str]:
        """The candidate as one choice a parameter."""
        ...

    def decode(self, choices: Mapping[str, str]) -> Candidate:
        """The inverse of encode."""
        ...


def reduction_cells(cells: int) -> tuple[int, ...]:
    """Indices of the reduction cells: at 1/3 and 2/3 of the depth (Liu et al. 2019, section 3.1.1)."""
    return tuple(sorted({cells // 3, 2 * cells // 3}))


def smallest_input(cells: int) -> int:
    """The smallest image side for that depth: every reduction halves it evenly, and the last leaves 2×2 pixels."""
    return 2 << len(reduction_cells(cells))


@dataclass(frozen=True, slots=True)
class CellSpace:
    """All genotypes whose nodes take two different earlier nodes through two of `ops`; the output concatenates all.

    Attributes:
        ops: names of operations that an edge may carry.
        nodes: computed nodes a cell.
        channels: channels of the first cell; a reduction doubles them.
        cells: number of cells in the network.
    """

    ops: tuple[str, ...]
    nodes: int
    channels: int
    cells: int

    def sample(self, rng: np.random.Generator) -> Candidate:
        """Draws a candidate uniformly over its choices."""
        choices = {name: options[rng.integers(len(options))] for name, options in self.distributions().items()}
        return self.decode(choices)

    def contains(self, candidate: Candidate) -> bool:
        """Whether the candidate can be drawn."""
        genotype = candidate.architecture
        return isinstance(genotype, Genotype) and all(
            len(cell.nodes) == self.nodes
            and cell.concat == self._concat()
            and all(
                len(edges) == 2 and edges[0].source < edges[1].source and {edge.op for edge in edges} <= set(self.ops)
                for edges in cell.nodes
            )
            for cell in (genotype.normal, genotype.reduce)
        )

    def digest(self, candidate: Candidate) -> str:
        """The same for isomorphic candidates (nas.space.canonical); a cell that is never built does not count."""
        genotype = candidate.architecture
        if isinstance(genotype, Genotype):
            normal = canonical(genotype.normal) if self.cells >= NORMAL_CELL_FROM else None
            form: object = [normal, canonical(genotype.reduce)]
        else:
            form = candidate.to_json()
        return hashlib.sha256(json.dumps(form).encode()).hexdigest()

    def distributions(self) -> dict[str, tuple[str, ...]]:
        """Per cell and node: the pair of sources (where there is a choice), and an operation for each of the two."""
        found: dict[str, tuple[str, ...]] = {}
        for cell in ("normal", "reduce"):
            for node in range(INPUTS, INPUTS + self.nodes):
                pairs = tuple(f"{a},{b}" for a, b in combinations(range(node), 2))
                if len(pairs) > 1:
                    found[f"{cell}.{node}.sources"] = pairs
                found[f"{cell}.{node}.op_a"] = self.ops
                found[f"{cell}.{node}.op_b"] = self.ops
        return found

    def encode(self, candidate: Candidate) -> dict[str, str]:
        """The candidate as one choice a parameter. Raises ValueError if it is not of this space."""
        genotype = candidate.architecture
        if not isinstance(genotype, Genotype) or not self.contains(candidate):
            raise ValueError(f"{candidate} is not a candidate of {self}")
        found = {}
        for name, cell in (("normal", genotype.normal), ("reduce", genotype.reduce)):
            for node, (a, b) in enumerate(cell.nodes, INPUTS):
                if node > INPUTS:
                    found[f"{name}.{node}.sources"] = f"{a.source},{b.source}"
                found[f"{name}.{node}.op_a"] = a.op
                found[f"{name}.{node}.op_b"] = b.op
        return found

    def decode(self, choices: Mapping[str, str]) -> Candidate:
        """The inverse of encode."""
        return Candidate(Genotype(self._cell("normal", choices), self._cell("reduce", choices)))

    def _cell(self, name: str, choices: Mapping[str, str]) -> Cell:
        nodes = []
        for node in range(INPUTS, INPUTS + self.nodes):
            a, b = choices.get(f"{name}.{node}.sources", "0,1").split(",")
            nodes.append((Edge(choices[f"{name}.{node}.op_a"], int(a)), Edge(choices[f"{name}.{node}.op_b"], int(b))))
        return Cell(tuple(nodes), self._concat())

    def _concat(self) -> tuple[int, ...]:
        return tuple(range(INPUTS, INPUTS + self.nodes))
