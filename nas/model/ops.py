"""The operations of a cell as torch modules: one visible table, one builder signature, and the user's own beside it."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Final

from jaxtyping import Float
from torch import Tensor, nn

from nas import plugins
from nas.errors import GenotypeError, shorten
from nas.model.blocks import Conv7x1x1x7, DilConv, GroupConv, ReLUConvBN, SepConv, Zero
from nas.model.chance import drawing
from nas.model.downsample import downsample
from nas.model.style import Style

Builder = Callable[[int, int, Style], nn.Module]
"""(channels, stride, style) → a module [N, channels, H, W] → [N, channels, ceil(H/stride), ceil(W/stride)]."""

OPS: Final[dict[str, Builder]] = {
    "none": lambda channels, stride, style: Zero(stride),
    "max_pool_3x3": lambda channels, stride, style: nn.MaxPool2d(3, stride, 1),
    "avg_pool_3x3": lambda channels, stride, style: nn.AvgPool2d(3, stride, 1, count_include_pad=False),
    "skip_connect": lambda channels, stride, style: (
        nn.Identity() if stride == 1 else downsample(channels, channels, style)
    ),
    "conv_1x1": lambda channels, stride, style: ReLUConvBN(channels, channels, style, kernel=1, stride=stride),
    "conv_3x3": lambda channels, stride, style: ReLUConvBN(channels, channels, style, kernel=3, stride=stride),
    "conv_5x5": lambda channels, stride, style: ReLUConvBN(channels, channels, style, kernel=5, stride=stride),
    "sep_conv_3x3": lambda channels, stride, style: SepConv(channels, 3, stride, style),
    "sep_conv_5x5": lambda channels, stride, style: SepConv(channels, 5, stride, style),
    "sep_conv_7x7": lambda channels, stride, style: SepConv(channels, 7, stride, style),
    "dil_conv_3x3": lambda channels, stride, style: DilConv(channels, 3, stride, style, dilation=2),
    "dil_conv_5x5": lambda channels, stride, style: DilConv(channels, 5, stride, style, dilation=2),
    "group_conv_3x3": lambda channels, stride, style: GroupConv(channels, 3, stride, style),
    "group_conv_5x5": lambda channels, stride, style: GroupConv(channels, 5, stride, style),
    "conv_7x1_1x7": lambda channels, stride, style: Conv7x1x1x7(channels, stride, style),
}
"""Name → builder, for the names in nas.space.operations."""


def build_op(name: str, channels: int, stride: int, style: Style) -> nn.Module:
    """The operation of that name: [N, C, H, W] → [N, C, ceil(H/stride), ceil(W/stride)].

    The project's own come first: a user's operation of the same name is not looked at.

    Raises:
        GenotypeError: there is no such operation, or the user's builder of that name makes none.
    """
    if name in OPS:
        return OPS[name](channels, stride, style)
    own = plugins.operations()
    if name not in own:
        raise GenotypeError("operation", name, f"the operations are {', '.join([*OPS, *own])}")
    origin = own[name].origin
    try:
        module = own[name].get()(channels, stride)
    except Exception as error:
        mend = (
            f"its builder ({origin}) stopped at channels={channels}, stride={stride}: {type(error).__name__}: {error}"
        )
        raise GenotypeError("operation", name, mend) from error
    if not isinstance(module, nn.Module):
        raise GenotypeError("operation", name, f"its builder ({origin}) has to return a module, not {shorten(module)}")
    return UserOperation(name, module, stride)


class UserOperation(nn.Module):
    """A user's operation, held to the shape that its place asks for: [N, C, H, W] → [N, C, ceil(H/stride), …].

    Raises GenotypeError when it runs and gives anything else.
    """

    def __init__(self, name: str, module: nn.Module, stride: int) -> None:
        super().__init__()
        self.name = name
        self.module = module
        self.stride = stride

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
        """See the class."""
        with drawing() if self.training else nullcontext():
            out: Tensor = self.module(x)
        height, width = (-(-side // self.stride) for side in x.shape[2:])
        given: object = tuple(out.shape) if isinstance(out, Tensor) else out
        if given != (x.shape[0], x.shape[1], height, width):
            wanted = f"{tuple(x.shape)} at stride {self.stride} has to become {(*x.shape[:2], height, width)}"
            raise GenotypeError("operation", self.name, f"{wanted}, not {shorten(given)}")
        return out
