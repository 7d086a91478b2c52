"""The network that holds all candidates of a space: every operation on every edge that a cell can have."""

from collections.abc import Sequence
from typing import Self

from jaxtyping import Float
from torch import Tensor, nn

from nas.model.kernels import Convolution
from nas.model.layout import keep_format
from nas.model.stems import STEMS
from nas.model.style import Style
from nas.oneshot.cell import MixedCell
from nas.oneshot.mixing import Mixing
from nas.space import Shape, is_reduction


class Supernet(nn.Module):
    """Stem, mixed cells, global average pooling, linear classifier: [N, in_channels, H, W] → logits [N, outputs].

    Liu et al. 2019, section 2.2: nodes add up the weighted operations of all edges that lead to them. The frame is
    that of nas.model.network.CellNetwork, so that a candidate's path is its network, but for the norms without scale
    and offset, the norms behind poolings, and the channels that go round the operations where `share` is above 1.

    Args:
        ops: names of operations; `none` is computed by leaving it out.
        nodes: computed nodes a cell.
        shape: the frame, see nas.oneshot.plan.supernet_shape.
        share: one channel in so many goes through the operations (Xu et al. 2020, section 3.2), if the channels can be
            divided by that, else by the next smaller number that divides them.

    Raises:
        GenotypeError: see nas.model.ops.build_op.
    """

    def __init__(
        self, ops: Sequence[str], nodes: int, shape: Shape, *, in_channels: int, outputs: int, share: int = 1
    ) -> None:
        super().__init__()
        style = Style.of(shape)
        self.stem = STEMS[shape.stem](in_channels, shape.channels, style)
        self.reductions = is_reduction(shape)
        self.cells = nn.ModuleList()
        (c_prev_prev, c_prev), after_reduction, width = self.stem.widths, self.stem.halved, shape.channels
        for reduction in self.reductions:
            width = 2 * width if reduction else width
            cell = MixedCell(
                ops,
                nodes,
                c_prev_prev,
                c_prev,
                width,
                reduction=reduction,
                after_reduction=after_reduction,
                style=style,
                share=share,
                residual=shape.skeleton == "residual",
            )
            self.cells.append(cell)
            c_prev_prev, c_prev, after_reduction = c_prev, cell.out_channels, reduction
        self.classifier = nn.Linear(c_prev, outputs)

    def used(self, mixing: Mixing) -> list[nn.Module]:
        """The modules that a mixing computes."""
        found: list[nn.Module] = [self.stem, self.classifier]
        for reduction, cell in zip(self.reductions, self.cells, strict=True):
            assert isinstance(cell, MixedCell)  # noqa: S101 - there are no others
            found += cell.used(mixing.reduce if reduction else mixing.normal)
        return found

    def forward(self, x: Float[Tensor, "n c h w"], mixing: Mixing) -> Float[Tensor, "n outputs"]:
        """See the class; `mixing` says what is computed."""
        s0, s1 = self.stem(x)
        for reduction, cell in zip(self.reductions, self.cells, strict=True):
            s0, s1 = s1, cell(s0, s1, mixing.reduce if reduction else mixing.normal)
        logits: Tensor = self.classifier(keep_format(s1).mean(dim=(2, 3)))
        return logits


class Mixed(nn.Module):
    """A supernet that computes one mixing: [N, in_channels, H, W] → logits [N, outputs].

    Its modules are those that are computed: a path has a hundredth of the supernet's. In evaluation mode convolutions
    stay as they are in training: they compute the same, by kernels for small maps.
    """

    def __init__(self, supernet: Supernet, mixing: Mixing) -> None:
        super().__init__()
        self.used = nn.ModuleList(supernet.used(mixing))
        self._compute = supernet.forward
        self.mixing = mixing

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n outputs"]:
        """See the class."""
        return self._compute(x, self.mixing)

    def train(self, mode: bool = True) -> Self:
        """See the class."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, Convolution):
                module.training = True
        return self
