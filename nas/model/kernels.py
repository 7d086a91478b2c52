"""Pointwise and depthwise convolutions: torch's own, and matrix products where those are faster to train on a CPU."""

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from jaxtyping import Float
from torch import Tensor, nn

from nas.model.layout import depthwise, every_second

TINY_MAP = 16
"""Pixels up to which a 1×1 convolution is trained as one matrix product on a CPU, in about half of oneDNN's time."""

SMALL_MAP = 64
"""Pixels up to which a depthwise convolution of a large kernel is trained as matrix products on a CPU."""

MANY_CHANNELS = 16
"""Channels that fill the vectors of torch's own depthwise convolution, which is then faster on maps above TINY_MAP."""


class Convolution(nn.Conv2d):
    """A convolution whose padding keeps the size at stride 1: [N, c_in, H, W] → [N, c_out, ceil(H/stride), …].

    Computes what torch's own does, around two mistakes in the backward pass of torch 2.13 on a CPU:

    The stride of a 1×1 convolution leaves pixels out before it, not in it. With fewer than eight channels and images
    that are channels_last, torch's writes beyond its buffers, and the process dies sooner or later.

    Along a side of one pixel the stride is 1, which changes nothing. Otherwise the gradient of the weights in bfloat16
    is what happened to be in memory.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        *,
        dilation: int = 1,
        groups: int = 1,
        bias: bool,
    ) -> None:
        rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (dilation * (rows // 2), dilation * (columns // 2))
        super().__init__(c_in, c_out, kernel, stride, padding, dilation, groups, bias)

    def forward(self, x: Float[Tensor, "n c_in h w"]) -> Float[Tensor, "n c_out h2 w2"]:
        """See the class."""
        down, right = self.stride
        if self.kernel_size == (1, 1):
            x = self.seen(x)
            down = right = 1
        stride = (down if x.shape[2] > 1 else 1, right if x.shape[3] > 1 else 1)
        return F.conv2d(x, self.weight, self.bias, stride, self.padding, self.dilation, self.groups)

    def seen(self, x: Float[Tensor, "n c_in h w"]) -> Float[Tensor, "n c_in h2 w2"]:
        """The pixels that a 1×1 convolution looks at."""
        down, right = self.stride
        if (down, right) == (2, 2):
            return every_second(x)
        return x if (down, right) == (1, 1) else x[:, :, ::down, ::right]


class Pointwise(Convolution):
    """A 1×1 convolution: [N, c_in, H, W] → [N, c_out, ceil(H/stride), ceil(W/stride)]."""

    def __init__(self, c_in: int, c_out: int, stride: int = 1, *, bias: bool = False) -> None:
        super().__init__(c_in, c_out, 1, stride, bias=bias)

    def forward(self, x: Float[Tensor, "n c_in h w"]) -> Float[Tensor, "n c_out h2 w2"]:
        """See the class."""
        seen = self.seen(x)
        if _trains_on_cpu(self, seen) and seen.shape[2] * seen.shape[3] <= TINY_MAP:
            return F.linear(seen.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)
        return super().forward(x)


class Depthwise(Convolution):
    """A convolution of each channel with a kernel of its own, without bias.

    [N, C, H, W] → [N, C, ceil(H/stride), ceil(W/stride)].

    On maps of at most SMALL_MAP pixels (TINY_MAP for plain 3×3 kernels, and from MANY_CHANNELS on) a kernel is a small
    matrix from input pixels to output pixels, and training takes one batched matrix product over the channels: oneDNN's
    backward pass of depthwise convolutions costs 1.2 to 20 times as much there (bench/small_maps.py). For larger maps
    see nas.model.layout.depthwise.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__(channels, channels, kernel, stride, dilation=dilation, groups=channels, bias=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
        """See the class."""
        _, channels, height, width = x.shape
        kernel, stride, dilation = self.kernel_size[0], self.stride[0], self.dilation[0]
        if kernel == 1 or not _trains_on_cpu(self, x):
            return super().forward(x)
        plain = kernel <= 3 and dilation == 1
        if height * width > (TINY_MAP if plain or channels >= MANY_CHANNELS else SMALL_MAP):
            return depthwise(x, self.weight, stride, dilation)
        # A product of our own is to compute in the type that autocast would have chosen for a convolution.
        lowered = torch.is_autocast_enabled("cpu") and x.dtype != torch.double
        dtype = torch.get_autocast_dtype("cpu") if lowered else x.dtype
        shifts = _shifts(kernel, stride, dilation, height, width).to(dtype)
        matrices = self.weight.to(dtype).view(channels, -1) @ shifts
        out: Tensor = _PixelProduct.apply(  # type: ignore[no-untyped-call]
            x.to(dtype), matrices.view(channels, height * width, -1), stride
        )
        return out


def convolution(c_in: int, c_out: int, kernel: int, stride: int = 1, *, dilation: int = 1, bias: bool) -> Convolution:
    """A full convolution of any kernel: [N, c_in, H, W] → [N, c_out, ceil(H/stride), ceil(W/stride)]."""
    if kernel == 1:
        return Pointwise(c_in, c_out, stride, bias=bias)
    return Convolution(c_in, c_out, kernel, stride, dilation=dilation, bias=bias)


def _trains_on_cpu(module: nn.Module, x: Tensor) -> bool:
    """Whether a matrix product may stand in for a convolution: in training, and on numbers rather than their traces."""
    return module.training and x.device.type == "cpu" and type(x) is Tensor and not torch.compiler.is_compiling()


class _PixelProduct(torch.autograd.Function):
    """Multiplies the pixels of every channel by a matrix of its own: [N, C, H, W], [C, HW, H'W'] → [N, C, H', W'].

    Images and gradients stay channels_last outside; the products themselves see contiguous factors, which is the only
    case that torch.bmm does as one batch.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Float[Tensor, "n c h w"], matrices: Float[Tensor, "c p q"], stride: int
    ) -> Float[Tensor, "n c h2 w2"]:
        pixels = _pixels(x)
        ctx.save_for_backward(x, pixels, matrices)
        height, width = x.shape[2:]
        return _channels_last(torch.bmm(pixels, matrices), -(-height // stride), -(-width // stride))

    @staticmethod
    def backward(
        ctx: Any, grad: Float[Tensor, "n c h2 w2"]
    ) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "c p q"], None]:
        x, pixels, matrices = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody wants a second derivative, which has to know where the pixels come from
            pixels = _pixels(x)
        grad = _pixels(grad)
        at_pixels = _channels_last(torch.bmm(grad, matrices.transpose(1, 2)), *x.shape[2:])
        return at_pixels, torch.bmm(pixels.transpose(1, 2), grad), None


def _pixels(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "c n hw"]:
    count, channels, _, _ = images.shape
    return images.permute(1, 0, 2, 3).contiguous().view(channels, count, -1)


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
    inputs = torch.eye(height * width, dtype=torch.float32, device="cpu").view(-1, 1, height, width)
    kernels = torch.eye(kernel * kernel, dtype=torch.float32, device="cpu").view(-1, 1, kernel, kernel)
    shifts = F.conv2d(inputs, kernels, None, stride, dilation * (kernel // 2), dilation)  # 0 and 1 are in any dtype
    return shifts.transpose(0, 1).reshape(kernel * kernel, -1).contiguous()
