"""Networks designed layer by layer: a chain of layers, some of them side by side."""

from dataclasses import dataclass
from typing import Any, Final, Self

from nas.errors import GenotypeError

LAYER_KINDS: Final = {
    "conv": "convolution",
    "separable": "separable convolution: depthwise, then pointwise",
    "dilated": "convolution with dilation 2",
    "grouped": "grouped convolution, then a 1×1 convolution that mixes the groups",
    "conv_down": "convolution with stride 2",
    "max_pool": "1×1 convolution to the width, then max pooling with stride 2",
    "avg_pool": "1×1 convolution to the width, then average pooling with stride 2",
}
"""What a layer can be; all end with the shape's norm and activation."""

HALVING: Final = ("conv_down", "max_pool", "avg_pool")
"""Kinds that have stride 2, and give it to the layers beside them, where they are the first of their group."""

MAX_LAYERS = 128
MAX_WIDTH = 4096
KERNELS: Final = (1, 3, 5, 7)


@dataclass(frozen=True, slots=True, order=True)
class Layer:
    """One layer.

    Attributes:
        kind: one of LAYER_KINDS.
        width: channels of its output.
        kernel: side of its kernel (of the pooling window for pools).
        parallel: whether it stands beside the layer before it: it takes the same input, has the same stride (the
            kind of the first of the group says which), and their outputs are concatenated.

    Raises:
        GenotypeError: a kind, width or kernel that there is not.
    """

    kind: str
    width: int
    kernel: int = 3
    parallel: bool = False

    def __post_init__(self) -> None:
        if self.kind not in LAYER_KINDS:
            raise GenotypeError("layers.kind", self.kind, f"the kinds are {', '.join(LAYER_KINDS)}")
        if type(self.width) is not int or not 1 <= self.width <= MAX_WIDTH:
            raise GenotypeError("layers.width", self.width, f"a layer has 1 to {MAX_WIDTH} channels")
        if type(self.kernel) is not int or self.kernel not in KERNELS:
            raise GenotypeError("layers.kernel", self.kernel, f"a kernel is one of {', '.join(map(str, KERNELS))}")
        if type(self.parallel) is not bool:
            raise GenotypeError("layers.parallel", self.parallel, "true or false")


@dataclass(frozen=True, slots=True)
class LayerNet:
    """A network as a chain of layers, global average pooling and a linear classifier at its end.

    Raises:
        GenotypeError: no layers, too many, or a first one that stands beside nothing.
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.layers) <= MAX_LAYERS:
            raise GenotypeError("layers", len(self.layers), f"a network has 1 to {MAX_LAYERS} layers")
        if self.layers[0].parallel:
            raise GenotypeError("layers.parallel", True, "the first layer has none before it to stand beside")

    def groups(self) -> tuple[tuple[Layer, ...], ...]:
        """The layers in series, each with those that stand beside it."""
        found: list[list[Layer]] = []
        for layer in self.layers:
            if layer.parallel:
                found[-1].append(layer)
            else:
                found.append([layer])
        return tuple(map(tuple, found))

    def to_json(self) -> list[list[Any]]:
        """As `[[kind, width, kernel, parallel], …]`."""
        return [[layer.kind, layer.width, layer.kernel, layer.parallel] for layer in self.layers]

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """The inverse of to_json. Raises GenotypeError for anything else."""
        form = "[[kind, width, kernel, parallel], …]"
        if not isinstance(data, list) or not all(isinstance(entry, list) and len(entry) == 4 for entry in data):
            raise GenotypeError("layers", data, form)
        try:
            return cls(tuple(Layer(*entry) for entry in data))
        except TypeError as error:
            raise GenotypeError("layers", data, form) from error
