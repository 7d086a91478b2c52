"""Idempotency-Key: the same key with the same request gets the same answer, and nothing is done twice.

Follows draft-ietf-httpapi-idempotency-key-header. A key is its owner's, and stands for one request: method, path, query
and body. Refusals are not kept: whoever mends a refused request may use its key again.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import Depends, FastAPI, Header, Request, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from api.access import CurrentCaller
from api.deps import Service
from nas.errors import Conflict
from nas.store import answers
from nas.store.session import Store
from nas.store.tables import Answer

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"

Key = Annotated[
    str | None,
    Header(
        alias=HEADER,
        min_length=1,
        max_length=255,
        pattern=r"^[\x20-\x7e]+$",
        description="any string of your own for this request: sent again with the same key within 24 hours, it is "
        "answered as before and done once",
    ),
]


class Replayed(Exception):  # noqa: N818 - not an error: the answer has been given before
    """The request was answered before.

    Args:
        response: the answer, to be sent again.
    """

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


@dataclass(frozen=True, slots=True)
class Once:
    """A request that is done once.

    Attributes:
        owner: who sent it.
        key: its Idempotency-Key; None: it has none, and nothing is kept.
        request: the sha256 of what it asks for.
    """

    owner: str
    key: str | None
    request: str = field(repr=False)

    @classmethod
    def of(cls, request: Request, owner: str, key: str | None, content: bytes) -> "Once":
        """A request with a content: its body, or what stands for a body that is streamed."""
        digest = hashlib.sha256(f"{request.method} {request.url.path}?{request.url.query}\n".encode())
        digest.update(content)
        return cls(owner, key, digest.hexdigest())

    def check(self, store: Store) -> None:
        """Looks the key up before any work is done. Raises Replayed, Conflict."""
        if self.key is not None:
            with store.read() as session:
                self._compare(answers.find(session, self.owner, self.key))

    def begin(self, session: Session) -> None:
        """Takes the key, as the first thing in the transaction that does the work. Raises Replayed, Conflict."""
        if self.key is not None:
            self._compare(answers.reserve(session, self.owner, self.key, self.request))

    def keep(
        self, session: Session, status: int, body: BaseModel, headers: Mapping[str, str] | None = None
    ) -> Response:
        """The answer, written for its key in the transaction that did the work."""
        content = body.model_dump_json()
        if self.key is not None:
            answers.keep(session, self.owner, self.key, status, headers or {}, content)
        return _response(status, headers or {}, content)

    def _compare(self, known: Answer | None) -> None:
        if known is None:
            return
        if known.request != self.request:
            mend = "it stands for another request; take a new key, or send that request again as it was"
            raise Conflict(HEADER, self.key, mend)
        raise Replayed(_response(known.status, known.headers | {REPLAYED: "true"}, known.body))


def install(app: FastAPI) -> None:
    """Makes the app send answers again."""

    @app.exception_handler(Replayed)
    async def replayed(request: Request, error: Replayed) -> Response:
        return error.response


async def _content(request: Request) -> bytes:
    """The body; of JSON what it says, whatever its spaces and the order of its fields."""
    body = await request.body()
    try:
        return json.dumps(json.loads(body), sort_keys=True).encode()
    except (ValueError, RecursionError):
        return body


def _once(
    request: Request,
    service: Service,
    caller: CurrentCaller,
    content: Annotated[bytes, Depends(_content)],
    key: Key = None,
) -> Once:
    once = Once.of(request, caller.owner, key, content)
    once.check(service.store)
    return once


IdempotentOnce = Annotated[Once, Depends(_once)]


def _response(status: int, headers: Mapping[str, str], content: str) -> Response:
    return Response(content, status_code=status, headers=dict(headers), media_type="application/json")
