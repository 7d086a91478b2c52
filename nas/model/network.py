"""Networks: stacked cells as in DARTS, and the plain residual network they are compared with."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nas.model.ops import OPS, FactorizedReduce, Pointwise, ReLUConvBN
from nas.space import Candidate, Cell, Genotype, ResidualNet, reduction_cells
from nas.space.genotype import INPUTS

STEM_MULTIPLIER = 3
"""The stem has three times the channels of the first cell (Liu et al. 2019, published code)."""


class CellModule(nn.Module):
    """One cell: two feature maps in, the concatenation of its output nodes out.

    Args:
        cell: the graph.
        c_prev_prev, c_prev: channels of the two inputs.
        channels: channels of every node.
        reduction: whether operations on the inputs have stride 2.
        after_reduction: whether the first input has twice the resolution of the second.
    """

    def __init__(
        self, cell: Cell, c_prev_prev: int, c_prev: int, channels: int, *, reduction: bool, after_reduction: bool
    ) -> None:
        super().__init__()
        self.pre0 = FactorizedReduce(c_prev_prev, channels) if after_reduction else ReLUConvBN(c_prev_prev, channels)
        self.pre1 = ReLUConvBN(c_prev, channels)
        self.nodes = nn.ModuleList(
            nn.ModuleList(OPS[edge.op](channels, 2 if reduction and edge.source < INPUTS else 1) for edge in edges)
            for edges in cell.nodes
        )
        self.cell = cell
        self.out_channels = channels * len(cell.concat)

    def forward(self, s0: Float[Tensor, "n c0 h0 w0"], s1: Float[Tensor, "n c1 h1 w1"]) -> Float[Tensor, "n c_out h w"]:
        """See the class."""
        states: list[Tensor] = [self.pre0(s0), self.pre1(s1)]
        for edges, operations in zip(self.cell.nodes, self.nodes, strict=True):
            assert isinstance(operations, nn.ModuleList)  # noqa: S101 - tells the type checker what stands above
            terms = [operation(states[edge.source]) for edge, operation in zip(edges, operations, strict=True)]
            states.append(sum(terms[1:], terms[0]))
        return torch.cat([states[index] for index in self.cell.concat], dim=1)


class CellNetwork(nn.Module):
    """Stem, `cells` cells with reductions at 1/3 and 2/3 of the depth, global average pooling, linear classifier.

    Liu et al. 2019, section 3.1 and appendix A, without the auxiliary head. Normalised images
    [N, in_channels, H, W] → logits [N, classes].
    """

    def __init__(self, genotype: Genotype, *, channels: int, cells: int, in_channels: int, classes: int) -> None:
        super().__init__()
        stem = STEM_MULTIPLIER * channels
        self.stem = nn.Sequential(nn.Conv2d(in_channels, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem))
        self.cells = nn.ModuleList()
        c_prev_prev, c_prev, width, after_reduction = stem, stem, channels, False
        for index in range(cells):
            reduction = index in reduction_cells(cells)
            width = 2 * width if reduction else width
            cell = CellModule(
                genotype.reduce if reduction else genotype.normal,
                c_prev_prev,
                c_prev,
                width,
                reduction=reduction,
                after_reduction=after_reduction,
            )
            self.cells.append(cell)
            c_prev_prev, c_prev, after_reduction = c_prev, cell.out_channels, reduction
        self.classifier = nn.Linear(c_prev, classes)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """See the class."""
        s0 = s1 = self.stem(x)
        for cell in self.cells:
            s0, s1 = s1, cell(s0, s1)
        logits: Tensor = self.classifier(s1.mean(dim=(2, 3)))
        return logits


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with batch norm and a shortcut, which is a 1×1 convolution where the shape changes."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(),
            nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(c_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(Pointwise(c_in, c_out, stride), nn.BatchNorm2d(c_out))

    def forward(self, x: Float[Tensor, "n c_in h w"]) -> Float[Tensor, "n c_out h2 w2"]:
        """See the class."""
        return torch.relu(self.body(x) + self.shortcut(x))


class ResidualNetwork(nn.Module):
    """He et al. 2016, section 4.2, with projection shortcuts. [N, in_channels, H, W] → logits [N, classes]."""

    def __init__(self, shape: ResidualNet, *, in_channels: int, classes: int) -> None:
        super().__init__()
        widths = [shape.width * 2**stage for stage in range(3)]
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        blocks, c_in = [], widths[0]
        for stage, width in enumerate(widths):
            for block in range(shape.blocks):
                blocks.append(BasicBlock(c_in, width, 2 if stage > 0 and block == 0 else 1))
                c_in = width
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(c_in, classes)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """See the class."""
        logits: Tensor = self.classifier(self.blocks(self.stem(x)).mean(dim=(2, 3)))
        return logits


def build_network(
    candidate: Candidate, *, channels: int, cells: int, in_channels: int, classes: int
) -> CellNetwork | ResidualNetwork:
    """The candidate's network with torch's default initialisation; `channels` and `cells` shape cell networks only."""
    match candidate.architecture:
        case Genotype() as genotype:
            return CellNetwork(genotype, channels=channels, cells=cells, in_channels=in_channels, classes=classes)
        case ResidualNet() as shape:
            return ResidualNetwork(shape, in_channels=in_channels, classes=classes)
