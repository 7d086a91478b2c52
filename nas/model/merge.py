"""How a node of a cell makes one feature map of its inputs."""

from collections.abc import Callable, Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nas.model.kernels import Pointwise
from nas.model.layout import keep_format
from nas.model.style import Style


class Sum(nn.Module):
    """Adds the inputs (Liu et al. 2019, section 2.1): some [N, C, H, W] → [N, C, H, W]."""

    def forward(self, inputs: Sequence[Float[Tensor, "n c h w"]]) -> Float[Tensor, "n c h w"]:
        """See the class."""
        return sum(inputs[1:], inputs[0])


class Concat(nn.Module):
    """Concatenates the inputs; a 1×1 convolution and a norm go back to C channels. A single input stays as it is.

    Some [N, C, H, W] → [N, C, H, W].
    """

    def __init__(self, channels: int, inputs: int, style: Style) -> None:
        super().__init__()
        self.mix = nn.Sequential()
        if inputs > 1:
            self.mix.append(Pointwise(inputs * channels, channels, bias=style.bias))
            self.mix.append(style.normalise(channels))

    def forward(self, inputs: Sequence[Float[Tensor, "n c h w"]]) -> Float[Tensor, "n c h w"]:
        """See the class."""
        out: Tensor = self.mix(torch.cat([keep_format(x) for x in inputs], dim=1))
        return out


class Weighted(nn.Module):
    """Adds the inputs, each times a trainable number that begins at 1: some [N, C, H, W] → [N, C, H, W].

    The numbers are used as they are: the node begins as a plain sum, a branch may be subtracted, and one that nobody
    needs can shrink to nothing. A softmax would let none be zero and make each depend on how many stand beside it.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(inputs))

    def forward(self, inputs: Sequence[Float[Tensor, "n c h w"]]) -> Float[Tensor, "n c h w"]:
        """See the class."""
        terms = [weight * x for weight, x in zip(self.weight.unbind(), inputs, strict=True)]
        return sum(terms[1:], terms[0])


MERGES: Final[dict[str, Callable[[int, int, Style], nn.Module]]] = {
    "sum": lambda channels, inputs, style: Sum(),
    "concat": Concat,
    "weighted": lambda channels, inputs, style: Weighted(inputs),
}
"""Name → builder of (channels, inputs, style); the names of nas.space.shape.Merge."""
