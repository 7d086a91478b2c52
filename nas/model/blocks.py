"""Convolutions with what belongs to them: activation before, norm after.

They follow Liu et al. 2019 (DARTS), section 3.1.1 and its published code: no bias, padding that keeps the size at
stride 1 and halves it, rounded up, at stride 2. In a style without norm the convolution before it has a bias instead.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nas.model.kernels import Convolution, Depthwise, Pointwise, convolution
from nas.model.style import Style

MOST_GROUPS = 4
"""Groups of a grouped convolution, where the channels can be split into so many."""


class ReLUConvBN(nn.Sequential):
    """Activation, convolution, norm: [N, c_in, H, W] → [N, c_out, H/stride, W/stride]. ReLU and batch norm in DARTS."""

    def __init__(self, c_in: int, c_out: int, style: Style, *, kernel: int = 1, stride: int = 1) -> None:
        super().__init__(
            style.activate(),
            convolution(c_in, c_out, kernel, stride, bias=style.bias),
            style.normalise(c_out),
        )


class DilConv(nn.Sequential):
    """Activation, depthwise convolution, pointwise convolution, norm: [N, C, H, W] → [N, C, H/stride, W/stride]."""

    def __init__(self, channels: int, kernel: int, stride: int, style: Style, *, dilation: int) -> None:
        super().__init__(
            style.activate(),
            Depthwise(channels, kernel, stride, dilation),
            Pointwise(channels, channels, bias=style.bias),
            style.normalise(channels),
        )


class SepConv(nn.Sequential):
    """Two rounds of depthwise-separable convolution, the first with the stride: [N, C, H, W] → [N, C, H/stride, …]."""

    def __init__(self, channels: int, kernel: int, stride: int, style: Style) -> None:
        super().__init__(
            DilConv(channels, kernel, stride, style, dilation=1),
            DilConv(channels, kernel, 1, style, dilation=1),
        )


class GroupConv(nn.Sequential):
    """Activation, grouped convolution, 1×1 convolution that mixes the groups, norm: [N, C, H, W] → [N, C, H/stride, …].

    Xie et al. 2017 (ResNeXt), with one activation and one norm as in DilConv.
    """

    def __init__(self, channels: int, kernel: int, stride: int, style: Style) -> None:
        super().__init__(
            style.activate(),
            grouped(channels, kernel, stride),
            Pointwise(channels, channels, bias=style.bias),
            style.normalise(channels),
        )


def grouped(channels: int, kernel: int, stride: int) -> Convolution:
    """A convolution in the largest number of groups up to MOST_GROUPS that divides the channels, without bias."""
    groups = max(number for number in range(1, MOST_GROUPS + 1) if channels % number == 0)
    return Convolution(channels, channels, kernel, stride, groups=groups, bias=False)


class Conv7x1x1x7(nn.Sequential):
    """A 1×7 convolution, then a 7×1 convolution: [N, C, H, W] → [N, C, H/stride, W/stride]."""

    def __init__(self, channels: int, stride: int, style: Style) -> None:
        super().__init__(
            style.activate(),
            Convolution(channels, channels, (1, 7), (1, stride), bias=False),
            Convolution(channels, channels, (7, 1), (stride, 1), bias=style.bias),
            style.normalise(channels),
        )


class Zero(nn.Module):
    """Zeros of the size that another operation would have given."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
        """See the class."""
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])
