"""The operations of a cell as torch modules: one visible table, one builder signature.

They follow Liu et al. 2019 (DARTS), section 3.1.1 and its published code: ReLU before the convolution, batch norm after
it, no bias, padding that keeps the size at stride 1 and halves it, rounded up, at stride 2.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

TINY_MAP = 16
"""Pixels up to which a 1×1 convolution is trained as one matrix product on a CPU, in about half of oneDNN's time."""


class Pointwise(nn.Conv2d):
    """A 1×1 convolution without bias: [N, c_in, H, W] → [N, c_out, ceil(H/stride), ceil(W/stride)].

    A stride leaves pixels out before the convolution, not in it. The result is the same; but the backward pass of
    torch 2.13's own strided 1×1 convolution of fewer than eight channels writes beyond its buffers on a CPU when the
    images are channels_last, and the process dies sooner or later (a test trains such a network).
    """

    def __init__(self, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__(c_in, c_out, 1, bias=False)
        self.step = stride

    def forward(self, x: Float[Tensor, "n c_in h w"]) -> Float[Tensor, "n c_out h2 w2"]:
        """See the class."""
        if self.step > 1:
            x = x[:, :, :: self.step, :: self.step]
        if self.training and x.device.type == "cpu" and x.shape[2] * x.shape[3] <= TINY_MAP:
            return F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1)).permute(0, 3, 1, 2)
        return super().forward(x)


class ReLUConvBN(nn.Sequential):
    """ReLU, 1×1 convolution, batch norm: [N, c_in, H, W] → [N, c_out, H, W]."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(nn.ReLU(), Pointwise(c_in, c_out), nn.BatchNorm2d(c_out))


SMALL_MAP = 64
"""Pixels up to which a depthwise convolution of a large kernel is trained as matrix products on a CPU."""


class Depthwise(nn.Conv2d):
    """A convolution of each channel with a kernel of its own; padding keeps the size at stride 1.

    [N, C, H, W] → [N, C, ceil(H/stride), ceil(W/stride)].

    On maps of at most SMALL_MAP pixels (TINY_MAP for plain 3×3 kernels) a kernel is a small matrix from input pixels to
    output pixels, and training takes one batched matrix product over the channels: oneDNN's backward pass of depthwise
    convolutions costs 1.2 to 20 times as much there (bench/small_maps.py).
    """

    def __init__(self, channels: int, kernel: int, stride: int, dilation: int) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
        """See the class."""
        _, channels, height, width = x.shape
        largest = TINY_MAP if self.kernel_size[0] <= 3 and self.dilation[0] == 1 else SMALL_MAP
        if not self.training or x.device.type != "cpu" or height * width > largest:
            return super().forward(x)
        kernel, stride, dilation = self.kernel_size[0], self.stride[0], self.dilation[0]
        shifts = _shifts(kernel, stride, dilation, height, width).to(self.weight.dtype)
        matrices = self.weight.view(channels, -1) @ shifts
        out: Tensor = _PixelProduct.apply(  # type: ignore[no-untyped-call]
            x, matrices.view(channels, height * width, -1), stride
        )
        return out


class _PixelProduct(torch.autograd.Function):
    """Multiplies the pixels of every channel by a matrix of its own: [N, C, H, W], [C, HW, H'W'] → [N, C, H', W'].

    Images and gradients stay channels_last outside; the products themselves see contiguous factors, which is the only
    case that torch.bmm does as one batch.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Float[Tensor, "n c h w"], matrices: Float[Tensor, "c p q"], stride: int
    ) -> Float[Tensor, "n c h2 w2"]:
        count, channels, height, width = x.shape
        pixels = x.permute(1, 0, 2, 3).contiguous().view(channels, count, -1)
        ctx.save_for_backward(pixels, matrices)
        ctx.shape = x.shape
        return _channels_last(torch.bmm(pixels, matrices), -(-height // stride), -(-width // stride))

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad: Float[Tensor, "n c h2 w2"]
    ) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "c p q"], None]:
        pixels, matrices = ctx.saved_tensors
        count, channels, height, width = ctx.shape
        grad = grad.permute(1, 0, 2, 3).contiguous().view(channels, count, -1)
        at_pixels = _channels_last(torch.bmm(grad, matrices.transpose(1, 2)), height, width)
        return at_pixels, torch.bmm(pixels.transpose(1, 2), grad), None


def _channels_last(pixels: Float[Tensor, "c n hw"], height: int, width: int) -> Float[Tensor, "n c h w"]:
    channels, count, _ = pixels.shape
    images = pixels.view(channels, count, height, width).permute(1, 0, 2, 3)
    return images.contiguous(memory_format=torch.channels_last)


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # what is kept has to serve training too
def _shifts(
    kernel: int, stride: int, dilation: int, height: int, width: int
) -> Float[Tensor, "kernel_pixels in_times_out_pixels"]:
    """For each pixel of the kernel, the 0/1 matrix from input to output pixels that it stands for, flattened."""
    inputs = torch.eye(height * width).view(-1, 1, height, width)
    kernels = torch.eye(kernel * kernel).view(-1, 1, kernel, kernel)
    shifts = F.conv2d(inputs, kernels, None, stride, dilation * (kernel // 2), dilation)
    return shifts.transpose(0, 1).reshape(kernel * kernel, -1).contiguous()


class DilConv(nn.Sequential):
    """ReLU, depthwise convolution, pointwise convolution, batch norm: [N, C, H, W] → [N, C, H/stride, W/stride]."""

    def __init__(self, channels: int, kernel: int, stride: int, dilation: int) -> None:
        super().__init__(
            nn.ReLU(),
            Depthwise(channels, kernel, stride, dilation),
            Pointwise(channels, channels),
            nn.BatchNorm2d(channels),
        )


class SepConv(nn.Sequential):
    """Two rounds of depthwise-separable convolution, the first with the stride: [N, C, H, W] → [N, C, H/stride, …]."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__(
            DilConv(channels, kernel, stride, dilation=1),
            DilConv(channels, kernel, stride=1, dilation=1),
        )


class Conv7x1x1x7(nn.Sequential):
    """A 1×7 convolution, then a 7×1 convolution: [N, C, H, W] → [N, C, H/stride, W/stride]."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(channels, channels, (1, 7), (1, stride), (0, 3), bias=False),
            nn.Conv2d(channels, channels, (7, 1), (stride, 1), (3, 0), bias=False),
            nn.BatchNorm2d(channels),
        )


class FactorizedReduce(nn.Module):
    """Halves the resolution without losing every second pixel: two 1×1 convolutions of stride 2, one a pixel later.

    [N, c_in, H, W] → [N, c_out, ceil(H/2), ceil(W/2)]. An odd side is padded by a zero row for the second convolution.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.even = Pointwise(c_in, c_out // 2, stride=2)
        self.odd = Pointwise(c_in, c_out - c_out // 2, stride=2)
        self.norm = nn.BatchNorm2d(c_out)

    def forward(self, x: Float[Tensor, "n c_in h w"]) -> Float[Tensor, "n c_out h2 w2"]:
        """See the class."""
        x = self.relu(x)
        height, width = x.shape[2:]
        later = F.pad(x, (0, width % 2, 0, height % 2))[:, :, 1:, 1:]
        out: Tensor = self.norm(torch.cat([self.even(x), self.odd(later)], dim=1))
        return out


class Zero(nn.Module):
    """Zeros of the size that another operation would have given."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
        """See the class."""
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


Builder = Callable[[int, int], nn.Module]
"""(channels, stride) → a module [N, channels, H, W] → [N, channels, ceil(H/stride), ceil(W/stride)]."""

OPS: Final[dict[str, Builder]] = {
    "none": lambda channels, stride: Zero(stride),
    "max_pool_3x3": lambda channels, stride: nn.MaxPool2d(3, stride, 1),
    "avg_pool_3x3": lambda channels, stride: nn.AvgPool2d(3, stride, 1, count_include_pad=False),
    "skip_connect": lambda channels, stride: nn.Identity() if stride == 1 else FactorizedReduce(channels, channels),
    "sep_conv_3x3": lambda channels, stride: SepConv(channels, 3, stride),
    "sep_conv_5x5": lambda channels, stride: SepConv(channels, 5, stride),
    "sep_conv_7x7": lambda channels, stride: SepConv(channels, 7, stride),
    "dil_conv_3x3": lambda channels, stride: DilConv(channels, 3, stride, dilation=2),
    "dil_conv_5x5": lambda channels, stride: DilConv(channels, 5, stride, dilation=2),
    "conv_7x1_1x7": lambda channels, stride: Conv7x1x1x7(channels, stride),
}
"""Name → builder, for the names in nas.space.operations."""
