"""The operations of the cell space by name. No torch here: the builders with the same names are in nas.model.ops."""

from typing import Final

DARTS_OPERATIONS: Final = {
    "none": "no connection: the edge gives zeros",
    "max_pool_3x3": "3×3 max pooling",
    "avg_pool_3x3": "3×3 average pooling that leaves the padding out of the mean",
    "skip_connect": "identity; at stride 2 a factorized reduction (two offset 1×1 convolutions)",
    "sep_conv_3x3": "separable convolution, 3×3, two rounds of ReLU, depthwise, pointwise, batch norm",
    "sep_conv_5x5": "separable convolution, 5×5, two rounds of ReLU, depthwise, pointwise, batch norm",
    "dil_conv_3x3": "dilated depthwise-separable convolution, 3×3 with dilation 2 (5×5 field of view)",
    "dil_conv_5x5": "dilated depthwise-separable convolution, 5×5 with dilation 2 (9×9 field of view)",
}
"""The eight operations of DARTS (Liu et al. 2019, section 3.1.1)."""

OPERATIONS: Final = DARTS_OPERATIONS | {
    "sep_conv_7x7": "separable convolution, 7×7, two rounds of ReLU, depthwise, pointwise, batch norm",
    "conv_7x1_1x7": "a 1×7 convolution, then a 7×1 convolution",
}
"""All operations: DARTS's eight, and the two more that the published NASNet and AmoebaNet cells need."""

DEFAULT_OPERATIONS: Final = tuple(name for name in DARTS_OPERATIONS if name != "none")
"""What a job searches over unless it says otherwise: `none` would only describe a smaller cell."""
