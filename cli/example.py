"""The config file that `nas search --example` writes: every field of a job, from its schema, with what it means."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cli.words import as_commands

WIDTH: Final = 100

HEAD: Final = """\
# A job for `nas search job.yaml`. Every field but the data set has a default that suits it: take the # away before
# what is to be otherwise. `nas search job.yaml --check` tells how large the search would be and how long it would take.
# Most fields of space and recipe can be searched over: {choices: [a, b]}, or {low: 0.01, high: 0.3, log: true}.
"""

SAID: Final = {"dataset": "digits"}
"""Fields that are not commented out; a data set can be a path as well, beside this file."""


def example() -> str:
    """The text of the file."""
    from nas.spec import JobSpec

    schema = JobSpec.model_json_schema()
    return as_commands("\n".join([HEAD, *_fields(schema, schema["$defs"])])) + "\n"


def example_spec() -> dict[str, Any]:
    """The same job as plain values, all fields with their defaults: a config file as JSON."""
    from nas.spec import JobSpec

    return JobSpec.model_validate(SAID).model_dump(mode="json")


def _fields(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Iterator[str]:
    for name, field in schema["properties"].items():
        inner = _object(field, defs)
        text = field.get("description") or (inner or {}).get("description", "")
        yield from textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ")
        if name in SAID:
            yield f"{name}: {SAID[name]}"
        elif inner is None:
            yield f"# {name}: {json.dumps(field.get('default'))}"
        else:
            yield f"# {name}:"
            yield from _inner(inner, field.get("default"))
        yield ""


def _inner(schema: Mapping[str, Any], chosen: Any) -> Iterator[str]:
    """The fields of an object: the whole block begins with a #, which is taken away with that of its name."""
    for name, field in schema["properties"].items():
        given = chosen if isinstance(chosen, Mapping) else {}
        default = given.get(name, field.get("default"))
        text = field.get("description") or ""
        yield from textwrap.wrap(text, WIDTH, initial_indent="#   # ", subsequent_indent="#   # ")
        yield f"#   {name}: {json.dumps(default)}"


def _object(field: Mapping[str, Any], defs: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema of a field that is an object with fields of its own, also where it may be null or a name."""
    for part in (field, *field.get("anyOf", ())):
        if "$ref" in part:
            found: Mapping[str, Any] = defs[part["$ref"].rsplit("/", 1)[-1]]
            return found if "properties" in found else None
    return None
