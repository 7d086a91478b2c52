"""The shapes that annotations state, checked at every call while the tests run (see conftest.py)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import jaxtyping
from beartype import beartype

Checked = TypeVar("Checked", bound=Callable[..., Any])


def checked(function: Checked) -> Checked:
    """Checks arguments and results against their annotations; beartype knows Self in decorated classes only."""
    hints = function.__annotations__
    if hints.get("return") is Self:
        function.__annotations__ = {name: hint for name, hint in hints.items() if hint is not Self}
    return beartype(function)


@contextmanager
def unchecked(known: bool) -> Iterator[None]:
    """Checks nothing for a while, if shapes like those that come were checked before: it takes as long as training."""
    jaxtyping.config.update("jaxtyping_disable", known)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
