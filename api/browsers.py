"""Against pages that make a visitor's browser send requests here: on their behalf, or under a name of their own."""

import ipaddress
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import problem

SAFE: Final = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing, and whose answers a page of another site cannot read."""


_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{1,5})?")

CORS: Final[dict[str, Any]] = {
    "allow_methods": ("GET", "POST", "PUT", "PATCH", "DELETE"),
    "allow_headers": ("Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "Last-Event-ID", "Range"),
    "expose_headers": (
        "Content-Disposition",
        "Content-Range",
        "ETag",
        "Location",
        "RateLimit",
        "RateLimit-Policy",
        "Retry-After",
        "WWW-Authenticate",
    ),
    "max_age": 600,
}
"""What pages of the origins in NAS_CORS_ORIGINS may send and read: keys in a header, cookies never."""


class SameSite:
    """Refuses requests that change something and that a page of another site has sent.

    Browsers say where a request comes from (the headers Origin and Sec-Fetch-Site); other clients send neither.

    Args:
        app: what it stands before.
        origins: whose pages may.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str] = ()) -> None:
        self._app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and scope["method"] not in SAFE and not self._may(Headers(scope=scope)):
            detail = "a page of another site sent this; such pages may not, unless NAS_CORS_ORIGINS names their origin"
            await problem(HTTPStatus.FORBIDDEN, detail)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _may(self, headers: Headers) -> bool:
        return headers.get("Origin") in self._origins or is_own(headers)


def is_own(headers: Headers) -> bool:
    """Whether no browser says of a request that a page of another origin has sent it, be it on the same host."""
    origin = headers.get("Origin")
    if origin is None:
        return headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
    return _authority(origin) == headers.get("Host", "").lower()


def misdirected(scope: Scope) -> Response | None:
    """What a service without keys answers to a request that did not mean this machine; None if it did.

    A page can have its own name lead to 127.0.0.1 once it is loaded, and then reads what it gets (DNS rebinding): the
    header Host has that name still. So it has to be a name of the loopback, or the address that was connected to.
    """
    address = str((scope.get("server") or ("", None))[0])
    if _is_address(address) and not is_loopback(address):
        return problem(
            HTTPStatus.MISDIRECTED_REQUEST,
            "a service without keys serves its own machine only; make a key with `nas keys create`",
        )
    host = Headers(scope=scope).get("Host", "")
    form = _HOST.fullmatch(host)
    name = (form[1] or form[2]) if form else ""
    if host and not is_loopback(name) and (not name or name.lower() != address.lower()):
        mend = "use http://127.0.0.1 or http://localhost; to serve other names, make a key with `nas keys create`"
        return problem(
            HTTPStatus.MISDIRECTED_REQUEST, f"Host: {host[:200]!r} is no name of this machine's loopback: {mend}"
        )
    return None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address of that name: 127.0.0.0/8, ::1, localhost."""
    return ipaddress.ip_address(host).is_loopback if _is_address(host) else host.lower() == "localhost"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _authority(origin: str) -> str:
    """Host and port of an origin; empty for `null`, which is what a page without one sends."""
    return origin.partition("://")[2].lower()
