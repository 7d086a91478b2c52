"""Networks of cells, and the one way from a candidate to its network."""

from dataclasses import replace
from typing import Final, TypedDict, cast

from jaxtyping import Float
from torch import Tensor, nn

from nas.model.auxiliary import AuxiliaryHead
from nas.model.base import Network
from nas.model.cell import CellModule
from nas.model.layers import LayerNetwork
from nas.model.merge import Weighted
from nas.model.residual import ResidualNetwork
from nas.model.stems import STEMS
from nas.model.style import Style
from nas.space import Candidate, Genotype, LayerNet, ResidualNet, Shape, is_reduction
from nas.space.genotype import INPUTS

CUT_BELOW: Final = 0.05
"""Share of a node's absolute weights under which a branch counts as one that can be cut."""


def build_network(candidate: Candidate, *, in_channels: int, outputs: int) -> Network:
    """The candidate's network with torch's default initialisation: [N, in_channels, H, W] → logits [N, outputs].

    Raises:
        GenotypeError: an operation that there is not, or a user's own that cannot be built.
    """
    match candidate.architecture:
        case Genotype() as genotype:
            return CellNetwork(genotype, candidate.shape, in_channels=in_channels, outputs=outputs)
        case LayerNet() as layers:
            return LayerNetwork(layers, candidate.shape, in_channels=in_channels, outputs=outputs)
        case ResidualNet() as residual:
            return ResidualNetwork(residual, in_channels=in_channels, outputs=outputs)


def without_auxiliary(candidate: Candidate) -> Candidate:
    """The candidate whose network has no auxiliary head: the one to count, to export and to load weights into."""
    return replace(candidate, shape=candidate.shape.model_copy(update={"auxiliary": 0.0}))


class CellNetwork(Network):
    """Stem, cells with reductions at 1/3 and 2/3 of the depth, global average pooling, linear classifier.

    Liu et al. 2019, section 3.1, appendix A and published code; everything else that a Shape can say besides. The
    auxiliary head looks at the cell at 2/3 of the depth, or at the last one where the shape leaves that one out.
    """

    def __init__(self, genotype: Genotype, shape: Shape, *, in_channels: int, outputs: int) -> None:
        super().__init__(shape.dropout)
        style = Style.of(shape)
        self.drop_path = shape.drop_path
        self.stem = STEMS[shape.stem](in_channels, shape.channels, style)
        self.cells = nn.ModuleList()
        (c_prev_prev, c_prev), after_reduction, width = self.stem.widths, self.stem.halved, shape.channels
        for reduction in is_reduction(shape):
            width = 2 * width if reduction else width
            cell = CellModule(
                genotype.reduce if reduction else genotype.normal,
                c_prev_prev,
                c_prev,
                width,
                reduction=reduction,
                after_reduction=after_reduction,
                shape=shape,
            )
            self.cells.append(cell)
            c_prev_prev, c_prev, after_reduction = c_prev, cell.out_channels, reduction
        self.classifier = nn.Linear(c_prev, outputs)
        self.middle = min(2 * shape.cells // 3, len(self.cells) - 1)
        if shape.auxiliary > 0:
            self.auxiliary = shape.auxiliary
            at = cast(CellModule, self.cells[self.middle])
            self.auxiliary_head = AuxiliaryHead(at.out_channels, outputs, style, stem=shape.stem)

    def features(self, x: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n a i j"], Float[Tensor, "n b k l"]]:
        """See Network."""
        dropped = self.drop_path * self.progress if self.training else 0.0
        s0, s1 = self.stem(x)
        middle = s1
        for index, cell in enumerate(self.cells):
            s0, s1 = s1, cell(s0, s1, dropped, self.noise)
            if index == self.middle:
                middle = s1
        return s1, middle


class EdgeWeight(TypedDict):
    """The learned weight of an edge.

    Keys:
        cell: index of the cell in the network.
        node: index of the node that the edge leads to, as in the genotype.
        op, source: the edge.
        weight: what its input is multiplied by; it began at 1.
        cut: whether its share of the node's absolute weights is below CUT_BELOW.
    """

    cell: int
    node: int
    op: str
    source: int
    weight: float
    cut: bool


def merge_weights(network: nn.Module) -> list[EdgeWeight]:
    """The learned weights of all edges of a network with weighted merges; none for any other."""
    found: list[EdgeWeight] = []
    for index, cell in enumerate(network.cells if isinstance(network, CellNetwork) else ()):
        assert isinstance(cell, CellModule)  # noqa: S101 - CellNetwork has no others
        for node, (edges, merge) in enumerate(zip(cell.cell.nodes, cell.merges, strict=True), INPUTS):
            if not isinstance(merge, Weighted):
                continue
            weights = merge.weight.detach().double().cpu()
            shares = weights.abs() / weights.abs().sum().clamp(min=1e-300)
            for edge, weight, share in zip(edges, weights.tolist(), shares.tolist(), strict=True):
                found.append(
                    EdgeWeight(
                        cell=index, node=node, op=edge.op, source=edge.source, weight=weight, cut=share < CUT_BELOW
                    )
                )
    return found
