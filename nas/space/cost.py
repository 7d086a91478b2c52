"""What a candidate costs before anything is built: parameters and multiply-accumulates, by formula. No torch.

The formulas mirror the modules in nas.model, part by part; tests hold them equal to what torch counts there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from nas.space.candidate import Candidate, ResidualNet
from nas.space.genotype import INPUTS, Cell, Genotype
from nas.space.layers import HALVING, LayerNet
from nas.space.layout import IMAGENET_STEM, is_reduction
from nas.space.shape import Downsample, Norm, Shape, Stem

Size: TypeAlias = tuple[int, int]
"""Height and width of a feature map."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Size and work of a network as it is exported: an auxiliary head, which only helps to train it, does not count.

    Attributes:
        params: trainable parameters.
        macs: multiply-accumulates of one image's forward pass, in convolutions and linear layers.
        exact: whether these are all; otherwise there are parts without a formula, and the numbers are lower bounds.
    """

    params: int
    macs: int
    exact: bool = True

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.params + other.params, self.macs + other.macs, self.exact and other.exact)


FREE: Final = Cost(0, 0)
UNKNOWN: Final = Cost(0, 0, exact=False)

STEM_WIDTH: Final[dict[Stem, int]] = {"cifar": 3, "imagenet": 1}
"""Channels that a stem makes, as a multiple of the first cell's."""

MOST_GROUPS: Final = 4
"""Groups of a grouped convolution, where the channels can be split into so many."""


def cost(candidate: Candidate, *, image: tuple[int, int, int], outputs: int) -> Cost:
    """The cost of a candidate, known in a fraction of a millisecond.

    With a user's own operation (nas.plugins) in it a lower bound: nas.model.cost_of counts those too.

    Args:
        candidate: cells, layers or the plain residual network.
        image: (channels, height, width).
        outputs: classes, labels or targets.
    """
    match candidate.architecture:
        case Genotype() as genotype:
            return _of_cells(genotype, candidate.shape, image, outputs)
        case LayerNet() as layers:
            return _of_layers(layers, candidate.shape, image, outputs)
        case ResidualNet() as residual:
            return _of_residual(residual, image, outputs)


class Place(NamedTuple):
    """Where an operation of a cell stands, as far as its cost goes; `size` is that of its input."""

    channels: int
    stride: int
    size: Size
    norm: Norm
    downsample: Downsample

    @property
    def out(self) -> Size:
        """The size of its output."""
        return strided(self.size, self.stride)


@lru_cache(maxsize=4096)
def operation(name: str, place: Place) -> Cost:
    """The cost of an operation of the cell space; UNKNOWN for one that is not the project's."""
    return OPERATION_COSTS[name](place) if name in OPERATION_COSTS else UNKNOWN


def positions(shape: Shape, image: tuple[int, int, int]) -> list[tuple[bool, int, Size]]:
    """For each cell of the network: whether it is a reduction cell, its channels, and the size of its inputs."""
    found, channels = [], shape.channels
    size = strided(image[1:], 2**IMAGENET_STEM if shape.stem == "imagenet" else 1)
    for reduction in is_reduction(shape):
        channels = 2 * channels if reduction else channels
        found.append((reduction, channels, size))
        size = strided(size, 2) if reduction else size
    return found


def layer(kind: str, c_in: int, width: int, kernel: int, size: Size, stride: int, norm: Norm) -> Cost:
    """The cost of one layer of a LayerNet, with its norm; `size` is that of its input."""
    if kind in POOLS:
        return _convolution(c_in, width, 1, size, norm)
    return LAYER_COSTS[kind](c_in, width, kernel, strided(size, stride)) + _norm(width, norm)


def group_stride(first: str) -> int:
    """The stride of a group of layers, by the kind of its first one."""
    return 2 if first in HALVING else 1


def shortcut(c_in: int, c_out: int, size: Size, stride: int, shape: Shape) -> Cost:
    """The cost of the residual skeleton's way around a cell or a group of layers; nothing in the other skeleton."""
    if shape.skeleton != "residual":
        return FREE
    if stride == 2:
        return _downsample(c_in, c_out, strided(size, 2), shape.norm, shape.downsample)
    return FREE if c_in == c_out else _convolution(c_in, c_out, 1, size, shape.norm)


def strided(size: Size, stride: int) -> Size:
    """The size after a stride."""
    return -(-size[0] // stride), -(-size[1] // stride)


def classifier(c_in: int, outputs: int) -> Cost:
    """The cost of the linear layer at the end."""
    return Cost((c_in + 1) * outputs, c_in * outputs)


def _of_cells(genotype: Genotype, shape: Shape, image: tuple[int, int, int], outputs: int) -> Cost:
    total = _stem(shape, image)
    older = newer = STEM_WIDTH[shape.stem] * shape.channels
    halved = shape.stem == "imagenet"
    inside: dict[tuple[bool, int, Size], Cost] = {}
    for position in positions(shape, image):
        reduction, channels, size = position
        cell = genotype.reduce if reduction else genotype.normal
        if position not in inside:
            inside[position] = _nodes(cell, shape, reduction, channels, size)
        if halved:
            total += _downsample(older, channels, size, shape.norm, shape.downsample)
        else:
            total += _convolution(older, channels, 1, size, shape.norm)
        width = channels * len(cell.concat)
        total += _convolution(newer, channels, 1, size, shape.norm)
        total += inside[position] + shortcut(newer, width, size, 2 if reduction else 1, shape)
        older, newer, halved = newer, width, reduction
    return total + classifier(newer, outputs)


def _stem(shape: Shape, image: tuple[int, int, int]) -> Cost:
    if shape.stem == "cifar":
        return _convolution(image[0], STEM_WIDTH["cifar"] * shape.channels, 3, image[1:], shape.norm)
    half = strided(image[1:], 2)
    quarter = strided(half, 2)
    few, many = max(1, shape.channels // 2), shape.channels
    return (
        _convolution(image[0], few, 3, half, shape.norm)
        + _convolution(few, many, 3, quarter, shape.norm)
        + _convolution(many, many, 3, strided(quarter, 2), shape.norm)
    )


def _nodes(cell: Cell, shape: Shape, reduction: bool, channels: int, size: Size) -> Cost:
    """Operations and merges of a cell, whose inputs have that size."""
    out = strided(size, 2) if reduction else size
    outside = Place(channels, 2 if reduction else 1, size, shape.norm, shape.downsample)
    inside = Place(channels, 1, out, shape.norm, shape.downsample)
    total = FREE
    for edges in cell.nodes:
        for edge in edges:
            total += operation(edge.op, outside if edge.source < INPUTS else inside)
        if shape.merge == "concat" and len(edges) > 1:
            total += _convolution(len(edges) * channels, channels, 1, out, shape.norm)
        elif shape.merge == "weighted":
            total += Cost(len(edges), 0)
    return total


def _of_layers(network: LayerNet, shape: Shape, image: tuple[int, int, int], outputs: int) -> Cost:
    total, c_in, size = FREE, image[0], image[1:]
    for group in network.groups():
        stride = group_stride(group[0].kind)
        for found in group:
            total += layer(found.kind, c_in, found.width, found.kernel, size, stride, shape.norm)
        width = sum(found.width for found in group)
        total += shortcut(c_in, width, size, stride, shape)
        c_in, size = width, strided(size, stride)
    return total + classifier(c_in, outputs)


def _of_residual(network: ResidualNet, image: tuple[int, int, int], outputs: int) -> Cost:
    c_in, size = network.width, image[1:]
    total = _convolution(image[0], c_in, 3, size, "batch")
    for stage in range(3):
        width = network.width * 2**stage
        for block in range(network.blocks):
            if stage > 0 and block == 0:
                size = strided(size, 2)
                total += _convolution(c_in, width, 1, size, "batch")
            total += _convolution(c_in, width, 3, size, "batch") + _convolution(width, width, 3, size, "batch")
            c_in = width
    return total + classifier(c_in, outputs)


def _weights(count: int, out: Size) -> Cost:
    """A convolution of so many weights, each of which is used once for every pixel of the output."""
    return Cost(count, count * out[0] * out[1])


def _norm(channels: int, norm: Norm) -> Cost:
    return Cost(PARAMS_A_CHANNEL[norm] * channels, 0)


def _convolution(c_in: int, c_out: int, kernel: int, out: Size, norm: Norm) -> Cost:
    return _weights(c_in * c_out * kernel**2, out) + _norm(c_out, norm)


def _grouped(channels: int, kernel: int, out: Size) -> Cost:
    groups = max(number for number in range(1, MOST_GROUPS + 1) if channels % number == 0)
    return _weights(channels**2 // groups * kernel**2, out)


def _downsample(c_in: int, c_out: int, out: Size, norm: Norm, downsample: Downsample) -> Cost:
    if downsample in ("max_pool", "avg_pool") and c_in == c_out:
        return FREE
    return _convolution(c_in, c_out, 3 if downsample == "conv" else 1, out, norm)


def _free(place: Place) -> Cost:
    return FREE


def _skip(place: Place) -> Cost:
    if place.stride == 1:
        return FREE
    return _downsample(place.channels, place.channels, place.out, place.norm, place.downsample)


def _plain(kernel: int) -> Callable[[Place], Cost]:
    return lambda place: _convolution(place.channels, place.channels, kernel, place.out, place.norm)


def _separable(kernel: int, rounds: int) -> Callable[[Place], Cost]:
    def found(place: Place) -> Cost:
        pointwise = _convolution(place.channels, place.channels, 1, place.out, place.norm)
        one = _weights(place.channels * kernel**2, place.out) + pointwise
        return one + one if rounds == 2 else one

    return found


def _group(kernel: int) -> Callable[[Place], Cost]:
    return lambda place: (
        _grouped(place.channels, kernel, place.out)
        + _convolution(place.channels, place.channels, 1, place.out, place.norm)
    )


def _conv_7x1_1x7(place: Place) -> Cost:
    weights, wide = 7 * place.channels**2, (place.size[0], place.out[1])
    return _weights(weights, wide) + _weights(weights, place.out) + _norm(place.channels, place.norm)


PARAMS_A_CHANNEL: Final[dict[Norm, int]] = {"batch": 2, "batch_fixed": 0, "group": 2, "none": 1}
"""Trainable parameters of a norm; without one, of the bias that the convolution before it has instead."""

OPERATION_COSTS: Final[dict[str, Callable[[Place], Cost]]] = {
    "none": _free,
    "max_pool_3x3": _free,
    "avg_pool_3x3": _free,
    "skip_connect": _skip,
    "conv_1x1": _plain(1),
    "conv_3x3": _plain(3),
    "conv_5x5": _plain(5),
    "sep_conv_3x3": _separable(3, rounds=2),
    "sep_conv_5x5": _separable(5, rounds=2),
    "sep_conv_7x7": _separable(7, rounds=2),
    "dil_conv_3x3": _separable(3, rounds=1),
    "dil_conv_5x5": _separable(5, rounds=1),
    "group_conv_3x3": _group(3),
    "group_conv_5x5": _group(5),
    "conv_7x1_1x7": _conv_7x1_1x7,
}
"""Name → formula, for the names in nas.space.operations."""

POOLS: Final = ("max_pool", "avg_pool")

LAYER_COSTS: Final[dict[str, Callable[[int, int, int, Size], Cost]]] = {
    "conv": lambda c_in, width, kernel, out: _weights(c_in * width * kernel**2, out),
    "separable": lambda c_in, width, kernel, out: _weights(c_in * kernel**2, out) + _weights(c_in * width, out),
    "dilated": lambda c_in, width, kernel, out: _weights(c_in * width * kernel**2, out),
    "grouped": lambda c_in, width, kernel, out: _grouped(c_in, kernel, out) + _weights(c_in * width, out),
    "conv_down": lambda c_in, width, kernel, out: _weights(c_in * width * kernel**2, out),
}
"""Kind → formula of (channels in, width, kernel, size of the output), for the layers that are no pools."""
