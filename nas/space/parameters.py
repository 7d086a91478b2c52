"""What follows for every space from its parameters: drawing, mutating and walking to neighbours."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from nas.space.distributions import Categorical, Distribution, Value

C = TypeVar("C")

TRIES = 100
"""Mutations that may fall on a parameter without effect, for example of a layer that a shorter network has not."""


class Space(Protocol[C]):
    """What a strategy may know of the candidates; CategoricalSpace is the plainest one."""

    def sample(self, rng: np.random.Generator) -> C:
        """Draws a candidate, uniformly over its parameters."""
        ...

    def mutate(self, candidate: C, rng: np.random.Generator) -> C:
        """A candidate that differs in one parameter; itself if the space holds no other."""
        ...

    def neighbours(self, candidate: C) -> Iterator[C]:
        """All candidates that differ in one parameter; of a number, the values a step away."""
        ...

    def contains(self, candidate: C) -> bool:
        """Whether the candidate can be drawn."""
        ...

    def digest(self, candidate: C) -> str:
        """The same for candidates that are the same network trained alike, and for no others; 64 hexadecimal digits."""
        ...

    def distributions(self) -> Mapping[str, Distribution]:
        """The parameters and what values they take."""
        ...

    def encode(self, candidate: C) -> dict[str, Value]:
        """The candidate as a value for each parameter. Raises ValueError if it is not of this space."""
        ...

    def decode(self, values: Mapping[str, Any]) -> C:
        """The inverse of encode."""
        ...


class ParameterSpace(ABC, Generic[C]):
    """A base for spaces: they say what their parameters are, decode and values_of, and the rest follows."""

    __slots__ = ()

    @abstractmethod
    def distributions(self) -> Mapping[str, Distribution]:
        """See Space."""

    @abstractmethod
    def decode(self, values: Mapping[str, Any]) -> C:
        """See Space."""

    @abstractmethod
    def values_of(self, candidate: C) -> dict[str, Value] | None:
        """The values that decode may have made this candidate of; None of what is plainly of another kind."""

    def encode(self, candidate: C) -> dict[str, Value]:
        """See Space."""
        values, distributions = self.values_of(candidate), self.distributions()
        if (
            values is None
            or values.keys() != distributions.keys()
            or not all(distribution.contains(values[name]) for name, distribution in distributions.items())
            or self.decode(values) != candidate
        ):
            raise ValueError(f"{candidate} is not a candidate of {self}")
        return {name: values[name] for name in distributions}

    def sample(self, rng: np.random.Generator) -> C:
        """See Space."""
        return self.decode({name: distribution.sample(rng) for name, distribution in self.distributions().items()})

    def contains(self, candidate: C) -> bool:
        """See Space."""
        try:
            self.encode(candidate)
        except ValueError:
            return False
        return True

    def mutate(self, candidate: C, rng: np.random.Generator) -> C:
        """See Space."""
        values, distributions = self.encode(candidate), self.distributions()
        names = [name for name, distribution in distributions.items() if has_choice(distribution)]
        for _ in range(TRIES if names else 0):
            name = names[int(rng.integers(len(names)))]
            found = self.decode(values | {name: distributions[name].mutate(values[name], rng)})
            if found != candidate:
                return found
        return candidate

    def neighbours(self, candidate: C) -> Iterator[C]:
        """See Space."""
        values = self.encode(candidate)
        for name, distribution in self.distributions().items():
            for value in distribution.neighbours(values[name]):
                found = self.decode(values | {name: value})
                if found != candidate:
                    yield found


def has_choice(distribution: Distribution) -> bool:
    """Whether it holds more than one value."""
    if isinstance(distribution, Categorical):
        return len(distribution.choices) > 1
    return distribution.low < distribution.high
