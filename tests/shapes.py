"""The shapes that annotations state, checked at every call while the tests run (see conftest.py)."""

from collections.abc import Callable
from typing import Any, Self, TypeVar

from beartype import beartype

Checked = TypeVar("Checked", bound=Callable[..., Any])


def checked(function: Checked) -> Checked:
    """Checks arguments and results against their annotations; beartype knows Self in decorated classes only."""
    hints = function.__annotations__
    if hints.get("return") is Self:
        function.__annotations__ = {name: hint for name, hint in hints.items() if hint is not Self}
    return beartype(function)
