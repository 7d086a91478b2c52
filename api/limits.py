"""Bounds on what a request may send, how slowly, and how many requests a key may make."""

import time
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import anyio
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem
from nas.errors import TooMany

MAX_BODY_BYTES = 1 << 20
"""A job is a few hundred bytes; nothing larger than this is one."""

BODY_S: Final = 60.0
"""How long a body may take, or one piece of an upload."""

COUNTED: Final = 10_000
"""Keys whose requests one process counts."""

UPLOAD: Final = ("POST", "/v1/datasets")
"""The one request that may bring more: its body goes on to the route as it comes."""


class Rate:
    """Counts each key's requests: a bucket that holds a minute's worth and fills up again steadily.

    Args:
        per_minute: requests that a key may make; 0: any number.
        clock: seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[int, tuple[float, float]] = OrderedDict()

    def take(self, key: int | None) -> dict[str, str]:
        """Takes one request from a key's bucket; headers that say what is left. Without a key nothing is counted.

        Raises:
            TooMany: the bucket is empty.
        """
        if self._per_minute == 0 or key is None:
            return {}
        moment, most, a_second = self._clock(), float(self._per_minute), self._per_minute / 60
        left, since = self._buckets.get(key, (most, moment))
        left = min(most, left + (moment - since) * a_second)
        taken = left >= 1
        self._buckets[key] = (left - 1 if taken else left, moment)
        self._buckets.move_to_end(key)
        while len(self._buckets) > COUNTED:
            self._buckets.popitem(last=False)
        if not taken:
            mend = "send fewer, ask with If-None-Match, or start the service with a larger NAS_RATE_PER_MINUTE"
            raise TooMany(f"the key has made its {self._per_minute:,} requests a minute; {mend}", (1 - left) / a_second)
        # draft-ietf-httpapi-ratelimit-headers
        policy = f'"key";q={self._per_minute};w=60'
        return {
            "RateLimit-Policy": policy,
            "RateLimit": f'"key";r={int(left - 1)};t={(most - left + 1) / a_second:.0f}',
        }


class BodyLimit:
    """Answers 413 to a body that is too large, announced or not, before it is held in memory; 408 to one too slow.

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
        limit, received, more = self._max_upload_bytes, 0, True

        async def counted() -> Message:
            nonlocal received, more
            try:
                with anyio.fail_after(BODY_S if more else None):
                    message = await receive()
            except TimeoutError as error:
                raise _TooSlow from error
            more = message.get("more_body", False)
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
        except _TooSlow:
            await _too_slow()(scope, receive, send)

    async def _hold(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reads the whole body before the app sees it."""
        body = bytearray()
        message: Message = {"type": "http.request", "more_body": _has_body(scope)}
        try:
            with anyio.fail_after(BODY_S):
                while message["type"] == "http.request" and message.get("more_body", False):
                    message = await receive()
                    body += message.get("body", b"")
                    if len(body) > MAX_BODY_BYTES:
                        detail = f"the body has more than {MAX_BODY_BYTES:,} bytes; send a smaller one"
                        await problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)(scope, receive, send)
                        return
        except TimeoutError:
            await _too_slow()(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]
        if message["type"] != "http.request":
            whole = [message]  # the client has gone

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, replay, send)


class _TooLarge(Exception):  # noqa: N818 - named by what is wrong
    """The body has more bytes than it may."""


class _TooSlow(Exception):  # noqa: N818
    """The next piece of the body did not come."""


def _too_slow() -> Response:
    answer = problem(HTTPStatus.REQUEST_TIMEOUT, f"the body did not come within {BODY_S:.0f} s; send it again")
    answer.headers["Connection"] = "close"
    return answer


def _has_body(scope: Scope) -> bool:
    names = {name.lower() for name, _ in scope["headers"]}
    return b"content-length" in names or b"transfer-encoding" in names


def _announced_bytes(scope: Scope) -> int:
    """The Content-Length; 0 where there is none, or none that is a number: what comes is counted all the same."""
    given = next((value for name, value in scope["headers"] if name.lower() == b"content-length"), b"")
    return int(given) if given.isdigit() and len(given) < 20 else 0
