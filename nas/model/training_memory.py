"""How much of a device's memory the training of a candidate takes, by formula, before anything is built. No torch.

Most of it is what a forward pass keeps for the backward pass. The networks of nas.model are walked through on paper
(nas.model.walk), as they run on a device whose operations are all torch's own. Tests hold what is saved equal to what
torch's saved_tensors_hooks see, and the peak close to what a step of training is found to hold.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from nas.model.walk import FLOAT_BYTES, Map, Walk
from nas.space.candidate import Candidate, ResidualNet
from nas.space.cost import PARAMS_A_CHANNEL, POOLS, STEM_WIDTH, Size, cost, group_stride, strided
from nas.space.genotype import INPUTS, Cell, Genotype
from nas.space.layers import Layer, LayerNet
from nas.space.layout import is_reduction
from nas.space.shape import Shape

EVALUATION_BATCH: Final = 512
"""Images of a forward pass of the validation, as in nas.train.loop."""

IN_FLIGHT: Final = 3
"""Gradients as large as the largest map that are there at once in the backward pass, beside what is saved."""

WORKSPACE_BYTES: Final = 64 * 2**20
"""Scratch space of the libraries for each training: up to 32 MiB of cuBLAS a stream, and some of cuDNN."""


@dataclass(frozen=True, slots=True)
class TrainingMemory:
    """What a training takes of its device, in bytes, beside the data set.

    Attributes:
        weights: the network, its gradients, what the optimizer keeps, and copies of the network.
        saved: what a batch's forward pass keeps for the backward pass.
        passing: what is there for moments: gradients of maps and the batch, or a validation's maps if they are more.
    """

    weights: int
    saved: int
    passing: int

    @property
    def peak_bytes(self) -> int:
        """The most that is there at one moment, without the scratch space of libraries."""
        return self.weights + self.saved + self.passing


def training_memory(
    candidate: Candidate,
    *,
    image: tuple[int, int, int],
    outputs: int,
    batch_size: int,
    value_bytes: int = FLOAT_BYTES,
    slots: int = 1,
    copies: int = 0,
) -> TrainingMemory | None:
    """What training takes; None with a user's own operation in the network, which nobody has a formula for.

    Args:
        candidate: cells, layers or the plain residual network.
        image: (channels, height, width).
        outputs: classes, labels or targets.
        batch_size: images a forward pass.
        value_bytes: of what a convolution computes: 4, or 2 where the precision is lowered.
        slots: numbers that the optimizer keeps for each weight.
        copies: of the network that stay on the device besides: averages, and the best epoch's.
    """
    size = cost(candidate, image=image, outputs=outputs)
    if not size.exact:
        return None
    walk, head = _walked(candidate, image, outputs, value_bytes)
    params = size.params + head
    lowered = value_bytes if value_bytes < FLOAT_BYTES else 0  # the weights as they are computed with
    weights = params * (FLOAT_BYTES * (2 + slots + copies) + lowered)
    batch_bytes = 3 * FLOAT_BYTES * batch_size * image[0] * image[1] * image[2]  # normalised, shifted, as it is used
    backward = IN_FLIGHT * batch_size * walk.widest_bytes + batch_bytes
    validation = EVALUATION_BATCH * (walk.alive_bytes + FLOAT_BYTES * image[0] * image[1] * image[2])
    saved = batch_size * walk.saved_bytes
    return TrainingMemory(weights, saved, max(backward, validation - saved))


def saved_bytes(candidate: Candidate, *, image: tuple[int, int, int], value_bytes: int = FLOAT_BYTES) -> int:
    """What the forward pass keeps of the maps of one image; the classifier's few numbers are left out."""
    return _walked(candidate, image, 1, value_bytes)[0].saved_bytes


def _walked(candidate: Candidate, image: tuple[int, int, int], outputs: int, low: int) -> tuple[Walk, int]:
    """The walk, and the parameters of an auxiliary head, which nas.space.cost leaves out."""
    shape, x = candidate.shape, Map(image[0], image[1:], FLOAT_BYTES)
    match candidate.architecture:
        case Genotype() as genotype:
            walk = Walk(low, shape.activation, shape.norm)
            return walk, _cells(walk, genotype, shape, x, outputs)
        case LayerNet() as layers:
            walk = Walk(low, shape.activation, shape.norm)
            _layers(walk, layers, shape, x)
        case ResidualNet() as residual:
            walk = Walk(low, "relu", "batch")
            _residual(walk, residual, x)
    return walk, 0


def _cells(walk: Walk, genotype: Genotype, shape: Shape, image: Map, outputs: int) -> int:
    s0, s1, halved = _stem(walk, shape, image)
    kinds, channels, middle = is_reduction(shape), shape.channels, s1
    for index, reduction in enumerate(kinds):
        channels = 2 * channels if reduction else channels
        older = _downsample(walk, shape, s0, channels) if halved else walk.block(s0, channels, s0.size)
        states = [older, walk.block(s1, channels, s1.size)]
        out = _cell(walk, genotype.reduce if reduction else genotype.normal, shape, states, reduction=reduction)
        walk.alive(s0, s1, *states, *states[:2], out)  # the first two once more: an operation's own maps
        s0, s1, halved = s1, _skeleton(walk, shape, s1, out, 2 if reduction else 1), reduction
        middle = s1 if index == min(2 * shape.cells // 3, len(kinds) - 1) else middle
    return _auxiliary(walk, shape, middle, outputs) if shape.auxiliary > 0 else 0


def _stem(walk: Walk, shape: Shape, image: Map) -> tuple[Map, Map, bool]:
    if shape.stem == "cifar":
        out = walk.normalise(walk.convolve(image, STEM_WIDTH["cifar"] * shape.channels, image.size))
        return out, out, False
    half = strided(image.size, 2)
    few = walk.normalise(walk.convolve(image, max(1, shape.channels // 2), half))
    walk.alive(few, walk.copy(few))
    quarter = walk.block(few, shape.channels, strided(half, 2))
    return quarter, walk.block(quarter, shape.channels, strided(quarter.size, 2)), True


def _cell(walk: Walk, cell: Cell, shape: Shape, states: list[Map], *, reduction: bool) -> Map:
    """Adds the nodes to the states, and gives what comes out."""
    for edges in cell.nodes:
        terms = []
        for edge in edges:
            stride = 2 if reduction and edge.source < INPUTS else 1
            terms.append(_operation(walk, edge.op, shape, states[edge.source], stride))
        states.append(_merge(walk, shape, terms))
    return walk.join([states[index] for index in cell.concat])


def _skeleton(walk: Walk, shape: Shape, x: Map, out: Map, stride: int) -> Map:
    """What comes out of a cell or a group of layers, with the shortcut of the residual skeleton."""
    if shape.skeleton != "residual":
        return out
    if stride == 2:
        return walk.add([out, _downsample(walk, shape, x, out.channels)])
    return walk.add([out, x if x.channels == out.channels else walk.block(x, out.channels, x.size)])


def _merge(walk: Walk, shape: Shape, terms: list[Map]) -> Map:
    match shape.merge:
        case "concat":
            joined = walk.join(terms)
            if len(terms) == 1:
                return joined
            return walk.normalise(walk.convolve(joined, terms[0].channels, joined.size))
        case "weighted":
            for term in terms:
                walk.save(term)
            return walk.copy(terms[0])
        case _:
            return walk.add(terms)


def _downsample(walk: Walk, shape: Shape, x: Map, channels: int) -> Map:
    half = strided(x.size, 2)
    if shape.downsample == "conv":
        return walk.block(x, channels, half)
    if shape.downsample == "factorized":
        parts = [channels // 2, channels - channels // 2] if channels > 1 else [channels]
        sides = [walk.convolve(walk.activate(walk.copy(x, half)), part, half) for part in parts]
        return walk.normalise(walk.join(sides))
    pooled = walk.pool(x, half, largest=shape.downsample == "max_pool")
    return pooled if x.channels == channels else walk.block(pooled, channels, half)


def _operation(walk: Walk, name: str, shape: Shape, x: Map, stride: int) -> Map:
    size = strided(x.size, stride)
    match name:
        case "none":
            return walk.copy(x, size)
        case "skip_connect":
            return x if stride == 1 else _downsample(walk, shape, x, x.channels)
        case "max_pool_3x3" | "avg_pool_3x3":
            return walk.pool(x, size, largest=name.startswith("max"))
        case "conv_1x1" if stride == 2:  # it sees one pixel in four, as a map of its own
            return walk.normalise(walk.convolve(walk.copy(walk.activate(x), size), x.channels, size))
    return CONVOLUTIONS[name](walk, x, size)


def _twofold(walk: Walk, x: Map, size: Size) -> Map:
    """Activation, two convolutions, norm."""
    inner = walk.convolve(walk.activate(x), x.channels, size)
    return walk.normalise(walk.convolve(inner, x.channels, size))


def _separable(walk: Walk, x: Map, size: Size) -> Map:
    return _twofold(walk, _twofold(walk, x, size), size)


def _rows_and_columns(walk: Walk, x: Map, size: Size) -> Map:
    inner = walk.convolve(walk.activate(x), x.channels, (x.size[0], size[1]))
    return walk.normalise(walk.convolve(inner, x.channels, size))


def _single(walk: Walk, x: Map, size: Size) -> Map:
    return walk.block(x, x.channels, size)


CONVOLUTIONS: Final[dict[str, Callable[[Walk, Map, Size], Map]]] = {
    "conv_1x1": _single,
    "conv_3x3": _single,
    "conv_5x5": _single,
    "sep_conv_3x3": _separable,
    "sep_conv_5x5": _separable,
    "sep_conv_7x7": _separable,
    "dil_conv_3x3": _twofold,
    "dil_conv_5x5": _twofold,
    "group_conv_3x3": _twofold,
    "group_conv_5x5": _twofold,
    "conv_7x1_1x7": _rows_and_columns,
}
"""Name → what an operation with a convolution makes of (a map, the size of its output)."""


def _auxiliary(walk: Walk, shape: Shape, x: Map, outputs: int) -> int:
    few = walk.convolve(walk.pool(walk.activate(x), (2, 2), largest=False), 128, (2, 2))
    last = walk.convolve(walk.activate(walk.normalise(few)), 768, (1, 1))
    second = shape.stem != "imagenet" or shape.norm == "none"
    walk.save(walk.activate(walk.normalise(last) if second else last))
    a_channel = PARAMS_A_CHANNEL[shape.norm]
    norms = a_channel * (128 + (768 if second else 0))
    return x.channels * 128 + 128 * 768 * 4 + norms + 769 * outputs


def _layers(walk: Walk, network: LayerNet, shape: Shape, x: Map) -> None:
    walk.activation = "identity"  # between the groups all is activated; within them nothing is
    for group in network.groups():
        stride = group_stride(group[0].kind)
        made: list[Map] = []
        for layer in group:
            made.append(_layer(walk, layer, x, stride, made))
        joined = walk.join(made)
        walk.alive(x, joined, *((joined,) if shape.skeleton == "stacked" else (joined, joined)))
        x = walk.activate(_skeleton(walk, shape, x, joined, stride), shape.activation)


def _layer(walk: Walk, layer: Layer, x: Map, stride: int, beside: list[Map]) -> Map:
    """The layer up to its norm; `beside` is what others of its group have made by then."""
    size = strided(x.size, stride)
    if layer.kind in POOLS:
        wide = walk.convolve(x, layer.width, x.size)
        pooled = walk.pool(wide, size, largest=layer.kind == "max_pool")
        walk.alive(x, wide, pooled, pooled, *beside)
        return walk.normalise(pooled)
    if layer.kind in ("separable", "grouped"):
        x = walk.convolve(x, x.channels, size)
    elif layer.kernel == 1 and stride == 2:
        x = walk.copy(x, size)
    out = walk.convolve(x, layer.width, size)
    walk.alive(x, out, out, *beside)
    return walk.normalise(out)


def _residual(walk: Walk, network: ResidualNet, x: Map) -> None:
    x = walk.activate(walk.normalise(walk.convolve(x, network.width, x.size)))
    for stage in range(3):
        width = network.width * 2**stage
        for block in range(network.blocks):
            size = strided(x.size, 2 if stage > 0 and block == 0 else 1)
            inner = walk.normalise(walk.convolve(x, width, size))
            out = walk.normalise(walk.convolve(walk.activate(inner), width, size))
            walk.alive(x, inner, out)
            if x.channels != width or size != x.size:
                x = walk.normalise(walk.convolve(walk.copy(x, size), width, size))
            x = walk.activate(walk.add([out, x]))
