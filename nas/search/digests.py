"""Digests of trials, which cost a tenth of a millisecond each, kept from one proposal to the next."""

from collections.abc import Sequence
from typing import Any

from nas.search.strategy import C, Observation
from nas.space import Space


class Digests:
    """Looks up by its number what was computed for a trial before, and checks that its candidate is still the same."""

    def __init__(self) -> None:
        self._space: Space[Any] | None = None
        self._kept: dict[int, tuple[Any, str]] = {}

    def of(self, space: Space[C], history: Sequence[Observation[C]]) -> list[str]:
        """The digest of each trial's candidate."""
        if self._space != space:
            self._space, self._kept = space, {}
        return [self._digest(space, observation) for observation in history]

    def _digest(self, space: Space[C], observation: Observation[C]) -> str:
        kept = self._kept.get(observation.number)
        if kept is None or kept[0] != observation.candidate:
            kept = self._kept[observation.number] = observation.candidate, space.digest(observation.candidate)
        return kept[1]
