"""Packages that only some calls need: loaded when they do."""

import importlib
from typing import Any

from nas.client.errors import NoPackage


def wanted(name: str) -> Any:
    """A package. Raises NoPackage, which says how to install it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # it is there, and broken
            raise
        raise NoPackage(f"this needs {name}: pip install 'nas-service[notebook]'") from error
