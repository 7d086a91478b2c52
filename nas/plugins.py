"""What a user adds in Python without touching the project: operations of a cell, losses, and strategies.

A module of the user's own holds one or more of

    OPERATIONS = {"my_op": build}     # build(channels, stride) → a module [N, C, H, W] → [N, C, ⌈H/stride⌉, ⌈W/stride⌉]
    LOSSES = {"my_loss": loss}        # loss(outputs, targets) → a loss for each image, [N]
    STRATEGIES = {"my_strategy": Mine}  # Mine() → something with propose (nas.search.strategy.Strategy)

Targets are int64 [N] of classes, or float [N, K] where images are mixed; float [N, K] of several labels; standardised
float [N, T] of a regression. The module is named in NAS_PLUGINS (comma-separated modules), or by `nas.use("my_module")`
in a program. An installed package may name each as an entry point of the group `nas.operations`, `nas.losses` or
`nas.strategies` instead; those need no setting.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from itertools import chain
from typing import Any, Final

from nas.errors import SettingsError

GROUPS: Final = {"OPERATIONS": "nas.operations", "LOSSES": "nas.losses", "STRATEGIES": "nas.strategies"}
"""A plugin module's table → the group of entry points that means the same."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A user's function.

    Attributes:
        origin: where it comes from, for error messages and the catalog.
        get: imports it, if need be; an entry point's package is not touched before somebody uses it.
    """

    origin: str
    get: Callable[[], Callable[..., Any]]

    @property
    def summary(self) -> str:
        """For the catalog."""
        return f"from {self.origin}"


_used: dict[str, dict[str, Plugin]] = {table: {} for table in GROUPS}


def operations() -> Mapping[str, Plugin]:
    """The user's operations by name."""
    return _installed("OPERATIONS") | _used["OPERATIONS"]


def losses() -> Mapping[str, Plugin]:
    """The user's losses by name."""
    return _installed("LOSSES") | _used["LOSSES"]


def strategies() -> Mapping[str, Plugin]:
    """The user's strategies by name."""
    return _installed("STRATEGIES") | _used["STRATEGIES"]


def use(*modules: str) -> None:
    """Imports modules and takes their tables over; a second time changes nothing.

    Raises:
        SettingsError: there is no such module, it has no table of functions, or a name is none or taken, here or
            among the entry points. Then nothing of that module is taken over.
    """
    for table in GROUPS:
        _installed(table)
    for name in modules:
        try:
            module = importlib.import_module(name)
        except Exception as error:
            raise SettingsError(f"NAS_PLUGINS: {name!r} cannot be imported: {type(error).__name__}: {error}") from error
        tables = {table: getattr(module, table) for table in GROUPS if hasattr(module, table)}
        if not tables:
            raise SettingsError(f"NAS_PLUGINS: {name!r} has none of {', '.join(GROUPS)}")
        for table, functions in tables.items():
            if not isinstance(functions, Mapping) or not all(map(callable, functions.values())):
                raise SettingsError(f"NAS_PLUGINS: {name}.{table} has to be a mapping of names to functions")
            for key in functions:
                _check(table, key, f"module {name}")
                other = _used[table].get(key)
                if other is not None and other.origin != f"module {name}":
                    raise SettingsError(f"module {name}: {key!r} of {table} is taken by {other.origin}; rename one")
        for table, functions in tables.items():
            for key, function in functions.items():
                _used[table][key] = Plugin(f"module {name}", lambda function=function: function)  # type: ignore[misc]


def modules() -> list[str]:
    """What `use` has taken tables from: another process has to use the same."""
    origins = {plugin.origin for table in _used.values() for plugin in table.values()}
    return sorted(origin.removeprefix("module ") for origin in origins)


@cache
def _installed(table: str) -> dict[str, Plugin]:
    found = {}
    for entry in entry_points(group=GROUPS[table]):
        _check(table, entry.name, f"entry point {entry.value}")
        found[entry.name] = Plugin(f"entry point {entry.value}", entry.load)
    return found


def _check(table: str, name: object, origin: str) -> None:
    from nas.search.catalog import STRATEGIES  # all three import this module
    from nas.space.operations import OPERATIONS
    from nas.train.tasks import LOSSES

    if not isinstance(name, str) or not name.isidentifier():
        raise SettingsError(f"{origin}: {name!r} is no name for one of {table}; use letters, digits and underscores")
    taken = {"OPERATIONS": OPERATIONS, "LOSSES": {"default", *chain(*LOSSES.values())}, "STRATEGIES": STRATEGIES}
    if name in taken[table]:
        raise SettingsError(f"{origin}: one of {table} called {name!r} comes with the project; choose another name")
