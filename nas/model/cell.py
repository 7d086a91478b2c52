"""One cell of a network."""

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nas.model.blocks import ReLUConvBN
from nas.model.chance import Noise, drop
from nas.model.downsample import downsample
from nas.model.layout import keep_format
from nas.model.merge import MERGES
from nas.model.ops import build_op
from nas.model.style import Style
from nas.space.genotype import INPUTS, Cell
from nas.space.shape import Shape

WHOLE: Final = Noise()
"""Draws for a whole batch from torch's own generator."""


class CellModule(nn.Module):
    """One cell: two feature maps in, the concatenation of its output nodes out.

    In the residual skeleton its second input is added to that: as it is, or through a 1×1 convolution or the shape's
    downsampling where its channels or its resolution differ (He et al. 2016, section 3.3, option B).

    Args:
        cell: the graph.
        c_prev_prev, c_prev: channels of the two inputs.
        channels: channels of every node.
        reduction: whether operations on the inputs have stride 2.
        after_reduction: whether the first input has twice the resolution of the second.
        shape: style, merges and skeleton.

    Raises:
        GenotypeError: see nas.model.ops.build_op.
    """

    def __init__(
        self,
        cell: Cell,
        c_prev_prev: int,
        c_prev: int,
        channels: int,
        *,
        reduction: bool,
        after_reduction: bool,
        shape: Shape,
    ) -> None:
        super().__init__()
        style = Style.of(shape)
        self.pre0 = (downsample if after_reduction else ReLUConvBN)(c_prev_prev, channels, style)
        self.pre1 = ReLUConvBN(c_prev, channels, style)
        self.nodes = nn.ModuleList(
            nn.ModuleList(
                build_op(edge.op, channels, 2 if reduction and edge.source < INPUTS else 1, style) for edge in edges
            )
            for edges in cell.nodes
        )
        self.merges = nn.ModuleList(MERGES[shape.merge](channels, len(edges), style) for edges in cell.nodes)
        self.cell = cell
        self.out_channels = channels * len(cell.concat)
        self.shortcut: nn.Module | None = None
        if shape.skeleton == "residual":
            self.shortcut = _shortcut(c_prev, self.out_channels, style, reduction=reduction)

    def forward(
        self,
        s0: Float[Tensor, "n c0 h0 w0"],
        s1: Float[Tensor, "n c1 h1 w1"],
        dropped: float = 0.0,
        noise: Noise = WHOLE,
    ) -> Float[Tensor, "n c_out h w"]:
        """See the class.

        Args:
            s0, s1: outputs of the last cell but one and of the last.
            dropped: probability that an edge gives nothing for an image (drop_path).
            noise: where drop_path draws from.
        """
        states: list[Tensor] = [self.pre0(s0), self.pre1(s1)]
        for edges, operations, merge in zip(self.cell.nodes, self.nodes, self.merges, strict=True):
            assert isinstance(operations, nn.ModuleList)  # noqa: S101 - tells the type checker what stands above
            terms = []
            for edge, operation in zip(edges, operations, strict=True):
                term = operation(states[edge.source])
                # As published: an identity is never dropped, so that a gradient always has a way through.
                terms.append(term if isinstance(operation, nn.Identity) else drop_path(term, dropped, noise))
            states.append(merge(terms))
        out = torch.cat([keep_format(states[index]) for index in self.cell.concat], dim=1)
        return out if self.shortcut is None else out + self.shortcut(s1)


def drop_path(x: Float[Tensor, "n c h w"], probability: float, noise: Noise = WHOLE) -> Float[Tensor, "n c h w"]:
    """Sets whole images to zero with that probability and scales the others up, so that the mean stays what it was.

    Larsson et al. 2017, per image as in the published code of Liu et al. 2019.
    """
    return drop(x, probability, noise, images=True)


def _shortcut(c_in: int, c_out: int, style: Style, *, reduction: bool) -> nn.Module:
    if reduction:
        return downsample(c_in, c_out, style)
    return nn.Identity() if c_in == c_out else ReLUConvBN(c_in, c_out, style)
