"""What stands between the operations of a network: activation, norm, and the way a resolution is halved."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nas.space.shape import Activation, Downsample, Norm, Shape

MOST_GROUPS = 8
"""Groups that group norm makes at most."""


@dataclass(frozen=True, slots=True)
class Style:
    """The part of a Shape that every operation is built with. The defaults are those of Liu et al. 2019.

    Attributes:
        activation: before convolutions; `identity` where what comes in has been activated already.
        norm: after convolutions; with `none` the convolution has a bias instead.
        downsample: how a resolution is halved where no operation does it (nas.model.downsample).
    """

    activation: Activation | Literal["identity"] = "relu"
    norm: Norm = "batch"
    downsample: Downsample = "factorized"

    @classmethod
    def of(cls, shape: Shape) -> Self:
        """The style of a shape."""
        return cls(shape.activation, shape.norm, shape.downsample)

    @property
    def bias(self) -> bool:
        """Whether the convolution before a norm needs a bias."""
        return self.norm == "none"

    def activate(self) -> nn.Module:
        """A new activation. It never works in place: two edges may look at the same node."""
        return ACTIVATIONS[self.activation]()

    def normalise(self, channels: int) -> nn.Module:
        """A new norm of that many channels."""
        return NORMS[self.norm](channels)

    def without_activation(self) -> Self:
        """The same for inputs that are activated already."""
        return replace(self, activation="identity")


class GroupNorm(nn.GroupNorm):
    """Group norm (Wu, He 2018) with at most MOST_GROUPS groups of equal size, two channels in each at least.

    A channel alone on a map of one pixel would be set to zero. [N, C, H, W] → [N, C, H, W].
    """

    def __init__(self, channels: int) -> None:
        sizes = range(min(MOST_GROUPS, channels // 2), 0, -1)
        super().__init__(next((groups for groups in sizes if channels % groups == 0), 1), channels)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """See the class. Takes a single pixel too, at which torch.nn's own stops."""
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


ACTIVATIONS: Final[dict[str, Callable[[], nn.Module]]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,  # slope 0.01
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "identity": nn.Identity,
}
"""Name → activation; the names of nas.space.shape.Activation, and `identity`."""

NORMS: Final[dict[str, Callable[[int], nn.Module]]] = {
    "batch": nn.BatchNorm2d,
    "batch_fixed": partial(nn.BatchNorm2d, affine=False),
    "group": GroupNorm,
    "none": lambda channels: nn.Identity(),
}
"""Name → norm of so many channels; the names of nas.space.shape.Norm."""
