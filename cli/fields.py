"""Fields of a job as a command line says them: `recipe.lr=0.05`, `recipe.optimizer=adamw,sgd`, `space.cells=3..6`."""

import json
import re
from typing import Any

from nas.errors import InvalidInput

_FORM = "it has to be FIELD=VALUE, such as recipe.lr=0.05, recipe.lr=0.01..0.3:log or recipe.optimizer=adamw,sgd"
_RANGE = re.compile(r"(?P<low>[^.,].*?)\.\.(?P<high>[^:]+)(?P<log>:log)?")


def put(spec: dict[str, Any], assignment: str) -> None:
    """Puts a value into a job where its dotted name says. Raises InvalidInput for what is no assignment.

    A value is JSON where it can be read as such, text otherwise; `a,b` is a choice, `low..high` a range, `:log` behind
    it puts that on a logarithmic scale.
    """
    name, equals, text = assignment.partition("=")
    path = name.strip().split(".")
    if not equals or not all(path):
        raise InvalidInput("--set", assignment, _FORM)
    place = spec
    for part in path[:-1]:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise InvalidInput("--set", assignment, f"{part} has been given a value already")
    place[path[-1]] = _value(text.strip())


def _value(text: str) -> Any:
    plain = _plain(text)
    if not isinstance(plain, str):
        return plain
    span = _RANGE.fullmatch(text)
    if span:
        return {"low": _plain(span["low"]), "high": _plain(span["high"])} | ({"log": True} if span["log"] else {})
    if "," in text:
        return {"choices": [_plain(part.strip()) for part in text.split(",")]}
    return text


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
