"""What a request needs a key for, and whose it is."""

import re
from typing import Annotated, Final

from fastapi import Depends, Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from api import cookies
from api.browsers import SAFE, misdirected
from api.errors import UNAVAILABLE, told, unavailable
from api.keyring import EVERYONE, NOBODY, Caller, KeyRing
from api.limits import Rate
from api.owners import JobOwners
from api.parameters import PLAIN
from nas.errors import Forbidden, NasError, NotFound, Unauthorized
from nas.log import about
from nas.store.keys import Scope

DOCUMENT: Final = "/openapi.json"

OPEN: Final = ("/healthz", "/readyz", DOCUMENT, "/docs")
"""Paths that need no key: they tell nothing of anybody. /problems/… is another, and so is every page (api.web)."""

KEYED: Final = ("/v1/", "/metrics", "/session")
"""What the paths begin with that need one."""

SESSION: Final = "/session"
"""Where browsers log in and out: whoever logs in sends the key in the body, and to log out any scope will do."""

ADMINS: Final = ("/metrics",)
"""Paths that only admins may see: they tell of all owners at once."""

READS: Final = re.compile(r"/v1/jobs/[^/]+/predict|/session")
"""Paths at which any method is reading, as far as scopes are concerned."""


async def _caller(request: Request) -> Caller:  # async: FastAPI would take a thread for it
    caller = request.state.caller  # without Access before it an app answers nobody
    if not isinstance(caller, Caller):
        raise TypeError(caller)
    return caller


CurrentCaller = Annotated[Caller, Depends(_caller)]


def is_open(path: str, method: str = "GET") -> bool:
    """Whether a path needs no key before its route is reached."""
    return path in OPEN or not path.startswith(KEYED) or (path, method) == (SESSION, "POST")


class Access:
    """Lets a request through that has a key with the scope that it needs, and says in `request.state` whose it is.

    Args:
        app: what it stands before.
        ring: knows the keys.
        rate: counts each key's requests.
    """

    def __init__(self, app: ASGIApp, ring: KeyRing, rate: Rate) -> None:
        self._app = app
        self._ring = ring
        self._rate = rate

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._let_in(scope)
            left = self._rate.take(caller.key)
        except NasError as error:
            await told(error)(scope, receive, send)
            return
        except UNAVAILABLE as error:
            await unavailable(error)(scope, receive, send)
            return
        strange = misdirected(scope) if caller is EVERYONE else None
        if strange is not None:
            await strange(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = caller

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(left)
            await send(message)

        with about(owner=caller.owner):
            await self._app(scope, receive, counted if left else send)
        await self._ring.note_use(caller)

    async def _let_in(self, scope: AsgiScope) -> Caller:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path == DOCUMENT:
            await self._ring.ask_whether_required()  # which it tells
        if is_open(path, scope["method"]):
            return NOBODY
        try:
            caller = await self._caller(scope)
        except Unauthorized:
            if (path, scope["method"]) == (SESSION, "GET") and not _headers(scope):
                return NOBODY  # a browser asks whether it is logged in: that it is not is an answer, and no fault
            raise
        reads = scope["method"] in SAFE or READS.fullmatch(path) is not None
        needed = Scope.ADMIN if path in ADMINS else Scope.READ if reads else Scope.WRITE
        if not caller.scope.includes(needed):
            raise Forbidden(f"this needs a key with the scope {needed}; the scope of the one sent is {caller.scope}")
        return caller

    async def _caller(self, scope: AsgiScope) -> Caller:
        """Whose key the header Authorization has, or else who is logged in. Raises Unauthorized, Forbidden."""
        given = _headers(scope)
        token = cookies.token_of(scope) if not given and await self._ring.ask_whether_required() else None
        if token is None:
            return await self._ring.caller(given)
        caller = await self._ring.logged_in(token)
        cookies.check_csrf(scope, token)
        scope.setdefault("state", {})["login"] = token
        return caller


def _headers(scope: AsgiScope) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"authorization"]


async def own_job(request: Request) -> None:
    """Stands before every route: a job in its path has to be the caller's, or there is none. Raises NotFound."""
    job_id = request.path_params.get("job_id")
    if not isinstance(job_id, str) or len(job_id) > 64 or not re.fullmatch(PLAIN, job_id):
        return  # the route says what is wrong with it
    caller = await _caller(request)
    if caller.only is None:
        return  # the route says whether there is such a job
    jobs = request.app.state.job_owners
    if not isinstance(jobs, JobOwners):
        raise TypeError(jobs)
    owner = await jobs.owner(job_id)
    if owner is None or not caller.sees(owner):
        raise NotFound(f"there is no job {job_id!r}; GET /v1/jobs lists them")
