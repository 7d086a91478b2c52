"""docker-compose.yml, read as the client reads it: anchors, merges and variables."""

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

from tests.deploy.dockerfile import ROOT

FILE: Final = ROOT / "docker-compose.yml"
EXAMPLE: Final = ROOT / ".env.example"

VARIABLE: Final = re.compile(r"\$\{(\w+)(?:(:?[-?])([^}]*))?\}")

SECRETS: Final[Mapping[str, str]] = {
    "POSTGRES_PASSWORD": "p@ss/w:rd",
    "S3_ACCESS_KEY": "test",
    "S3_SECRET_KEY": "test-secret",
    "RAY_AUTH_TOKEN": "0123456789abcdef0123456789abcdef",
}
"""What an operator has to fill in, filled in."""


class MissingError(Exception):
    """A variable without which nothing starts."""


def services(variables: Mapping[str, str] = SECRETS) -> dict[str, dict[str, Any]]:
    """The services by name, with variables filled in. Raises MissingError."""
    found: dict[str, dict[str, Any]] = whole(variables)["services"]
    return found


def whole(variables: Mapping[str, str] = SECRETS) -> dict[str, Any]:
    """The whole file, with variables filled in. Raises MissingError."""
    filled: dict[str, Any] = _filled(yaml.safe_load(FILE.read_text()), variables)
    return filled


def example() -> dict[str, str]:
    """The variables of .env.example, also of lines that are commented out, with their values."""
    return dict(re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return VARIABLE.sub(lambda match: _value(match, variables), value)
    if isinstance(value, list):
        return [_filled(part, variables) for part in value]
    if isinstance(value, dict):
        return {key: _filled(part, variables) for key, part in value.items()}
    return value


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    name, kind, other = match[1], match[2] or "", match[3] or ""
    given = variables.get(name)
    if given or (given == "" and not kind.startswith(":")):
        return given
    if kind.endswith("?"):
        raise MissingError(f"{name}: {other}")
    return other
