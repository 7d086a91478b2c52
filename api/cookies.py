"""The cookie of a browser that is logged in: read from requests, set, cleared, and guarded.

A browser sends it with whatever a page asks for. So it counts only for pages of our own (SameSite, and what browsers
say of where a request comes from), and what changes something needs a token beside it that only such a page can know.
"""

import hmac
from datetime import timedelta
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from api.browsers import SAFE, is_own
from nas.errors import Forbidden
from nas.store import logins

NAME: Final = "nas_session"
HEADER: Final = "X-CSRF-Token"


def token_of(scope: Scope) -> str | None:
    """The token in the cookie of a request; None if there is none, or another site's page has sent it."""
    headers = Headers(scope=scope)
    if not is_own(headers):
        return None
    pairs = (pair.strip().partition("=") for given in headers.getlist("Cookie") for pair in given.split(";"))
    return next((value for name, _, value in pairs if name == NAME and value), None)


def check_csrf(scope: Scope, token: str) -> None:
    """Lets a request of that login pass that changes nothing, or comes from our own page. Raises Forbidden."""
    if scope["method"] in SAFE:
        return
    given = Headers(scope=scope).getlist(HEADER)
    if len(given) != 1 or not hmac.compare_digest(given[0].encode(), logins.csrf(token).encode()):
        raise Forbidden(f"by cookie this needs the header {HEADER} once, with `csrf` of GET /session; or send a key")


def keep(response: Response, scope: Scope, token: str, lasts: timedelta) -> None:
    """Has the browser keep a token, out of the reach of scripts, for as long as its login holds."""
    seconds = max(0, int(lasts.total_seconds()))
    _set(response, scope, token, seconds)


def clear(response: Response, scope: Scope) -> None:
    """Has the browser forget its token."""
    _set(response, scope, "", 0)


def _set(response: Response, scope: Scope, token: str, max_age_s: int) -> None:
    response.set_cookie(
        NAME,
        token,
        max_age=max_age_s,
        path=scope.get("root_path") or "/",
        secure=scope["scheme"] == "https",
        httponly=True,
        samesite="strict",
    )
