"""Fields of a job as a command line says them: `recipe.lr=0.05`, `recipe.optimizer=adamw,sgd`, `space.cells=4..8`."""

import json
import math
import re
from typing import Any, Final, NoReturn

LISTS: Final = ("space.ops", "space.layer_kinds", "space.kernels", "recipe.milestones", "objectives")
"""Fields whose value is a list: there `a,b` are its elements, and not what to choose from."""

_FORM = "it has to be FIELD=VALUE, such as recipe.lr=0.05, recipe.lr=0.01..0.3:log or recipe.optimizer=adamw,sgd"
_RANGE = re.compile(r"(?P<low>[^.,].*?)\.\.(?P<high>[^:]+)(?P<log>:log)?")


def put(spec: dict[str, Any], assignment: str) -> None:
    """Puts a value into a job where its dotted name says. Raises InvalidInput for what is no assignment.

    A value is JSON where it can be read as such, text otherwise; `a,b` is a choice, or a list where the field takes
    one; `low..high` is a range, `:log` behind it puts that on a logarithmic scale.
    """
    from nas.errors import InvalidInput

    name, equals, text = assignment.partition("=")
    path = name.strip().split(".")
    if not equals or not all(path):
        raise InvalidInput("--set", assignment, _FORM)
    place = spec
    for part in path[:-1]:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise InvalidInput("--set", assignment, f"{part} has been given a value already")
    value = _value(text.strip())
    if ".".join(path) in LISTS and not isinstance(value, list):
        value = value["choices"] if isinstance(value, dict) and value.keys() == {"choices"} else [value]
    place[path[-1]] = value


def _value(text: str) -> Any:
    try:
        return _json(text)
    except ValueError:
        span = _RANGE.fullmatch(text)
    if span:
        return {"low": _plain(span["low"]), "high": _plain(span["high"])} | ({"log": True} if span["log"] else {})
    if "," in text:
        return {"choices": [_plain(part.strip()) for part in text.split(",")]}
    return text


def _plain(text: str) -> Any:
    try:
        return _json(text)
    except ValueError:
        return text


def _json(text: str) -> Any:
    """Raises ValueError for what is no JSON."""
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("too deep") from error


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def _no_number(text: str) -> NoReturn:
    """JSON has no infinity and no NaN: the service is told the word, and answers that it is no number."""
    raise ValueError(text)
