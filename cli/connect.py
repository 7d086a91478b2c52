"""How commands reach a service: with the key of NAS_API_KEY, which stands in no argument and in no log."""

from collections.abc import Mapping
from typing import Any

import typer

from nas.client import Client
from nas.errors import SettingsError


def connect(context: typer.Context, url: str) -> Client:
    """A client of the service at a URL, with this environment's key. Raises SettingsError if it is none."""
    environ: Any = context.obj  # the command's main module hands it over
    return Client(url, api_key(environ))


def api_key(environ: Mapping[str, str]) -> str | None:
    """The key that a service is asked with; None if none is set. Raises SettingsError if it cannot be a key."""
    key = environ.get("NAS_API_KEY", "").strip()
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise SettingsError("NAS_API_KEY is no API key; set it to what `nas keys create` printed")
    return key or None
