"""What is noted of every request: its id, its line in the log, its place in the figures, its span."""

import logging
import re
import secrets
import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.meters import Meters
from nas import traces
from nas.log import about

log = logging.getLogger(__name__)

HEADER: Final = "X-Request-ID"

_SANE: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_QUIET: Final = ("/healthz", "/readyz", "/metrics")
"""Paths that machines ask for every few seconds: DEBUG will do."""

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Requests:
    """Gives each request an id, that of its X-Request-ID if it has a usable one, and notes how it was answered.

    The id is `request.state.request_id`, in every line of the log, and in the answer's X-Request-ID.

    Args:
        app: what it stands before.
        meters: the figures.
    """

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self._app = app
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _given(scope) or secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        begun, status, sent_s = time.perf_counter(), 500, None

        async def sending(message: Message) -> None:
            nonlocal status, sent_s
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (HEADER.lower().encode(), request_id.encode())]
                if _lasts(message):
                    sent_s = time.perf_counter() - begun
            await send(message)

        self._meters.requests_in_flight.inc()
        try:
            with (
                about(request_id=request_id),
                traces.server_span(method, lambda: _headers(scope)) as span,
            ):
                try:
                    await self._app(scope, receive, sending)
                finally:
                    passed_s = time.perf_counter() - begun
                    route = _route(scope)
                    if span is not None:
                        span.update_name(f"{method} {route}")
                        span.set_attributes({"http.request.method": method, "http.route": route})
                        span.set_attributes({"http.response.status_code": status, "nas.request_id": request_id})
                    self._meters.latency.labels(route, method, str(status)).observe(
                        passed_s if sent_s is None else sent_s
                    )
                    _log(scope, method, route, status, 1000 * passed_s)
        finally:
            self._meters.requests_in_flight.dec()


def _given(scope: Scope) -> str | None:
    """The id that the request has, if it is one that can stand in a header and in a log."""
    given = [value for name, value in scope["headers"] if name.lower() == HEADER.lower().encode()]
    return given[0].decode() if len(given) == 1 and _SANE.fullmatch(given[0]) else None


def _route(scope: Scope) -> str:
    """The template of the path: there are a few dozen of them, and any number of paths."""
    # FastAPI keeps the path of a router's route as it stands in the router, and the whole of it beside.
    whole = scope.get("fastapi", {}).get("effective_route_context")
    route = whole if whole is not None else scope.get("route")
    return str(getattr(route, "path", "")) or "unmatched"


def _lasts(message: Message) -> bool:
    """Whether the answer is a stream that stays open: its length says nothing of how fast the service is."""
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/event-stream") for name, value in message["headers"]
    )


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _log(scope: Scope, method: str, route: str, status: int, passed_ms: float) -> None:
    level = logging.DEBUG if route in _QUIET else logging.INFO
    if not log.isEnabledFor(level):
        return
    fields = {"method": method, "route": route, "status": status, "ms": round(passed_ms, 1)}
    owner = getattr(scope["state"].get("caller"), "owner", "")
    named = scope.get("path_params") or {}
    ids = {"owner": owner, "job_id": named.get("job_id", ""), "trial": named.get("number", "")}
    with about(**{name: value for name, value in ids.items() if value != ""}):
        log.log(level, "%s %s %d %.1f ms", method, route, status, passed_ms, extra={"fields": fields})
