"""Initialisations of convolutions and linear layers by name.

Variances are those of Glorot and Bengio 2010 (equations 12 and 16) and He et al. 2015 (equation 10, for ReLU), with the
fans of what a weight is connected to: in a grouped convolution only its own group.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from nas.train.recipe import Recipe

PLAIN: Final = 0.05
"""Half the range of `uniform`, and the standard deviation of `normal`."""

TRUNCATED: Final = 0.87962566103423978
"""Standard deviation of a standard normal that is cut off at ±2."""

_LAYERS: Final = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, slots=True)
class Fans:
    """How many inputs a unit of a layer has, and how many units an input goes to, each place of a kernel one."""

    into: int
    out: int

    @classmethod
    def of(cls, layer: nn.Module, weight: Tensor) -> "Fans":
        """Of a layer whose weight is [outputs, inputs of a group, *kernel]."""
        field = math.prod(weight.shape[2:])
        groups = getattr(layer, "groups", 1)
        return cls(weight.shape[1] * field, weight.shape[0] // groups * field)

    @property
    def xavier(self) -> float:
        """Standard deviation that keeps the variances of values and gradients about the same."""
        return math.sqrt(2 / (self.into + self.out))

    @property
    def he(self) -> float:
        """Standard deviation that keeps the variance of values behind a ReLU."""
        return math.sqrt(2 / self.into)


Draw = Callable[[Tensor, Fans, float, torch.Generator], Tensor]


def _uniform(bound: Callable[[Fans], float]) -> Draw:
    return lambda weight, fans, scale, generator: weight.uniform_(
        -scale * bound(fans), scale * bound(fans), generator=generator
    )


def _normal(std: Callable[[Fans], float]) -> Draw:
    return lambda weight, fans, scale, generator: weight.normal_(0, scale * std(fans), generator=generator)


def _truncated(std: Callable[[Fans], float]) -> Draw:
    """Cut off at two deviations of the normal that is drawn from, which is wider so that `std` is what comes out."""

    def draw(weight: Tensor, fans: Fans, scale: float, generator: torch.Generator) -> Tensor:
        wider = scale * std(fans) / TRUNCATED
        return nn.init.trunc_normal_(weight, 0, wider, -2 * wider, 2 * wider, generator=generator)

    return draw


INITIALISATIONS: Final[dict[str, Draw]] = {
    "uniform": _uniform(lambda fans: PLAIN),
    "normal": _normal(lambda fans: PLAIN),
    "xavier_uniform": _uniform(lambda fans: math.sqrt(3) * fans.xavier),
    "xavier_normal": _normal(lambda fans: fans.xavier),
    "he_uniform": _uniform(lambda fans: math.sqrt(3) * fans.he),
    "he_normal": _normal(lambda fans: fans.he),
    "truncated_xavier": _truncated(lambda fans: fans.xavier),
    "truncated_he": _truncated(lambda fans: fans.he),
}
"""Name → draw(weight, fans, factor on the scale, generator), in place. `default`, torch's own, needs no entry."""


@torch.no_grad()
def initialise(network: nn.Module, recipe: Recipe, generator: torch.Generator) -> None:
    """Draws the weights of convolutions and linear layers as the recipe says, times `init_scale`; biases become 0.

    `default` leaves what torch has drawn, weights times `init_scale`. Norm layers are left alone.

    Args:
        network: on the device of the generator.
        recipe: its initialisation and init_scale.
        generator: the only source of randomness.
    """
    for layer in network.modules():
        if not isinstance(layer, _LAYERS):
            continue
        if recipe.initialisation == "default":
            layer.weight.mul_(recipe.init_scale)
            continue
        draw = INITIALISATIONS[recipe.initialisation]
        draw(layer.weight, Fans.of(layer, layer.weight), recipe.init_scale, generator)
        if layer.bias is not None:
            layer.bias.zero_()
