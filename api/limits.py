"""Bounds on what a request may send, how slowly, and how many requests a key may make."""

import ipaddress
import re
import time
from collections import OrderedDict, deque
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
"""Keys whose requests one process counts, and addresses whose wrong keys."""

TRIES: Final = 10
"""Wrong keys that may come from an address within a minute."""

MINUTE_S: Final = 60.0

IPV6_BITS: Final = 64
"""Of an address, those that name a customer's network."""

DATASET: Final = re.compile(r"POST /v1/datasets/*")
PICTURE: Final = re.compile(r"POST /v1/jobs/[^/]+/predict")
"""The requests that may bring more: their bodies go on to the routes as they come."""

PICTURE_BYTES: Final = 32 << 20
"""A photograph as it comes from a camera has 20 MB at the most."""


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


class Tries:
    """Counts the wrong keys that come from each address: so many a minute, and then none, right or wrong.

    Args:
        per_minute: wrong keys that an address may send.
        clock: seconds.
    """

    def __init__(self, per_minute: int = TRIES, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._tried: OrderedDict[str, deque[float]] = OrderedDict()

    def take(self, address: str) -> None:
        """Counts a key before it is looked at, so that many at once are no way around it. Raises TooMany."""
        moment, tried = self._clock(), self._tried.setdefault(_network(address), deque())
        while tried and tried[0] <= moment - MINUTE_S:
            tried.popleft()
        self._tried.move_to_end(_network(address))
        while len(self._tried) > COUNTED:
            self._tried.popitem(last=False)
        if len(tried) >= self._per_minute:
            text = f"{self._per_minute} keys that came from here within a minute were not valid; look which one is"
            raise TooMany(text, tried[0] + MINUTE_S - moment)
        tried.append(moment)

    def forgive(self, address: str) -> None:
        """Takes the last one back: the key was valid."""
        tried = self._tried.get(_network(address))
        if tried:
            tried.pop()


class BodyLimit:
    """Answers 413 to a body that is too large, announced or not, before it is held in memory; 408 to one too slow.

    Args:
        app: what it stands before.
        max_upload_bytes: the bound for DATASET; for a PICTURE it is PICTURE_BYTES if that is less, and for everything
            else MAX_BODY_BYTES.
    """

    def __init__(self, app: ASGIApp, max_upload_bytes: int) -> None:
        self._app = app
        self._max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        named = f"{scope['method']} {scope['path'].removeprefix(scope.get('root_path', ''))}"
        if DATASET.fullmatch(named):
            mend = "send fewer or smaller images, or start the service with a larger NAS_MAX_UPLOAD_BYTES"
            await self._stream(scope, receive, send, self._max_upload_bytes, mend)
        elif PICTURE.fullmatch(named):
            limit = min(PICTURE_BYTES, self._max_upload_bytes)
            await self._stream(scope, receive, send, limit, "send a smaller image")
        else:
            await self._hold(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send, limit: int, mend: str) -> None:
        """Counts the body while the route reads it."""
        received, more = 0, True

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
            mend = f"at most {limit:,} bytes; {mend}"
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


def _network(address: str) -> str:
    """The address; of IPv6 the network that one customer gets, who has all addresses in it."""
    try:
        given = ipaddress.ip_address(address)
    except ValueError:
        return address
    if given.version == 4 or given.is_loopback:
        return address
    return str(ipaddress.ip_network((int(given), IPV6_BITS), strict=False))


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
