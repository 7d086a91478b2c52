"""Halving a resolution where no operation does it: a skip connection of stride 2, and a cell's older input."""

from collections.abc import Callable
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nas.model.blocks import ReLUConvBN
from nas.model.kernels import Pointwise
from nas.model.layout import halves, keep_format
from nas.model.style import Style


def downsample(c_in: int, c_out: int, style: Style) -> nn.Module:
    """What the style halves with: [N, c_in, H, W] → [N, c_out, ceil(H/2), ceil(W/2)]."""
    return DOWNSAMPLES[style.downsample](c_in, c_out, style)


class FactorizedReduce(nn.Module):
    """Halves the resolution without losing every second pixel: 1×1 convolutions of the even pixels and the odd ones.

    [N, c_in, H, W] → [N, c_out, ceil(H/2), ceil(W/2)]. An odd side is padded by a zero row for the second convolution.
    """

    def __init__(self, c_in: int, c_out: int, style: Style) -> None:
        super().__init__()
        self.activation = style.activate()
        if c_out > 1:  # a single channel is the later one
            self.even = Pointwise(c_in, c_out // 2, bias=style.bias)
        self.odd = Pointwise(c_in, c_out - c_out // 2, bias=style.bias)
        self.norm = style.normalise(c_out)
        self.halves = c_out > 1

    def forward(self, x: Float[Tensor, "n c_in h w"]) -> Float[Tensor, "n c_out h2 w2"]:
        """See the class."""
        even, odd = halves(x)  # before the activation, which has half as much to do then; zeros it leaves as they are
        parts = [keep_format(self.odd(self.activation(odd)))]
        if self.halves:
            parts.insert(0, keep_format(self.even(self.activation(even))))
        out: Tensor = self.norm(torch.cat(parts, dim=1))
        return out


def _pooled(pool: nn.Module, c_in: int, c_out: int, style: Style) -> nn.Module:
    """The pool alone where the channels stay the same: an identity of half the size, as little as can be."""
    return pool if c_in == c_out else nn.Sequential(pool, ReLUConvBN(c_in, c_out, style))


DOWNSAMPLES: Final[dict[str, Callable[[int, int, Style], nn.Module]]] = {
    "factorized": FactorizedReduce,
    "max_pool": lambda c_in, c_out, style: _pooled(nn.MaxPool2d(3, 2, 1), c_in, c_out, style),
    "avg_pool": lambda c_in, c_out, style: _pooled(nn.AvgPool2d(3, 2, 1, count_include_pad=False), c_in, c_out, style),
    # 3×3, because a strided 1×1 convolution would look at one pixel in four.
    "conv": lambda c_in, c_out, style: ReLUConvBN(c_in, c_out, style, kernel=3, stride=2),
}
"""Name → builder of (c_in, c_out, style); the names of nas.space.shape.Downsample."""
