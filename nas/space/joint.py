"""The joint space: the architecture together with fields of the frame and of the recipe that are open to search."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nas.space.candidate import Candidate
from nas.space.canonical import digest
from nas.space.distributions import Distribution, Value
from nas.space.layer_space import LayerSpace
from nas.space.parameters import ParameterSpace
from nas.space.space import CellSpace

SPACE, RECIPE = "space.", "recipe."


@dataclass(frozen=True, slots=True)
class FixedSpace(ParameterSpace[Candidate]):
    """A single architecture in its frame: what transfer starts from, and what only the recipe is searched for."""

    candidate: Candidate

    def digest(self, candidate: Candidate) -> str:
        """See Space."""
        return digest(candidate)

    def distributions(self) -> dict[str, Distribution]:
        """None."""
        return {}

    def values_of(self, candidate: Candidate) -> dict[str, Value]:
        """See ParameterSpace."""
        return {}

    def decode(self, values: Mapping[str, Any]) -> Candidate:
        """See Space."""
        return self.candidate


@dataclass(frozen=True, slots=True)
class JointSpace(ParameterSpace[Candidate]):
    """A space of architectures, with some fields of the frame and of the recipe chosen next to them.

    Attributes:
        base: the architectures, in the frame that holds where nothing else is chosen. What the candidate of a
            FixedSpace chose of the recipe itself does not count.
        parameters: what is open: `space.<field of Shape>` and `recipe.<field of Recipe>`, with their values.
    """

    base: CellSpace | LayerSpace | FixedSpace
    parameters: tuple[tuple[str, Distribution], ...]

    def digest(self, candidate: Candidate) -> str:
        """See Space."""
        return digest(candidate)

    def distributions(self) -> dict[str, Distribution]:
        """See Space: the architecture's parameters, then the others by their full names."""
        return dict(self.base.distributions()) | dict(self.parameters)

    def values_of(self, candidate: Candidate) -> dict[str, Value] | None:
        """See ParameterSpace."""
        values = self.base.values_of(candidate)
        if values is None:
            return None
        shape = {name: getattr(candidate.shape, name.removeprefix(SPACE)) for name in self._open(SPACE)}
        return values | shape | {RECIPE + name: value for name, value in candidate.recipe}

    def decode(self, values: Mapping[str, Any]) -> Candidate:
        """See Space."""
        candidate = self.base.decode(values)
        shape = {name.removeprefix(SPACE): values[name] for name in self._open(SPACE)}
        recipe = tuple((name.removeprefix(RECIPE), values[name]) for name in sorted(self._open(RECIPE)))
        # model_copy does not validate: the values come from distributions that were validated once, with the job.
        return replace(candidate, shape=candidate.shape.model_copy(update=shape), recipe=recipe)

    def _open(self, prefix: str) -> list[str]:
        return [name for name, _ in self.parameters if name.startswith(prefix)]
