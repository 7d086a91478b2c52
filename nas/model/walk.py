"""A network on paper: which maps its parts make of each other, and which of them autograd keeps. No torch."""

from dataclasses import dataclass, field
from typing import Final

from nas.space.cost import Size

FLOAT_BYTES: Final = 4

INDEX_BYTES: Final = 8
"""Of a max pool, for each value of its output."""


@dataclass(frozen=True, eq=False, slots=True)
class Map:
    """A feature map of one image."""

    channels: int
    size: Size
    value_bytes: int

    @property
    def bytes(self) -> int:
        """Of all its values."""
        return self.channels * self.size[0] * self.size[1] * self.value_bytes


@dataclass(eq=False, slots=True)
class Walk:
    """A walk through a network: each part takes maps and gives one, and what autograd saves on the way is counted.

    Attributes:
        low: bytes of a value that a convolution computes.
        activation, norm: of the network, as in nas.space.shape.
        saved_bytes: of one image.
        widest_bytes: of the largest map.
        alive_bytes: about what one image takes at once in a forward pass that saves nothing.
    """

    low: int
    activation: str
    norm: str
    saved_bytes: int = 0
    widest_bytes: int = 0
    alive_bytes: int = 0
    _saved: dict[int, Map] = field(default_factory=dict)  # the maps too, so that no other one gets the id

    def save(self, x: Map) -> None:
        """Counts a map, once, however many look at it."""
        if id(x) not in self._saved:
            self._saved[id(x)] = x
            self.saved_bytes += x.bytes

    def make(self, channels: int, size: Size, value_bytes: int) -> Map:
        """A map that is computed."""
        made = Map(channels, size, value_bytes)
        self.widest_bytes = max(self.widest_bytes, made.bytes)
        return made

    def copy(self, x: Map, size: Size | None = None) -> Map:
        """A map like another one, or as many channels of another size."""
        return self.make(x.channels, size or x.size, x.value_bytes)

    def alive(self, *maps: Map) -> None:
        """Notes that these are there at once."""
        self.alive_bytes = max(self.alive_bytes, sum(x.bytes for x in maps))

    def activate(self, x: Map, activation: str | None = None) -> Map:
        """ReLU saves what it gives, all others what they take; another one than the network's may be named."""
        name = activation or self.activation
        if name == "identity":
            return x
        out = self.copy(x)
        self.save(out if name == "relu" else x)
        return out

    def convolve(self, x: Map, channels: int, size: Size) -> Map:
        """Saves what it takes, in the format that it computes in."""
        self.save(x if x.value_bytes == self.low else self.make(x.channels, x.size, self.low))
        return self.make(channels, size, self.low)

    def normalise(self, x: Map) -> Map:
        """Saves what it takes; group norms compute in float32."""
        if self.norm == "none":
            return x
        if self.norm == "group" and x.value_bytes != FLOAT_BYTES:
            x = self.make(x.channels, x.size, FLOAT_BYTES)
        self.save(x)
        return self.copy(x)

    def block(self, x: Map, channels: int, size: Size) -> Map:
        """Activation, convolution, norm."""
        return self.normalise(self.convolve(self.activate(x), channels, size))

    def pool(self, x: Map, size: Size, *, largest: bool) -> Map:
        """Saves what it takes, and where the largest values were."""
        self.save(x)
        if largest:
            self.save(self.make(x.channels, size, INDEX_BYTES))
        return self.copy(x, size)

    def join(self, maps: list[Map]) -> Map:
        """Beside each other, as one map; nothing is saved."""
        return self.make(sum(x.channels for x in maps), maps[0].size, max(x.value_bytes for x in maps))

    def add(self, maps: list[Map]) -> Map:
        """Their sum; nothing is saved."""
        if len(maps) == 1:
            return maps[0]
        return self.make(maps[0].channels, maps[0].size, max(x.value_bytes for x in maps))
