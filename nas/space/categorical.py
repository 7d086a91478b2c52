"""The plainest space: named choices, as benchmark tables have them."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.space.distributions import Categorical, Value
from nas.space.parameters import ParameterSpace


@dataclass(frozen=True, slots=True)
class Choices(Mapping[str, Value]):
    """A candidate of a CategoricalSpace: a mapping of names to choices that can be compared and hashed."""

    items_: tuple[tuple[str, Value], ...]

    def __getitem__(self, name: str) -> Value:
        for key, value in self.items_:
            if key == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (key for key, _ in self.items_)

    def __len__(self) -> int:
        return len(self.items_)

    def to_json(self) -> dict[str, Value]:
        """As `{name: choice}`."""
        return dict(self.items_)


class CategoricalSpace(ParameterSpace[Choices]):
    """All combinations of named choices.

    Args:
        choices: name → what can be chosen; the order of the names is kept.

    Raises:
        ValueError: no parameter, a parameter without choices, or with two that are equal, as True and 1 are.
    """

    __slots__ = ("_distributions",)

    def __init__(self, choices: Mapping[str, Sequence[Value]]) -> None:
        if not choices:
            raise ValueError("a space needs a parameter")
        self._distributions: dict[str, Categorical] = {}
        for name, values in choices.items():
            try:
                self._distributions[name] = Categorical(tuple(values))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CategoricalSpace) and self._distributions == other._distributions

    def __hash__(self) -> int:
        return hash(tuple(self._distributions.items()))

    def __repr__(self) -> str:
        return f"CategoricalSpace({ {name: list(found.choices) for name, found in self._distributions.items()} })"

    def distributions(self) -> dict[str, Categorical]:
        """See Space."""
        return dict(self._distributions)

    def digest(self, candidate: Choices) -> str:
        """See Space."""
        return hashlib.sha256(json.dumps(candidate.to_json()).encode()).hexdigest()

    def values_of(self, candidate: Choices) -> dict[str, Value]:
        """See ParameterSpace."""
        return candidate.to_json()

    def decode(self, values: Mapping[str, Any]) -> Choices:
        """See Space."""
        return Choices(tuple((name, values[name]) for name in self._distributions))
