"""The operations of the cell space by name. No torch here: the builders with the same names are in nas.model.ops."""

from typing import Final

from nas import plugins

DARTS_OPERATIONS: Final = {
    "none": "no connection: the edge gives zeros",
    "max_pool_3x3": "3×3 max pooling",
    "avg_pool_3x3": "3×3 average pooling that leaves the padding out of the mean",
    "skip_connect": "identity; at stride 2 the shape's downsampling, by default a factorized reduction",
    "sep_conv_3x3": "separable convolution, 3×3, two rounds of ReLU, depthwise, pointwise, batch norm",
    "sep_conv_5x5": "separable convolution, 5×5, two rounds of ReLU, depthwise, pointwise, batch norm",
    "dil_conv_3x3": "dilated depthwise-separable convolution, 3×3 with dilation 2 (5×5 field of view)",
    "dil_conv_5x5": "dilated depthwise-separable convolution, 5×5 with dilation 2 (9×9 field of view)",
}
"""The eight operations of DARTS (Liu et al. 2019, section 3.1.1)."""

OPERATIONS: Final = DARTS_OPERATIONS | {
    "conv_1x1": "ReLU, 1×1 convolution, batch norm",
    "conv_3x3": "ReLU, 3×3 convolution, batch norm",
    "conv_5x5": "ReLU, 5×5 convolution, batch norm",
    "sep_conv_7x7": "separable convolution, 7×7, two rounds of ReLU, depthwise, pointwise, batch norm",
    "group_conv_3x3": "grouped 3×3 convolution (four groups), then a 1×1 convolution that mixes the groups",
    "group_conv_5x5": "grouped 5×5 convolution (four groups), then a 1×1 convolution that mixes the groups",
    "conv_7x1_1x7": "a 1×7 convolution, then a 7×1 convolution",
}
"""All operations that come with the project. Where they say ReLU or batch norm, the shape may say something else."""

DEFAULT_OPERATIONS: Final = tuple(name for name in DARTS_OPERATIONS if name != "none")
"""What a job searches over unless it says otherwise: `none` would only describe a smaller cell."""


def known_operations() -> dict[str, str]:
    """Name → summary of all operations there are: the project's and the user's own (nas.plugins)."""
    return OPERATIONS | {name: plugin.summary for name, plugin in plugins.operations().items()}
