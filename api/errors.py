"""One handler: error class → HTTP status. Answers are RFC 9457 problem documents that name field, value and mend."""

import json
import logging
import math
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final, get_args

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import DataError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.routing import Match

from api.headers import HEADERS
from api.problems import BY_STATUS, PROBLEMS
from api.words import mend as mend_of
from nas.errors import (
    ArtifactDamaged,
    ArtifactsAway,
    Conflict,
    DatasetUnready,
    DiskFull,
    Forbidden,
    IllegalTransition,
    InvalidInput,
    NasError,
    NotFound,
    NotReady,
    SpecUnreadable,
    TooLarge,
    TooMany,
    Unauthorized,
    UserError,
)
from nas.log import about, current
from nas.searchable import CHOICES, RANGE, VALUE, Choices, Range
from nas.spec import JobSpec

log = logging.getLogger(__name__)

KINDS: Final[dict[type[NasError], str]] = {
    Conflict: "conflict",  # before the class that it is one of
    InvalidInput: "invalid-input",
    NotFound: "not-found",
    NotReady: "not-ready",
    IllegalTransition: "illegal-transition",
    Unauthorized: "unauthorized",
    Forbidden: "forbidden",
    TooMany: "too-many",
    TooLarge: "too-large",
    UserError: "bad-request",
    DatasetUnready: "unavailable",
    SpecUnreadable: "unavailable",
    DiskFull: "no-space",
    ArtifactsAway: "unavailable",
    ArtifactDamaged: "unavailable",
}
"""Error class → the problem that it is told as; api.problems has its status. What is not here is a fault: 500."""

UNAVAILABLE: Final = (OperationalError, InterfaceError, PoolTimeout)
"""The database does not answer."""

SCHEMA_GONE: Final = ("42P01", "42703")
"""PostgreSQL's codes for a table or column that is not there: its schema was changed under the running server."""

RETRY_S: Final = 2
"""After which it is worth to ask again where the database did not answer."""

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

FORMS: Final = {VALUE: (), CHOICES: tuple(Choices.model_fields), RANGE: tuple(Range.model_fields)}
"""How a field that is open to search is said (nas.searchable): its form in an error's place → the form's fields."""


class Problem(BaseModel):
    """RFC 9457. `errors` names each field at fault, its value, and what is allowed."""

    type: str = Field("about:blank", description="which kind; GET it for what it means")
    title: str
    status: int
    detail: str = Field(description="what is wrong with this request, and how to mend it")
    instance: str | None = Field(None, description="the id of the request, which the service's log has as well")
    errors: list[dict[str, Any]] = []

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "/problems/invalid-input",
                    "title": "Invalid input",
                    "status": 422,
                    "detail": "space.cells: 41 is not possible: it has to be 40 or less",
                    "instance": "2f6c0b8e9d1a4c37",
                    "errors": [{"field": "space.cells", "value": 41, "mend": "it has to be 40 or less"}],
                }
            ]
        }
    )


def problem(
    status: HTTPStatus, detail: str, errors: list[dict[str, Any]] | None = None, *, kind: str | None = None
) -> Response:
    """A problem document. Whatever the user sent can be quoted in it: all of it is escaped to ASCII.

    Args:
        status: of the answer.
        detail: what is wrong, and how to mend it.
        errors: the fields at fault.
        kind: a name in api.problems; by default the first of that status.
    """
    name = kind or BY_STATUS.get(status)
    instance = current("request_id")
    body = Problem(
        type=f"/problems/{name}" if name else "about:blank",
        title=PROBLEMS[name].title if name else status.phrase,
        status=status,
        detail=detail,
        instance=None if instance is None else str(instance),
        errors=errors or [],
    )
    shown = body.model_dump(mode="python", exclude=set() if body.instance else {"instance"})
    content = json.dumps(shown, ensure_ascii=True, default=repr)
    return Response(content, status_code=status, media_type="application/problem+json")


def told(error: NasError) -> Response:
    """What a request is answered whose handling raised this error."""
    kind = next(kind for of, kind in KINDS.items() if isinstance(error, of))
    detail, named = faults(error) if isinstance(error, InvalidInput) else (str(error), [])
    answer = problem(PROBLEMS[kind].status, detail, named, kind=kind)
    if isinstance(error, TooMany):
        answer.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    elif isinstance(error, Unauthorized):
        answer.headers["WWW-Authenticate"] = 'Bearer realm="nas"'
    elif isinstance(error, ArtifactsAway):
        answer.headers["Retry-After"] = str(RETRY_S)
    return answer


def faults(error: InvalidInput | RequestValidationError) -> tuple[str, list[dict[str, Any]]]:
    """What a refused request is told: all that is wrong in a sentence, and each field at fault."""
    if isinstance(error, InvalidInput):
        return str(error), [_named(error.field, error.value, error.mend)]
    found = [_described(entry) for entry in error.errors()]
    return "; ".join(sentence for _, sentence in found), [named for named, _ in found]


def unavailable(error: Exception) -> Response:
    """What a request is answered that met one of UNAVAILABLE."""
    # Without the statement and its values, which str(error) has.
    log.warning("the database does not answer: %s", getattr(error, "orig", None) or type(error).__name__)
    if "disk is full" in str(getattr(error, "orig", "")):
        return problem(HTTPStatus.INSUFFICIENT_STORAGE, "the database has no room left: free some on the server's disk")
    answer = problem(HTTPStatus.SERVICE_UNAVAILABLE, "the database does not answer; try again in a few seconds")
    answer.headers["Retry-After"] = str(RETRY_S)
    return answer


def install(app: FastAPI) -> None:
    """Makes the app answer every error with a problem document."""

    async def known(request: Request, error: Exception) -> Response:
        assert isinstance(error, NasError)  # noqa: S101 - it is installed for these
        return told(error)

    for kind in KINDS:
        app.add_exception_handler(kind, known)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, *faults(error))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        if status == HTTPStatus.BAD_REQUEST:  # FastAPI's only one: a body that breaks the parser itself
            mend = "it has to be JSON in UTF-8, with numbers and brackets within a parser's limits"
            return problem(status, f"body: {mend}", [_named("body", None, mend)])
        answer = problem(status, f"{request.method} {request.url.path}: {error.detail}")
        answer.headers.update(error.headers or {})
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            answer.headers["Allow"] = ", ".join(_allowed(request))
        return answer

    async def no_database(request: Request, error: Exception) -> Response:
        return unavailable(error)

    for unanswered in UNAVAILABLE:
        app.add_exception_handler(unanswered, no_database)

    @app.exception_handler(ProgrammingError)
    async def other_schema(request: Request, error: ProgrammingError) -> Response:
        if getattr(error.orig, "sqlstate", None) in SCHEMA_GONE:
            return unavailable(error)
        raise error

    @app.exception_handler(DataError)
    async def beyond(request: Request, error: DataError) -> Response:
        log.warning("the database cannot hold a value of %s %s: %s", request.method, request.url.path, error.orig)
        mend = "the database can hold no such text or number; send a shorter or plainer one"
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"body: {mend}", [_named("body", None, mend)])

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        request_id = getattr(request.state, "request_id", None)
        with about(request_id=request_id):
            answer = problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the service has a fault; its log tells which")
        answer.headers.update(HEADERS)  # this answer is made outside of what adds them to all others
        if request_id is not None:
            answer.headers["X-Request-ID"] = request_id
        return answer


def _allowed(request: Request) -> list[str]:
    """The methods that there are at a path. The router names those of the first route that has the path only."""
    return [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] == Match.FULL for route in request.app.routes)
    ]


def _described(entry: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The fault, and a sentence that says it."""
    # The first is where it stands: body, query, path, header. The form of a searchable field is no field itself.
    [*place] = entry["loc"][1:]
    unknown = place[-1:] if entry["type"] == "extra_forbidden" else []
    place = [part for part in place[: len(place) - len(unknown)] if part not in FORMS] + unknown
    field = ".".join(map(str, place)) or "body"
    value, mend = entry.get("input"), mend_of(entry)
    if entry["type"] == "extra_forbidden":
        mend = f"there is no such field; allowed: {', '.join(_fields(list(entry['loc'][1:-1])))}"
    elif entry["type"] == "missing":
        value, mend = None, "this field is required"
    elif entry["type"] == "json_invalid":
        field, value, mend = "body", None, f"it has to be JSON ({entry.get('ctx', {}).get('error', mend)})"
    elif entry["type"] in ("model_attributes_type", "dict_type", "model_type"):
        mend = "it has to be a JSON object" + (", sent as application/json" if field == "body" else "")
    quoted = "" if entry["type"] in ("missing", "json_invalid") else f"{_short(value)} is not possible: "
    return _named(field, value, mend), f"{field}: {quoted}{mend}"


def _fields(place: list[Any]) -> list[str]:
    model: type[BaseModel] = JobSpec
    for part in place:
        if part in FORMS:
            return list(FORMS[part])
        if part in model.model_fields:
            model = next(_models(model.model_fields[part].annotation), model)
    return list(model.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in an annotation: a model, a model or null, a list of models."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _named(field: str, value: object, mend: str) -> dict[str, Any]:
    plain = value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and value - value == 0)
    return {"field": field, "value": value if plain and len(str(value)) <= 200 else _short(value), "mend": mend}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
