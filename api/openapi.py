"""The OpenAPI document: what FastAPI writes, put right where it says more, or other things, than the API does."""

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

_SCHEMAS: Final = "#/components/schemas/"
_PROBLEM: Final = f"{_SCHEMAS}Problem"


def install(app: FastAPI) -> None:
    """Makes the app serve this document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            written = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes, tags=None
            )
            _name_problems(written)
            _leave_unused_out(written)
            app.openapi_schema = written
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # as FastAPI's documentation has it


def _name_problems(document: dict[str, Any]) -> None:
    """Errors are sent as application/problem+json (RFC 9457); FastAPI knows one media type for all answers."""
    for methods in document["paths"].values():
        for operation in methods.values():
            for answer in operation["responses"].values():
                content = answer.get("content", {})
                if content.get("application/json", {}).get("schema") == {"$ref": _PROBLEM}:
                    answer["content"] = {"application/problem+json": content["application/json"]}


def _leave_unused_out(document: dict[str, Any]) -> None:
    """Of a field that is open to search two forms are shown once; those that it is read by have no other reader."""
    schemas = document["components"]["schemas"]
    used: set[str] = set()
    found = set(_references(document["paths"]))
    while found:
        used |= found
        found = {name for each in found for name in _references(schemas[each])} - used
    document["components"]["schemas"] = {name: schema for name, schema in schemas.items() if name in used}


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        reference = node.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix(_SCHEMAS)
        for inner in node.values():
            yield from _references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _references(inner)
