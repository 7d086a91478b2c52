"""The space of whole networks, designed layer by layer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nas.space.candidate import Candidate
from nas.space.canonical import digest
from nas.space.distributions import Categorical, Distribution, Integer, Value
from nas.space.layers import LAYER_KINDS, Layer, LayerNet
from nas.space.parameters import ParameterSpace
from nas.space.shape import Shape


@dataclass(frozen=True, slots=True)
class LayerSpace(ParameterSpace[Candidate]):
    """All chains of `fewest` to `most` layers.

    Attributes:
        kinds: kinds that a layer may have.
        fewest, most: how many layers.
        narrowest, widest: channels of a layer, on a logarithmic scale.
        kernels: sides of a kernel.
        parallel: whether a layer may stand beside the one before it.
        shape: the frame; of it norm, activation, dropout and the shortcuts of the residual skeleton apply.
    """

    kinds: tuple[str, ...] = tuple(LAYER_KINDS)
    fewest: int = 3
    most: int = 8
    narrowest: int = 16
    widest: int = 256
    kernels: tuple[int, ...] = (3, 5)
    parallel: bool = True
    shape: Shape = field(default_factory=Shape)

    def digest(self, candidate: Candidate) -> str:
        """See Space."""
        return digest(candidate)

    def distributions(self) -> dict[str, Distribution]:
        """The number of layers, and for each of as many as there may be: kind, width, kernel, whether beside the last.

        The parameters of layers that a shorter network has not are without effect.
        """
        found: dict[str, Distribution] = {"layers": Integer(self.fewest, self.most)}
        for index in range(self.most):
            found[f"layer.{index}.kind"] = Categorical(self.kinds)
            found[f"layer.{index}.width"] = Integer(self.narrowest, self.widest, log=True)
            found[f"layer.{index}.kernel"] = Categorical(self.kernels)
            if self.parallel and index > 0:
                found[f"layer.{index}.parallel"] = Categorical((False, True))
        return found

    def values_of(self, candidate: Candidate) -> dict[str, Value] | None:
        """See ParameterSpace."""
        network = candidate.architecture
        if not isinstance(network, LayerNet):
            return None
        found: dict[str, Value] = {"layers": len(network.layers)}
        absent = Layer(self.kinds[0], self.narrowest, self.kernels[0])
        layers = network.layers + (absent,) * (self.most - len(network.layers))
        for index, layer in enumerate(layers):
            found[f"layer.{index}.kind"] = layer.kind
            found[f"layer.{index}.width"] = layer.width
            found[f"layer.{index}.kernel"] = layer.kernel
            if self.parallel and index > 0:
                found[f"layer.{index}.parallel"] = layer.parallel
        return found

    def decode(self, values: Mapping[str, Any]) -> Candidate:
        """See Space."""
        layers = tuple(
            Layer(
                values[f"layer.{index}.kind"],
                values[f"layer.{index}.width"],
                values[f"layer.{index}.kernel"],
                values.get(f"layer.{index}.parallel", False),
            )
            for index in range(values["layers"])
        )
        return Candidate(LayerNet(layers), self.shape)
