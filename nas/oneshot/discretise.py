"""From shares of operations to a genotype of the space: two edges into every node, an operation on each."""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt

from nas.oneshot.mixing import edge_places
from nas.space import Candidate, Cell, CellSpace, Edge, Genotype
from nas.space.genotype import INPUTS

Strengths = Mapping[str, npt.NDArray[np.float64]]
"""Kind of cell → [edges, operations], or [edges]."""


def strongest(space: CellSpace, strengths: Strengths) -> Candidate:
    """Keeps the two edges into each node whose best operation is strongest, with that operation.

    Liu et al. 2019, section 2.4. `none` is never chosen. Of equals the first operation and the first edge are taken.
    """
    return assemble(space, {kind: _strongest(space, strengths[kind]) for kind in ("normal", "reduce")})


def drawn(space: CellSpace, strengths: Strengths, rng: np.random.Generator) -> Candidate:
    """A candidate drawn by the strengths: two edges into each node, then an operation on each.

    By Gumbel noise (Kool et al. 2019): operations with the probabilities of their shares, edges without replacement
    with those of the sums of their operations.
    """

    def cell(kind: str) -> dict[int, dict[int, str]]:
        logs = np.log(np.maximum(strengths[kind], 1e-300))
        noisy = logs + rng.gumbel(size=logs.shape)
        return _strongest(space, noisy)

    return assemble(space, {kind: cell(kind) for kind in ("normal", "reduce")})


def assemble(space: CellSpace, cells: Mapping[str, Mapping[int, Mapping[int, str]]]) -> Candidate:
    """The candidate with these cells: kind → node → source → operation."""

    def cell(kind: str) -> Cell:
        nodes = tuple(
            tuple(Edge(op, source) for source, op in sorted(edges.items())) for _, edges in sorted(cells[kind].items())
        )
        return Cell(nodes, tuple(range(INPUTS, INPUTS + space.nodes)))

    return Candidate(Genotype(cell("normal"), cell("reduce")), space.shape)


def choosable(space: CellSpace) -> list[int]:
    """Indices of the operations that may be chosen: all but `none`."""
    return [index for index, op in enumerate(space.ops) if op != "none"]


def skip_share(genotype: Genotype) -> float:
    """Share of skip connections among the edges of both cells."""
    ops = [edge.op for cell in (genotype.normal, genotype.reduce) for edges in cell.nodes for edge in edges]
    return ops.count("skip_connect") / len(ops)


def skip_mass(ops: Sequence[str], shares: Strengths) -> float:
    """The mean over all edges of the share that a skip connection has; 0 where the space has none."""
    if "skip_connect" not in ops:
        return 0.0
    return float(np.mean([values[:, ops.index("skip_connect")].mean() for values in shares.values()]))


def entropy(shares: Strengths) -> float:
    """The mean over all edges of the entropy of their operations' shares, as a part of the largest: 0 to 1.

    In nats, divided by the log of the number of operations; of a single operation 0.
    """
    found = []
    for values in shares.values():
        if values.shape[1] == 1:
            return 0.0
        found.append(-(values * np.log(np.maximum(values, 1e-300))).sum(axis=1).mean() / math.log(values.shape[1]))
    return min(1.0, float(np.mean(found)))  # shares that come from floats add up to a little more


def _strongest(space: CellSpace, strengths: npt.NDArray[np.float64]) -> dict[int, dict[int, str]]:
    ops = choosable(space)
    rows = list(zip(edge_places(space.nodes), strengths[:, ops], strict=True))
    found = {}
    for node, into in groupby(rows, key=lambda row: row[0][0]):
        best = sorted(into, key=lambda row: -row[1].max())[:2]
        found[node] = {source: space.ops[ops[int(values.argmax())]] for (_, source), values in best}
    return found
