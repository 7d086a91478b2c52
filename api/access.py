"""Who asks, and what they may see and do."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from fastapi import Depends, Request

from nas.store.tables import LOCAL


class Scope(StrEnum):
    """What a key allows; each one includes those before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        owner: of what they make.
        scope: of their key.
        key: its row's id; None where there are no keys.
    """

    owner: str
    scope: Scope
    key: int | None = None

    def sees(self, owner: str) -> bool:
        """Whether something of that owner exists for them."""
        return self.scope == Scope.ADMIN or owner == self.owner

    @property
    def only(self) -> str | None:
        """The owner whose things they see; None if they see all."""
        return None if self.scope == Scope.ADMIN else self.owner


EVERYONE: Final = Caller(LOCAL, Scope.ADMIN)
"""Who asks where there are no keys."""


def _caller(request: Request) -> Caller:
    caller = getattr(request.state, "caller", EVERYONE)
    if not isinstance(caller, Caller):
        raise TypeError(caller)
    return caller


CurrentCaller = Annotated[Caller, Depends(_caller)]
