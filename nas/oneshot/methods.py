"""How each method draws what a training step computes from the architecture's parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from nas.oneshot.mixing import CellMix, Mixing, edge_places, path
from nas.space import CellSpace, Genotype

KINDS: Final = ("normal", "reduce")
"""The kinds of cells; all cells of a kind share their architecture parameters."""

NOISE: Final = 1e-3
"""Deviation of the architecture's parameters at the start (Liu et al. 2019, published code)."""

HOTTEST: Final = 10.0
COLDEST: Final = 0.1
"""Temperatures of gdas at its start and its end (Dong and Yang 2019, published code)."""


class Architecture(nn.Module):
    """The architecture's parameters, by kind of cell.

    Attributes:
        alphas: [edges, operations] of each kind; a softmax over the operations gives their shares.
        betas: [edges] of each kind; a softmax over the edges into a node gives theirs. Only trained by pc_darts.
        nodes: computed nodes a cell.
        normalises: whether edges have shares at all, or all count 1.
    """

    def __init__(self, ops: int, nodes: int, generator: torch.Generator, *, normalises: bool = False) -> None:
        super().__init__()
        edges = len(edge_places(nodes))
        draw = {kind: NOISE * torch.randn(edges, ops, generator=generator) for kind in KINDS}
        self.alphas = nn.ParameterDict({kind: nn.Parameter(values) for kind, values in draw.items()})
        self.betas = nn.ParameterDict()
        if normalises:
            draws = {kind: NOISE * torch.randn(edges, generator=generator) for kind in KINDS}
            self.betas.update({kind: nn.Parameter(values) for kind, values in draws.items()})
        self.nodes = nodes
        self.normalises = normalises

    def shares(self, kind: str) -> Float[Tensor, "edges ops"]:
        """Of the operations on every edge; each row adds up to 1."""
        return torch.softmax(self.alphas[kind], dim=1)

    def edge_shares(self, kind: str) -> Float[Tensor, " edges"]:
        """Of the edges into each node, which add up to 1; all 1 where edges are not normalised."""
        if not self.normalises:
            return torch.ones_like(self.alphas[kind][:, 0])
        into = torch.split(self.betas[kind], [2 + node for node in range(self.nodes)])
        return torch.cat([torch.softmax(values, dim=0) for values in into])

    def strengths(self, kind: str) -> Float[Tensor, "edges ops"]:
        """What operations are chosen by: their shares of their edges, times those of the edges."""
        return self.shares(kind) * self.edge_shares(kind)[:, None]


@dataclass(frozen=True, eq=False, slots=True)
class Draw:
    """What a mixing may depend on.

    Attributes:
        architecture: its parameters.
        space: the candidates.
        temperature: of gdas.
        generator: on the CPU, the only source of randomness.
        device: of the supernet.
    """

    architecture: Architecture
    space: CellSpace
    temperature: float
    generator: torch.Generator
    device: torch.device


def mixture(draw: Draw) -> Mixing:
    """All operations by their shares (Liu et al. 2019, eq. 2; edges by theirs: Xu et al. 2020, eq. 3)."""
    architecture, ops = draw.architecture, tuple(range(len(draw.space.ops)))

    def cell(kind: str) -> CellMix:
        strengths = architecture.strengths(kind)
        return CellMix(strengths, architecture.edge_shares(kind), (ops,) * len(strengths))

    return Mixing(cell("normal"), cell("reduce"))


def sampled(draw: Draw) -> Mixing:
    """One operation an edge, drawn by its share (Dong and Yang 2019, eq. 3 to 5).

    It counts 1, and its gradient is that of the softmax of the shares with Gumbel noise at the temperature.
    """

    def cell(kind: str) -> CellMix:
        logits = torch.log_softmax(draw.architecture.alphas[kind], dim=1)
        noise = -torch.empty(logits.shape).exponential_(generator=draw.generator).log().to(logits)
        soft = torch.softmax((logits + noise) / draw.temperature, dim=1)
        chosen = soft.argmax(dim=1)
        hard = nn.functional.one_hot(chosen, logits.shape[1]) - soft.detach() + soft
        return CellMix(hard, draw.architecture.edge_shares(kind), tuple((op,) for op in chosen.tolist()))

    return Mixing(cell("normal"), cell("reduce"))


def likeliest(draw: Draw) -> Mixing:
    """One operation an edge, the one with the largest share."""

    def cell(kind: str) -> CellMix:
        shares = draw.architecture.shares(kind)
        chosen = shares.argmax(dim=1).tolist()
        return CellMix(torch.ones_like(shares), draw.architecture.edge_shares(kind), tuple((op,) for op in chosen))

    return Mixing(cell("normal"), cell("reduce"))


def random_path(draw: Draw) -> Mixing:
    """A candidate, drawn uniformly (Li and Talwalkar 2019, section 3.2; Guo et al. 2020, section 3.3)."""
    seed = int(torch.randint(2**62, (), generator=draw.generator))
    candidate = draw.space.sample(np.random.default_rng(seed))
    assert isinstance(candidate.architecture, Genotype)  # noqa: S101 - a space of cells has no others
    return path(candidate.architecture, draw.space.ops, draw.device)


@dataclass(frozen=True, slots=True)
class Method:
    """What makes up a method.

    Attributes:
        summary: what it trains.
        training: what a step computes.
        shown: what an epoch's validation computes.
        learns: whether the architecture has parameters that are trained.
        normalises: whether edges have shares.
        cools: whether it has a temperature.
    """

    summary: str
    training: Callable[[Draw], Mixing]
    shown: Callable[[Draw], Mixing]
    learns: bool = True
    normalises: bool = False
    cools: bool = False


METHODS: Final[Mapping[str, Method]] = {
    "darts": Method("softmax mixture", mixture, mixture),
    "pc_darts": Method("softmax mixture of some channels, normalised edges", mixture, mixture, normalises=True),
    "gdas": Method("one operation an edge by Gumbel noise", sampled, likeliest, cools=True),
    "random_ws": Method("uniform single paths", random_path, random_path, learns=False),
}
"""Name → method; what its options may be stands in nas.search.options."""


def temperature(epoch: int, epochs: int) -> float:
    """Of an epoch, counted from 0: from the hottest one to the coldest, linearly."""
    return HOTTEST + (COLDEST - HOTTEST) * epoch / max(1, epochs - 1)
