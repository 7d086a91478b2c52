"""The OpenAPI document: what FastAPI writes, put right where it says more, or other things, than the API does."""

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api import cookies
from api.access import SESSION, is_open
from api.errors import Problem
from api.keyring import KeyRing

_SCHEMAS: Final = "#/components/schemas/"
_PROBLEM: Final = f"{_SCHEMAS}Problem"


def install(app: FastAPI, ring: KeyRing) -> None:
    """Makes the app serve this document; as long as no key was ever made, it says that none is needed."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            written = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes, tags=None
            )
            _add_what_stands_before_the_routes(written)
            _name_problems(written)
            _leave_unused_out(written)
            app.openapi_schema = written
        return app.openapi_schema | {"security": [BEARER, COOKIE] if ring.required else [{}, BEARER, COOKIE]}

    app.openapi = document  # type: ignore[method-assign]  # as FastAPI's documentation has it


EVERYWHERE: Final = {
    "400": "The request cannot be read.",
    "408": "The body did not come in time.",
    "413": "The body is too large, or the owner has no room left.",
    "421": "The service has no keys, and the request names another machine.",
    "503": "The database does not answer.",
}
"""What any request can be answered, before its route sees it."""

WITH_KEYS: Final = {
    "401": "The service asks for a key, and there is none, or none that is valid.",
    "403": "The key's scope does not include this, or a page of another site sent it.",
    "429": "The key has made too many requests, or its owner has too many open jobs.",
}
"""What a request to a path that needs a key can be answered as well."""

BEARER: Final[dict[str, list[str]]] = {"bearer": []}
COOKIE: Final[dict[str, list[str]]] = {"cookie": []}

_SCHEMES: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key from `nas keys create`. A service in which none was ever made asks for none.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": cookies.NAME,
        "description": f"Set by POST /session, for browsers. What is not GET or HEAD needs `{cookies.HEADER}` beside "
        "it, with `csrf` of that answer.",
    },
}

_RETRY: Final = {
    "Retry-After": {"description": "seconds after which it is worth to try again", "schema": {"type": "integer"}}
}
_CHALLENGE: Final = {"WWW-Authenticate": {"description": "Bearer", "schema": {"type": "string"}}}
_HEADERS: Final[dict[str, dict[str, Any]]] = {"401": _CHALLENGE, "429": _RETRY, "503": _RETRY}


def _add_what_stands_before_the_routes(document: dict[str, Any]) -> None:
    """Keys, limits and the database concern all routes alike; FastAPI does not see what is no route."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.setdefault("Problem", Problem.model_json_schema())
    document["components"]["securitySchemes"] = _SCHEMES
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if is_open(path, method.upper()):
                operation["security"] = []
            elif (path, method) == (SESSION, "get"):
                operation["security"] = [{}, BEARER, COOKIE]  # that nobody is logged in is an answer
            texts = EVERYWHERE if is_open(path, method.upper()) else EVERYWHERE | WITH_KEYS
            for status, text in texts.items():
                answer = operation["responses"].setdefault(status, {"description": text})
                answer.setdefault("content", {"application/json": {"schema": {"$ref": _PROBLEM}}})
                if status in _HEADERS:
                    answer["headers"] = _HEADERS[status]
            operation["responses"] = dict(sorted(operation["responses"].items()))


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
