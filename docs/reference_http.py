"""Writes the reference of a job's fields and of the HTTP API, from their schemas."""

import json
from collections.abc import Iterator, Mapping
from tempfile import TemporaryDirectory
from typing import Any, Final

from api.openapi import EVERYWHERE, WITH_KEYS

COMMON: Final = EVERYWHERE | WITH_KEYS
"""Answers that are told once, and not with every endpoint."""

PLAIN: Final = {"Successful Response": "", "Unprocessable Entity": "a value is not possible"}
"""What is said in place of an answer's standard words."""

LONGEST: Final = 60
"""Characters of a default that is shown."""


def job() -> str:
    """Every field that a job may have."""
    from nas.spec import JobSpec

    schema = JobSpec.model_json_schema()
    lines = [
        "# A job's fields",
        "",
        "What `POST /v1/jobs`, `nas search job.yaml` and `client.search` take. All but `dataset` is optional; a field "
        "that does not exist, or a value that is not possible, is refused with a sentence that names the field, the "
        "value and the mend. `nas search --example` prints a file with all of them.",
        "",
        *_table(schema),
    ]
    where = {_inner(field): name for name, field in schema["properties"].items()}
    definitions = schema.get("$defs", {})
    for name in [*filter(definitions.get, where), *(name for name in definitions if name not in where)]:
        definition = definitions[name]
        if definition.get("properties"):
            title = f"`{where[name]}`" if name in where else name
            text = definition.get("description", "")
            lines += ["", f"## {title} {{#{name.lower()}}}", "", text, "", *_table(definition)]
    return "\n".join(lines) + "\n"


def api() -> str:
    """Every endpoint, from the OpenAPI document."""
    document = openapi()
    lines = [
        "# HTTP API",
        "",
        "Written from the service's own `/openapi.json`; at `/docs` a running service shows the same, to be tried out. "
        "Errors are problem documents (RFC 9457); a POST with an `Idempotency-Key` is done once; GETs of what changes "
        "have an ETag, and answer 304 to who has it.",
        "",
        "Any request may also be answered:",
        "",
        *(f"- {status}: {text}" for status, text in sorted(COMMON.items())),
    ]
    by_tag: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            by_tag.setdefault((operation.get("tags") or ["service"])[0], []).append((method.upper(), path, operation))
    for tag, operations in by_tag.items():
        lines += ["", f"## {tag.capitalize()}"]
        for method, path, operation in operations:
            lines += ["", *_operation(method, path, operation)]
    lines += ["", "## Bodies and answers"]
    for name, schema in document["components"]["schemas"].items():
        if schema.get("properties"):
            lines += ["", f"### {name} {{#{name.lower()}}}", "", schema.get("description", ""), "", *_table(schema)]
    return "\n".join(lines) + "\n"


def openapi() -> dict[str, Any]:
    """The document of a service."""
    from api.main import create_app
    from nas.settings import Settings

    with TemporaryDirectory() as folder:
        return create_app(Settings.read({"NAS_HOME": folder})).openapi()


def cell(text: object) -> str:
    """A text as a table can hold it."""
    return " ".join(str(text).replace("|", "\\|").split())


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"### `{method} {path}`"
    yield ""
    yield operation.get("description") or operation.get("summary", "")
    parameters = operation.get("parameters", [])
    if parameters:
        yield from ("", "| parameter | where | type | meaning |", "| --- | --- | --- | --- |")
        for one in parameters:
            schema = one.get("schema", {})
            text = one.get("description") or schema.get("description", "")
            yield f"| `{one['name']}` | {one['in']} | {cell(_type(schema))} | {cell(text)} |"
    bodies = [
        f"`{kind}`, {_type(body['schema'])}" if "$ref" in body.get("schema", {}) else f"`{kind}`"
        for kind, body in operation.get("requestBody", {}).get("content", {}).items()
    ]
    if bodies:
        yield from ("", f"Body: {'; '.join(bodies)}.")
    answers = [_answer(status, answer) for status, answer in operation["responses"].items()]
    yield from ("", f"Answers: {', '.join(filter(None, answers))}.")


def _answer(status: str, answer: Mapping[str, Any]) -> str:
    """One answer of an operation; empty for those that any request may get."""
    text = answer["description"]
    if text in COMMON.values():
        return ""
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    words = PLAIN.get(text, text).strip(". ")
    return f"{status} {_type(schema) if '$ref' in schema else words or 'done'}"


def _table(node: Mapping[str, Any]) -> Iterator[str]:
    yield "| field | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, field in node.get("properties", {}).items():
        default = json.dumps(field["default"], ensure_ascii=False) if "default" in field else ""
        shown = f"`{default}`" if 0 < len(default) <= LONGEST else ""
        cells = (f"`{name}`", _type(field), shown, field.get("description", ""))
        yield f"| {' | '.join(map(cell, cells))} |"


def _type(field: Mapping[str, Any]) -> str:
    """A schema in words; one with a name links to its table."""
    if "$ref" in field:
        name = str(field["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    several = field.get("anyOf") or field.get("oneOf") or field.get("allOf")
    if several:
        return " or ".join(dict.fromkeys(_type(one) for one in several))
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    return _bounded(field)


def _bounded(field: Mapping[str, Any]) -> str:
    """A number with what it has to lie between."""
    low = next((f"{_number(field[name])} {sign} " for name, sign in _LOW if name in field), "")
    high = next((f" {sign} {_number(field[name])}" for name, sign in _HIGH if name in field), "")
    return f"{low}{field.get('type', 'any')}{high}"


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else str(value)


def _inner(field: Mapping[str, Any]) -> str:
    """The name of the object that a field of a job is, or may be."""
    inner = [field, *field.get("anyOf", []), field.get("items", {}), *field.get("items", {}).get("anyOf", [])]
    return next((str(one["$ref"]).rpartition("/")[2] for one in inner if "$ref" in one), "")


_LOW: Final = (("minimum", "≤"), ("exclusiveMinimum", "<"))
_HIGH: Final = (("maximum", "≤"), ("exclusiveMaximum", "<"))
