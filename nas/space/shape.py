"""What a network is besides the graph of its cells: how many there are, how wide, how joined, with what between."""

from typing import Final, Literal

from pydantic import Field

from nas.strict import Strict

Skeleton = Literal["stacked", "residual"]
Stem = Literal["cifar", "imagenet"]
Merge = Literal["sum", "concat", "weighted"]
Activation = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "hardswish"]
Norm = Literal["batch", "batch_fixed", "group", "none"]
Downsample = Literal["factorized", "max_pool", "avg_pool", "conv"]


CELLS_ONLY: Final = ("channels", "cells", "tail", "stem", "merge", "drop_path", "auxiliary")
"""Fields that mean something to networks of cells alone."""


class Shape(Strict):
    """The frame around the cells. The defaults are those of Liu et al. 2019, made small."""

    channels: int = Field(8, ge=1, le=256, description="channels of the first cell; each reduction doubles them")
    cells: int = Field(4, ge=1, le=40, description="cells in the network, with reductions at 1/3 and 2/3 of the depth")
    tail: int = Field(0, ge=-40, le=40, description="normal cells added at the end; negative: last cells left out")
    skeleton: Skeleton = Field("stacked", description="residual: a shortcut around each cell, as in a ResNet")
    stem: Stem = Field("cifar", description="cifar: one 3×3 convolution; imagenet: three that leave an eighth")
    merge: Merge = Field("sum", description="of a node's inputs; concat: and a 1×1 convolution; weighted: learned sum")
    activation: Activation = Field("relu", description="before convolutions")
    norm: Norm = Field("batch", description="after convolutions; batch_fixed: batch norm without scale and offset")
    downsample: Downsample = Field("factorized", description="how an identity or a cell's input is halved")
    dropout: float = Field(0.0, ge=0, le=0.9, description="share of the features dropped before the classifier")
    drop_path: float = Field(0.0, ge=0, le=0.9, description="probability that an edge is dropped for an image")
    auxiliary: float = Field(0.0, ge=0, le=1, description="weight of an auxiliary head's loss; 0: no such head")
