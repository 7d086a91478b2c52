"""Networks designed layer by layer."""

from collections.abc import Callable
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nas.model.base import Network
from nas.model.blocks import ReLUConvBN, grouped
from nas.model.downsample import downsample
from nas.model.kernels import Depthwise, Pointwise, convolution
from nas.model.style import Style
from nas.space import Layer, LayerNet, Shape
from nas.space.layers import HALVING


class LayerNetwork(Network):
    """A chain of groups of layers, global average pooling, linear classifier.

    Of the shape it takes activation, norm, dropout, the residual skeleton and the way its shortcuts are halved.
    """

    def __init__(self, network: LayerNet, shape: Shape, *, in_channels: int, outputs: int) -> None:
        super().__init__(shape.dropout)
        style = Style.of(shape)
        self.groups = nn.Sequential()
        width = in_channels
        for layers in network.groups():
            group = LayerGroup(layers, width, style, residual=shape.skeleton == "residual")
            self.groups.append(group)
            width = group.out_channels
        self.classifier = nn.Linear(width, outputs)

    def features(self, x: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n a i j"], Float[Tensor, "n a i j"]]:
        """See Network; there is no auxiliary head."""
        out = self.groups(x)
        return out, out


class LayerGroup(nn.Module):
    """Layers side by side: [N, c_in, H, W] → [N, sum of their widths, ceil(H/stride), ceil(W/stride)].

    With a shortcut, what comes in is added before the activation (He et al. 2016, section 3.2): as it is, or through a
    1×1 convolution and a norm or the style's downsampling where its channels or its resolution differ.
    """

    def __init__(self, layers: tuple[Layer, ...], c_in: int, style: Style, *, residual: bool) -> None:
        super().__init__()
        stride = 2 if layers[0].kind in HALVING else 1
        self.layers = nn.ModuleList(_layer(layer, c_in, stride, style) for layer in layers)
        self.activation = style.activate()
        self.out_channels = sum(layer.width for layer in layers)
        self.shortcut = _shortcut(c_in, self.out_channels, stride, style.without_activation()) if residual else None

    def forward(self, x: Float[Tensor, "n c_in h w"]) -> Float[Tensor, "n c_out h2 w2"]:
        """See the class."""
        out = torch.cat([layer(x) for layer in self.layers], dim=1)
        if self.shortcut is not None:
            out = out + self.shortcut(x)
        result: Tensor = self.activation(out)
        return result


def _layer(layer: Layer, c_in: int, stride: int, style: Style) -> nn.Module:
    """The layer up to its norm; the activation follows for the whole group at once."""
    return nn.Sequential(*LAYERS[layer.kind](c_in, layer, stride, style.bias), style.normalise(layer.width))


def _shortcut(c_in: int, c_out: int, stride: int, style: Style) -> nn.Module:
    if stride == 2:
        return downsample(c_in, c_out, style)
    return nn.Identity() if c_in == c_out else ReLUConvBN(c_in, c_out, style)


def _convolution(c_in: int, layer: Layer, stride: int, bias: bool) -> list[nn.Module]:
    return [convolution(c_in, layer.width, layer.kernel, stride, bias=bias)]


def _separable(c_in: int, layer: Layer, stride: int, bias: bool) -> list[nn.Module]:
    return [Depthwise(c_in, layer.kernel, stride), Pointwise(c_in, layer.width, bias=bias)]


def _dilated(c_in: int, layer: Layer, stride: int, bias: bool) -> list[nn.Module]:
    return [convolution(c_in, layer.width, layer.kernel, stride, dilation=2, bias=bias)]


def _grouped(c_in: int, layer: Layer, stride: int, bias: bool) -> list[nn.Module]:
    return [grouped(c_in, layer.kernel, stride), Pointwise(c_in, layer.width, bias=bias)]


def _max_pool(c_in: int, layer: Layer, stride: int, bias: bool) -> list[nn.Module]:
    return [Pointwise(c_in, layer.width, bias=bias), nn.MaxPool2d(layer.kernel, stride, layer.kernel // 2)]


def _avg_pool(c_in: int, layer: Layer, stride: int, bias: bool) -> list[nn.Module]:
    pool = nn.AvgPool2d(layer.kernel, stride, layer.kernel // 2, count_include_pad=False)
    return [Pointwise(c_in, layer.width, bias=bias), pool]


LAYERS: Final[dict[str, Callable[[int, Layer, int, bool], list[nn.Module]]]] = {
    "conv": _convolution,
    "separable": _separable,
    "dilated": _dilated,
    "grouped": _grouped,
    "conv_down": _convolution,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
}
"""Kind → builder of (c_in, layer, stride, bias), up to the norm; the kinds of nas.space.layers.LAYER_KINDS."""
