"""Memory formats and orders of work in which a CPU trains fast; the results are those of the plain torch operations.

Three things cost more than the arithmetic (bench/train_throughput.py): a gradient that arrives in another memory format
than its image, which sends batch norm, ReLU and their sums to loops that are up to ten times as slow; dilated depthwise
convolutions, which oneDNN computes one value at a time; and depthwise convolutions in bfloat16 with a stride or a large
kernel, whose backward pass takes two to thirty times as long as in float32.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from jaxtyping import Float
from torch import Tensor


def keep_format(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """The same images, whose gradient will get their memory format: for what is concatenated, averaged or sliced."""
    if not _trained(x):
        return x
    kept: Tensor = _KeepFormat.apply(x)  # type: ignore[no-untyped-call]
    return kept


def every_second(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
    """Every second pixel, from the first: [N, C, H, W] → [N, C, ceil(H/2), ceil(W/2)]."""
    if not _trained(x):
        return x[:, :, ::2, ::2]
    [thinned] = _EverySecond.apply(x, (0,))  # type: ignore[no-untyped-call]
    return thinned  # type: ignore[no-any-return]


def halves(x: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n c h2 w2"], Float[Tensor, "n c h2 w2"]]:
    """Every second pixel from the first, and from the second: both [N, C, ceil(H/2), ceil(W/2)].

    An odd side has a zero row behind its last pixel.
    """
    height, width = x.shape[2:]
    if height % 2 or width % 2:
        x = keep_format(F.pad(x, (0, width % 2, 0, height % 2)))
    if not _trained(x):
        return x[:, :, ::2, ::2], x[:, :, 1::2, 1::2]
    even, odd = _EverySecond.apply(x, (0, 1))  # type: ignore[no-untyped-call]
    return even, odd


def depthwise(
    x: Float[Tensor, "n c h w"], weight: Float[Tensor, "c 1 k k"], stride: int, dilation: int
) -> Float[Tensor, "n c h2 w2"]:
    """A convolution of each channel with a kernel of its own, for training on a CPU.

    [N, C, H, W] → [N, C, ceil(H/stride), ceil(W/stride)], padded so that stride 1 keeps the size.

    A kernel of dilation 2 sees pixels of one parity only, so that it is a dense kernel on every second pixel: on one of
    four such maps at stride 2, on all four at stride 1. Besides time this spares us the weights' gradient of dilated
    bfloat16 kernels, in which torch 2.13 leaves values that were never computed, infinite ones among them.
    """
    height, width = x.shape[2:]
    if dilation == 2 and stride == 2:
        return _dense(every_second(x), weight, 1, 1)
    if dilation == 2 and stride == 1 and height % 2 == width % 2 == 0:
        return _interleaved(_dense(_parities(x), weight, 1, 1), x.shape)
    return _dense(x, weight, stride, dilation)


def _dense(x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    """The convolution; autocast's format is computed in for 3×3 kernels of stride 1 only, and given for all."""
    channels, _, kernel, _ = weight.shape
    padding = dilation * (kernel // 2)
    lowered = torch.is_autocast_enabled("cpu") and x.dtype != torch.double
    if not lowered or (kernel == 3 and stride == dilation == 1):
        return F.conv2d(x, weight, None, stride, padding, dilation, channels)
    with torch.autocast("cpu", enabled=False):
        out = F.conv2d(x.float(), weight.float(), None, stride, padding, dilation, channels)
    return out.to(torch.get_autocast_dtype("cpu"))


def _parities(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n4 c h2 w2"]:
    """The four maps of every second pixel, one behind the other: [N, C, H, W] → [4N, C, H/2, W/2], channels_last."""
    n, c, h, w = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(n, h // 2, 2, w // 2, 2, c)
    return pixels.permute(2, 4, 0, 1, 3, 5).reshape(4 * n, h // 2, w // 2, c).permute(0, 3, 1, 2)


def _interleaved(x: Float[Tensor, "n4 c h2 w2"], shape: torch.Size) -> Float[Tensor, "n c h w"]:
    """The inverse of _parities."""
    n, c, h, w = shape
    pixels = x.permute(0, 2, 3, 1).reshape(2, 2, n, h // 2, w // 2, c)
    return pixels.permute(2, 3, 0, 4, 1, 5).reshape(n, h, w, c).permute(0, 3, 1, 2)


def _trained(x: Tensor) -> bool:
    """Whether a gradient will come back, on numbers rather than their traces."""
    return x.requires_grad and torch.is_grad_enabled() and type(x) is Tensor and not torch.compiler.is_compiling()


def _format(x: Tensor) -> torch.memory_format:
    return torch.contiguous_format if x.is_contiguous() else torch.channels_last


class _KeepFormat(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        ctx.format = _format(x)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return grad.contiguous(memory_format=ctx.format)


class _EverySecond(torch.autograd.Function):
    """Every second pixel from each of the offsets; one gradient is filled for all of them."""

    @staticmethod
    def forward(ctx: Any, x: Float[Tensor, "n c h w"], offsets: tuple[int, ...]) -> tuple[Tensor, ...]:
        ctx.shape, ctx.format, ctx.offsets = x.shape, _format(x), offsets
        return tuple(x[:, :, o::2, o::2].contiguous(memory_format=ctx.format) for o in offsets)

    @staticmethod
    def backward(ctx: Any, *grads: Float[Tensor, "n c h2 w2"]) -> tuple[Float[Tensor, "n c h w"], None]:
        whole = torch.empty(ctx.shape, dtype=grads[0].dtype, device=grads[0].device, memory_format=ctx.format).zero_()
        for offset, grad in zip(ctx.offsets, grads, strict=True):
            whole[:, :, offset::2, offset::2] = grad
        return whole, None
