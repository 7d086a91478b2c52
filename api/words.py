"""What pydantic finds wrong with a value, in the words of this service: what the value has to be."""

import re
from collections.abc import Mapping
from typing import Any, Final

_WHOLE: Final = "it has to be a whole number"
_NUMBER: Final = "it has to be a number"
_TRUTH: Final = "it has to be true or false"

WORDS: Final[dict[str, str]] = {
    "greater_than": "it has to be above {gt}",
    "greater_than_equal": "it has to be {ge} or more",
    "less_than": "it has to be below {lt}",
    "less_than_equal": "it has to be {le} or less",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE + " with fewer digits",
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "bool_type": _TRUTH,
    "bool_parsing": _TRUTH,
    "string_type": "it has to be a text",
    "string_unicode": "it has to be a text",
}
"""Type of pydantic's error → the words; in braces what pydantic says of the limit."""

PATTERNS: Final[dict[str, str]] = {
    r"^[^\x00-\x1f\x7f]*$": "it may have no line breaks and no other control characters",
}
"""Pattern of texts → the words. It is that of names in nas.spec and api.parameters."""

_SUBJECT: Final = re.compile(r"^(Value error, |(Input|String|List|Tuple|Dictionary) should )")


def mend(entry: Mapping[str, Any]) -> str:
    """What the value has to be that an entry of `ValidationError.errors()` is about."""
    words = WORDS.get(entry["type"]) or PATTERNS.get(entry.get("ctx", {}).get("pattern"))
    if words is not None:
        return words.format_map({name: _written(value) for name, value in entry.get("ctx", {}).items()})
    told = str(entry["msg"]).replace(" after validation", "")
    return _SUBJECT.sub(lambda found: "it has to " if found[2] else "", told)


def _written(limit: object) -> str:
    """A limit as people write it: 100,000 and not 100000.0."""
    if isinstance(limit, float) and limit.is_integer():
        limit = int(limit)
    return f"{limit:,}" if isinstance(limit, int) else str(limit)
