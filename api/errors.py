"""One handler: error class → HTTP status. Answers are RFC 9457 problem documents that name field, value and mend."""

import json
import logging
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final, get_args

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from nas.errors import Conflict, IllegalTransition, InvalidInput, NotFound, NotReady, UserError
from nas.searchable import CHOICES, RANGE, VALUE, Choices, Range
from nas.spec import JobSpec

log = logging.getLogger(__name__)

STATUS: Final[dict[type[UserError], HTTPStatus]] = {
    Conflict: HTTPStatus.CONFLICT,  # before the class that it is one of
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotFound: HTTPStatus.NOT_FOUND,
    NotReady: HTTPStatus.CONFLICT,
    IllegalTransition: HTTPStatus.CONFLICT,
}


FORMS: Final = {VALUE: (), CHOICES: tuple(Choices.model_fields), RANGE: tuple(Range.model_fields)}
"""How a field that is open to search is said (nas.searchable): its form in an error's place → the form's fields."""


class Problem(BaseModel):
    """RFC 9457. `errors` names each field at fault, its value, and what is allowed."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[dict[str, Any]] = []


def problem(status: HTTPStatus, detail: str, errors: list[dict[str, Any]] | None = None) -> Response:
    """A problem document. Whatever the user sent can be quoted in it: all of it is escaped to ASCII."""
    body = Problem(title=status.phrase, status=status, detail=detail, errors=errors or [])
    content = json.dumps(body.model_dump(mode="python"), ensure_ascii=True, default=repr)
    return Response(content, status_code=status, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Makes the app answer every error with a problem document."""

    @app.exception_handler(UserError)
    async def user_error(request: Request, error: UserError) -> Response:
        found = (status for kind, status in STATUS.items() if isinstance(error, kind))
        status = next(found, HTTPStatus.BAD_REQUEST)
        named = [_named(error.field, error.value, error.mend)] if isinstance(error, InvalidInput) else []
        return problem(status, str(error), named)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        found = [_described(entry) for entry in error.errors()]
        detail = "; ".join(sentence for _, sentence in found)
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, [named for named, _ in found])

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        if status == HTTPStatus.BAD_REQUEST:  # FastAPI's only one: a body that breaks the parser itself
            mend = "it has to be JSON in UTF-8, with numbers and brackets within a parser's limits"
            return problem(status, f"body: {mend}", [_named("body", None, mend)])
        answer = problem(status, f"{request.method} {request.url.path}: {error.detail}")
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(OperationalError)
    @app.exception_handler(InterfaceError)
    @app.exception_handler(PoolTimeout)
    async def unavailable(request: Request, error: OperationalError | InterfaceError | PoolTimeout) -> Response:
        log.warning("the database does not answer: %s", error)
        answer = problem(HTTPStatus.SERVICE_UNAVAILABLE, "the database does not answer; try again in a few seconds")
        answer.headers["Retry-After"] = "2"
        return answer


def _described(entry: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The fault, and a sentence that says it."""
    # The first is where it stands: body, query, path, header. The form of a searchable field is no field itself.
    [*place] = entry["loc"][1:]
    unknown = place[-1:] if entry["type"] == "extra_forbidden" else []
    place = [part for part in place[: len(place) - len(unknown)] if part not in FORMS] + unknown
    field = ".".join(map(str, place)) or "body"
    value, mend = entry.get("input"), str(entry["msg"]).removeprefix("Value error, ")
    if entry["type"] == "extra_forbidden":
        mend = f"there is no such field; allowed: {', '.join(_fields(list(entry['loc'][1:-1])))}"
    elif entry["type"] == "missing":
        value, mend = None, "this field is required"
    elif entry["type"] == "json_invalid":
        field, value, mend = "body", None, f"it has to be JSON ({entry.get('ctx', {}).get('error', mend)})"
    elif entry["type"] in ("model_attributes_type", "dict_type", "model_type"):
        mend = "it has to be a JSON object, sent as application/json"
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
