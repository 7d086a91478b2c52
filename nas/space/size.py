"""How many candidates a space holds."""

import math
from dataclasses import dataclass

from nas.space.distributions import Categorical, Distribution, Integer
from nas.space.joint import FixedSpace, JointSpace
from nas.space.layer_space import LayerSpace
from nas.space.parameters import has_choice
from nas.space.smallest import SearchSpace
from nas.space.space import CellSpace


@dataclass(frozen=True, slots=True)
class Size:
    """Of a space.

    Attributes:
        candidates: different ones, by what is countable of them; some of cells may be the same network drawn otherwise.
        real: names of the parameters beside that, which may be any number of a range.
    """

    candidates: int
    real: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As `1,234` or `10^18`, and `× lr` for a parameter that cannot be counted."""
        power = math.log10(self.candidates)
        counted = f"{self.candidates:,}" if self.candidates < 10**6 else f"10^{power:.0f}"
        return " × ".join((counted, *(name.rpartition(".")[2] for name in self.real)))


def size(space: SearchSpace) -> Size:
    """How many candidates there are; of chains of layers, what a layer that is not there would be does not count."""
    match space:
        case FixedSpace():
            return Size(1)
        case CellSpace():
            return Size(math.prod(map(_values, space.distributions().values())))
        case LayerSpace():
            return Size(_chains(space))
        case JointSpace():
            open_ = dict(space.parameters)
            real = tuple(name for name, found in open_.items() if has_choice(found) and not _countable(found))
            counted = (_values(found) for found in open_.values() if _countable(found))
            return Size(size(space.base).candidates * math.prod(counted), real)


def _chains(space: LayerSpace) -> int:
    one = len(space.kinds) * (space.widest - space.narrowest + 1) * len(space.kernels)
    further = one * (2 if space.parallel else 1)
    return sum(one * further ** (count - 1) for count in range(space.fewest, space.most + 1))


def _countable(found: Distribution) -> bool:
    return isinstance(found, Categorical | Integer)


def _values(found: Distribution) -> int:
    if isinstance(found, Categorical):
        return len(found.choices)
    return int(found.high) - int(found.low) + 1
