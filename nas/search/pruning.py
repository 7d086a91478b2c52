"""The pruners by name: a visible table."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from nas.search.halving import Halving
from nas.search.hyperband import Hyperband
from nas.search.median import Median
from nas.search.options import PruningSpec
from nas.search.pruner import Pruner, Step, held_back
from nas.search.strategy import Observation

__all__ = ["PRUNERS", "Pruner", "Step", "Unpruned", "held_back", "make_pruner"]


class Unpruned:
    """Trains all trials to the end, in one go."""

    annealed: Final = False

    def stages(self, number: int, epochs: int) -> tuple[int, ...]:
        """See Pruner."""
        return (epochs,)

    def after(self, number: int, history: Sequence[Observation[Any]], epochs: int) -> Step:
        """See Pruner."""
        return Step.GO_ON

    def promote(self, history: Sequence[Observation[Any]], epochs: int, *, closing: bool) -> int | None:
        """See Pruner."""
        return None


PRUNERS: Final[dict[str, Callable[[PruningSpec], Pruner]]] = {
    "halving": lambda spec: Halving(spec.eta, spec.first),
    "hyperband": lambda spec: Hyperband(spec.eta, spec.first),
    "median": lambda spec: Median(),
    "none": lambda spec: Unpruned(),
}
"""Name → pruner; PruningSpec.method names them."""


def make_pruner(spec: PruningSpec) -> Pruner:
    """The pruner that a job asks for."""
    return PRUNERS[spec.method](spec)
