"""Logging in with a browser: a key is sent once, and a cookie stands for it from then on."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from api import cookies
from api.access import SESSION, CurrentCaller
from api.keyring import EVERYONE, NOBODY, Caller, KeyRing
from api.limits import Tries
from api.parameters import PROBLEM
from nas.errors import Unauthorized
from nas.store import logins

router = APIRouter(prefix=SESSION, tags=["session"])

WRONG = "the key is not valid; look at how it begins and ends, or make another one with `nas keys create`"


class Key(BaseModel):
    """What a login is asked for with."""

    key: Annotated[str, Field(max_length=500, description="an API key", examples=["nas_…"])]


class Session(BaseModel):
    """Who a browser, or the bearer of a key, is here."""

    login: bool = Field(description="whether a cookie says so")
    required: bool = Field(False, description="whether the service asks for a key, and the request had none that holds")
    owner: str | None = Field(description="null where one is required")
    scope: str | None = Field(description="read, write or admin; null where one is required")
    csrf: str | None = Field(
        description=f"to be sent as {cookies.HEADER} with every request by cookie that is not GET or HEAD"
    )

    @classmethod
    def of(cls, caller: Caller, token: str | None) -> "Session":
        """From who asks, and their cookie's token if that is what says so."""
        csrf = None if token is None else logins.csrf(token)
        return cls(login=token is not None, owner=caller.owner, scope=caller.scope, csrf=csrf)


@router.post("", responses=dict.fromkeys((401, 403, 422, 429), PROBLEM))
async def log_in(request: Request, response: Response, body: Key) -> Session:
    """Logs a browser in: the answer sets a cookie, which holds for 12 hours, or until the key ends.

    After ten wrong keys within a minute an address has to wait. A service without keys lets everybody in anyway.
    """
    ring = _ring(request)
    if not await ring.ask_whether_required():
        return Session.of(EVERYONE, None)
    tries: Tries = request.app.state.tries
    address = request.client.host if request.client is not None else ""
    tries.take(address)
    try:
        caller = await ring.caller([f"Bearer {body.key}"])
    except Unauthorized as error:
        raise Unauthorized(WRONG) from error
    tries.forgive(address)
    request.app.state.rate.take(caller.key)
    token, lasts = await ring.log_in(caller, cookies.token_of(request.scope))
    cookies.keep(response, request.scope, token, lasts)
    return Session.of(caller, token)


@router.get("")
async def show_session(request: Request, caller: CurrentCaller) -> Session:
    """Who asks, and whether by a login; or that one is required. 401 is for keys in a header that do not hold."""
    if caller is NOBODY:
        return Session(login=False, required=True, owner=None, scope=None, csrf=None)
    return Session.of(caller, getattr(request.state, "login", None))


@router.delete("", status_code=204, response_class=Response)
async def log_out(request: Request, caller: CurrentCaller) -> Response:
    """Ends the login that the request came with, if it did with one."""
    token = getattr(request.state, "login", None)
    if token is not None:
        await _ring(request).log_out(token)
    response = Response(status_code=204)
    cookies.clear(response, request.scope)
    return response


def _ring(request: Request) -> KeyRing:
    ring = request.app.state.ring
    if not isinstance(ring, KeyRing):
        raise TypeError(ring)
    return ring
