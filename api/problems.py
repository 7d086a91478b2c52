"""The kinds of problem that the API answers with: what `type` in a problem document leads to."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem.

    Attributes:
        status: that it comes with.
        title: a few words.
        text: what it means, and what to do.
    """

    status: HTTPStatus
    title: str
    text: str


PROBLEMS: Final[dict[str, Kind]] = {
    "invalid-input": Kind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "Invalid input",
        "A field has a value that is not possible. `errors` names each such field, its value, and what is allowed.",
    ),
    "bad-request": Kind(
        HTTPStatus.BAD_REQUEST,
        "Bad request",
        "The request cannot be read at all. Send JSON in UTF-8, or the form that the documentation shows.",
    ),
    "unauthorized": Kind(
        HTTPStatus.UNAUTHORIZED,
        "Unauthorized",
        "The service asks for an API key, and the request has none that is valid. Send one as "
        "`Authorization: Bearer KEY`; `nas keys create` makes one.",
    ),
    "forbidden": Kind(
        HTTPStatus.FORBIDDEN,
        "Forbidden",
        "The key's scope does not include this (read, write, admin), or a page of another site sent the request, or it "
        "came by cookie without its X-CSRF-Token.",
    ),
    "not-found": Kind(
        HTTPStatus.NOT_FOUND,
        "Not found",
        "Nothing of that name or id exists for the owner of the key.",
    ),
    "method-not-allowed": Kind(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "Method not allowed",
        "There is something at this path, but not for this method. The header Allow names those that there are.",
    ),
    "not-acceptable": Kind(
        HTTPStatus.NOT_ACCEPTABLE, "Not acceptable", "The answer does not exist in a form that the request accepts."
    ),
    "timeout": Kind(
        HTTPStatus.REQUEST_TIMEOUT, "Request timeout", "The body did not come in time. Send the request again."
    ),
    "conflict": Kind(
        HTTPStatus.CONFLICT,
        "Conflict",
        "The name or key stands for something else that has to stay as it is. Take another one.",
    ),
    "not-ready": Kind(
        HTTPStatus.CONFLICT,
        "Not ready",
        "What was asked for does not exist yet. `detail` says what it waits for; ask again later.",
    ),
    "illegal-transition": Kind(
        HTTPStatus.CONFLICT,
        "Illegal transition",
        "The job or trial is in a state that does not allow this.",
    ),
    "precondition-failed": Kind(
        HTTPStatus.PRECONDITION_FAILED, "Precondition failed", "It has changed since the request's condition was true."
    ),
    "too-large": Kind(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "Too large",
        "The body has more bytes than one may have, or the owner would store more than they may. `detail` says which, "
        "and how to make room.",
    ),
    "unsupported-media-type": Kind(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Unsupported media type", "The body has to be of another type."
    ),
    "range-not-satisfiable": Kind(
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "Range not satisfiable", "The file has no such bytes."
    ),
    "misdirected": Kind(
        HTTPStatus.MISDIRECTED_REQUEST,
        "Misdirected request",
        "A service without keys serves its own machine only, by the names that this machine has for itself. "
        "Make a key with `nas keys create` to serve others.",
    ),
    "too-many": Kind(
        HTTPStatus.TOO_MANY_REQUESTS,
        "Too many",
        "The key made too many requests in a minute, or its owner has too many open jobs. The header Retry-After says "
        "in how many seconds it is worth to try again.",
    ),
    "internal": Kind(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Internal error",
        "The service has a fault. Its log tells which; nothing is wrong with the request.",
    ),
    "unavailable": Kind(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Unavailable",
        "The database or the file store does not answer now, or a plugin that a job needs is not loaded here. The same "
        "request can be sent again.",
    ),
    "no-space": Kind(
        HTTPStatus.INSUFFICIENT_STORAGE,
        "No space left",
        "The service's disk is full. Nothing of what was sent is kept; somebody has to make room.",
    ),
}
"""name → kind; `/problems/NAME` is the `type`. Clients may build on the names: they stay."""

BY_STATUS: Final[dict[int, str]] = {kind.status: name for name, kind in reversed(PROBLEMS.items())}
"""status → the first problem that has it."""
