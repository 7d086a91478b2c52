"""What a pass through a supernet computes: which operations, and with what weights."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from nas.space import Cell, Genotype
from nas.space.genotype import INPUTS

EdgePlaces = tuple[tuple[int, int], ...]


def edge_places(nodes: int) -> EdgePlaces:
    """(node, source) of every edge that a cell of so many computed nodes can have, in the order of all tables here."""
    return tuple((node, source) for node in range(INPUTS, INPUTS + nodes) for source in range(node))


@dataclass(frozen=True, eq=False, slots=True)
class CellMix:
    """How the cells of one kind mix.

    Attributes:
        weights: of every operation on every edge; `none` is among them, if the space has it, and gives nothing.
        bypass: of every edge: the sum of its weights, and that of the channels that go round the operations.
        active: for each edge the operations that are computed at all; an edge without any is not there.
    """

    weights: Float[Tensor, "edges ops"]
    bypass: Float[Tensor, " edges"]
    active: tuple[tuple[int, ...], ...]

    def detached(self) -> "CellMix":
        """The same without a way back to what the weights come from."""
        return CellMix(self.weights.detach(), self.bypass.detach(), self.active)

    def without(self, edge: int, op: int) -> "CellMix":
        """With an operation less; the weights of the others stay as they are (Wang et al. 2021, section 4.1)."""
        return self._with(edge, tuple(other for other in self.active[edge] if other != op))

    def without_edge(self, edge: int) -> "CellMix":
        """With an edge less."""
        return self._with(edge, ())

    def only(self, edge: int, op: int) -> "CellMix":
        """With a single operation on an edge, which gets all of the edge's share."""
        weights = self.weights.clone()
        weights[edge, op] = self.bypass[edge]
        return replace(self._with(edge, (op,)), weights=weights)

    def _with(self, edge: int, ops: tuple[int, ...]) -> "CellMix":
        return replace(self, active=(*self.active[:edge], ops, *self.active[edge + 1 :]))


@dataclass(frozen=True, eq=False, slots=True)
class Mixing:
    """How both kinds of cells mix."""

    normal: CellMix
    reduce: CellMix

    def detached(self) -> "Mixing":
        """See CellMix."""
        return Mixing(self.normal.detached(), self.reduce.detached())

    def of(self, kind: str) -> CellMix:
        """Of the cells `normal` or `reduce`."""
        return self.reduce if kind == "reduce" else self.normal

    def with_(self, kind: str, mix: CellMix) -> "Mixing":
        """With other `normal` or `reduce` cells."""
        return Mixing(self.normal, mix) if kind == "reduce" else Mixing(mix, self.reduce)


def path(genotype: Genotype, ops: Sequence[str], device: torch.device) -> Mixing:
    """The very network that a genotype of the space describes: its edges, each with one operation of weight 1."""
    return Mixing(_cell(genotype.normal, ops, device), _cell(genotype.reduce, ops, device))


def _cell(cell: Cell, ops: Sequence[str], device: torch.device) -> CellMix:
    places = edge_places(len(cell.nodes))
    chosen: dict[tuple[int, int], int] = {
        (node, edge.source): ops.index(edge.op) for node, edges in enumerate(cell.nodes, INPUTS) for edge in edges
    }
    weights = torch.zeros(len(places), len(ops))
    active = []
    for index, place in enumerate(places):
        active.append((chosen[place],) if place in chosen else ())
        for op in active[-1]:
            weights[index, op] = 1.0
    return CellMix(weights.to(device), torch.ones(len(places), device=device), tuple(active))
