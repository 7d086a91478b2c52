"""Bounds on what a request may send."""

from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem

MAX_BODY_BYTES = 1 << 20
"""A job is a few hundred bytes; nothing larger than this is one."""

UPLOAD: Final = ("POST", "/v1/datasets")
"""The one request that may bring more: its body goes on to the route as it comes."""


class BodyLimit:
    """Answers 413 to a body that is too large, announced or not, before it is held in memory.

    Args:
        app: what it stands before.
        max_upload_bytes: the bound for UPLOAD; for everything else it is MAX_BODY_BYTES.
    """

    def __init__(self, app: ASGIApp, max_upload_bytes: int) -> None:
        self._app = app
        self._max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif (scope["method"], scope["path"].removeprefix(scope.get("root_path", "")).rstrip("/")) == UPLOAD:
            await self._stream(scope, receive, send)
        else:
            await self._hold(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Counts the body while the route reads it."""
        limit, received = self._max_upload_bytes, 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _TooLarge
            return message

        try:
            if _announced_bytes(scope) > limit:
                raise _TooLarge
            await self._app(scope, counted, send)
        except _TooLarge:
            mend = f"at most {limit:,} bytes; send fewer or smaller images, or start the service with a larger "
            mend += "NAS_MAX_UPLOAD_BYTES"
            named = [{"field": "body", "value": None, "mend": mend}]
            await problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"body: {mend}", named)(scope, receive, send)

    async def _hold(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reads the whole body before the app sees it."""
        body = bytearray()
        message: Message = {"type": "http.request", "more_body": _has_body(scope)}
        while message["type"] == "http.request" and message.get("more_body", False):
            message = await receive()
            body += message.get("body", b"")
            if len(body) > MAX_BODY_BYTES:
                detail = f"the body has more than {MAX_BODY_BYTES:,} bytes; send a smaller one"
                await problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)(scope, receive, send)
                return
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]
        if message["type"] != "http.request":
            whole = [message]  # the client has gone

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, replay, send)


class _TooLarge(Exception):  # noqa: N818 - named by what is wrong
    """The body has more bytes than it may."""


def _has_body(scope: Scope) -> bool:
    names = {name.lower() for name, _ in scope["headers"]}
    return b"content-length" in names or b"transfer-encoding" in names


def _announced_bytes(scope: Scope) -> int:
    """The Content-Length; 0 where there is none, or none that is a number: what comes is counted all the same."""
    given = next((value for name, value in scope["headers"] if name.lower() == b"content-length"), b"")
    return int(given) if given.isdigit() and len(given) < 20 else 0
