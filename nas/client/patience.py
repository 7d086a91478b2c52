"""How long a client waits for a service that is away, or started again."""

from dataclasses import dataclass, field
from typing import Final

import httpx

from nas.client.errors import NoService, ServiceError
from nas.errors import NasError

RESTS_S: Final = (0.5, 1.0, 2.0, 4.0)
"""Pauses before a request whose answer was lost is sent again."""

RECONNECT_S: Final = 2.0
RECONNECTIONS: Final = 30
"""So often a job that is being watched is asked for again, at that distance, before it is given up."""


@dataclass(slots=True)
class Resending:
    """Whether a request is sent again.

    Attributes:
        allowed: whether it does no harm when it arrives twice.
    """

    allowed: bool
    _rests_s: list[float] = field(default_factory=lambda: list(RESTS_S))
    _sent: bool = False

    def rest_s(self, error: httpx.TransportError) -> float | None:
        """How long to rest before it is sent again; None: give up. What never arrived is not sent again."""
        self._sent = self._sent or not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        return self._rests_s.pop(0) if self.allowed and self._sent and self._rests_s else None


@dataclass(slots=True)
class Absence:
    """How long a service that is being watched has been away; one that never answered is not waited for."""

    _tries: int = RECONNECTIONS

    def over(self) -> None:
        """It answers."""
        self._tries = 0

    def bearable(self, error: NasError) -> bool:
        """Whether to ask again after RECONNECT_S."""
        self._tries += 1
        passing = isinstance(error, NoService) or (isinstance(error, ServiceError) and error.passing)
        return passing and self._tries < RECONNECTIONS
