"""The JSON that a request carries, also of values that are usual in notebooks."""

import json
from collections.abc import Mapping, Set
from pathlib import PurePath
from typing import Any

from nas.errors import InvalidInput


def written(body: Any) -> bytes:
    """A value as JSON: NumPy's numbers and arrays, paths, sets and ranges as what they stand for.

    Raises:
        InvalidInput: there is a value in it that JSON has not.
    """
    try:
        return json.dumps(body, default=_plain, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidInput("body", body, f"{error}; JSON has finite numbers, texts, lists and mappings") from error


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Set | range):
        return list(value)
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"there is a {type(value).__name__} in it")
