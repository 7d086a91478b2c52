"""The first convolutions of a network of cells."""

from collections.abc import Callable
from typing import Final, TypeAlias

from jaxtyping import Float
from torch import Tensor, nn

from nas.model.kernels import Convolution
from nas.model.style import Style

MULTIPLIER = 3
"""The cifar stem has three times the channels of the first cell (Liu et al. 2019, published code)."""


class CifarStem(nn.Sequential):
    """A 3×3 convolution and a norm: [N, c_in, H, W] → twice the same [N, 3C, H, W].

    Attributes:
        widths: channels of the two inputs of the first cell, which it makes.
        halved: whether the first of them has twice the resolution of the second.
    """

    def __init__(self, c_in: int, channels: int, style: Style) -> None:
        width = MULTIPLIER * channels
        super().__init__(Convolution(c_in, width, 3, bias=style.bias), style.normalise(width))
        self.widths = (width, width)
        self.halved = False

    def forward(self, x: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n c0 h w"], Float[Tensor, "n c0 h w"]]:
        """See the class."""
        for module in self:
            x = module(x)
        return x, x


class ImageNetStem(nn.Module):
    """Three 3×3 convolutions of stride 2: [N, c_in, H, W] → [N, C, H/4, W/4] and [N, C, H/8, W/8], rounded up.

    The stem of NetworkImageNet in the published code of Liu et al. 2019. Attributes as of CifarStem.
    """

    def __init__(self, c_in: int, channels: int, style: Style) -> None:
        super().__init__()
        half = max(1, channels // 2)
        self.quarter = nn.Sequential(
            Convolution(c_in, half, 3, 2, bias=style.bias),
            style.normalise(half),
            style.activate(),
            Convolution(half, channels, 3, 2, bias=style.bias),
            style.normalise(channels),
        )
        self.eighth = nn.Sequential(
            style.activate(),
            Convolution(channels, channels, 3, 2, bias=style.bias),
            style.normalise(channels),
        )
        self.widths = (channels, channels)
        self.halved = True

    def forward(self, x: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n c0 h0 w0"], Float[Tensor, "n c0 h1 w1"]]:
        """See the class."""
        quarter = self.quarter(x)
        return quarter, self.eighth(quarter)


Stem: TypeAlias = CifarStem | ImageNetStem

STEMS: Final[dict[str, Callable[[int, int, Style], Stem]]] = {"cifar": CifarStem, "imagenet": ImageNetStem}
"""Name → builder of (c_in, channels, style); the names of nas.space.shape.Stem."""
