"""Who asks, and what they may see and do."""

import hashlib
import hmac
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, TypeVar

from anyio import to_thread
from fastapi import Depends, Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from api.browsers import SAFE, misdirected
from api.errors import UNAVAILABLE, told, unavailable
from api.limits import Rate
from api.parameters import PLAIN
from nas.errors import Forbidden, NasError, NotFound, Unauthorized
from nas.log import about
from nas.store import keys, owners
from nas.store.keys import Scope
from nas.store.session import Store
from nas.store.tables import LOCAL

K = TypeVar("K")
V = TypeVar("V")

FRESH_S: Final = 1.0
"""How long what the database said of a key holds: so long after its revocation a key can still be used."""

REMEMBERED: Final = 10_000
"""Keys, and jobs' owners, that one process remembers."""

DOCUMENT: Final = "/openapi.json"

OPEN: Final = ("/healthz", "/readyz", DOCUMENT, "/docs", "/docs/oauth2-redirect", "/redoc")
"""Paths that need no key: they tell nothing of anybody. /problems/… is another."""

ADMINS: Final = ("/metrics",)
"""Paths that only admins may see: they tell of all owners at once."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        owner: of what they make.
        scope: of their key.
        key: its row's id; None where there are no keys.
    """

    owner: str
    scope: Scope
    key: int | None = None

    def sees(self, owner: str) -> bool:
        """Whether something of that owner exists for them."""
        return self.scope == Scope.ADMIN or owner == self.owner

    @property
    def only(self) -> str | None:
        """The owner whose things they see; None if they see all."""
        return None if self.scope == Scope.ADMIN else self.owner


EVERYONE: Final = Caller(LOCAL, Scope.ADMIN)
"""Who asks where there are no keys, and the service that a command runs for itself."""

NOBODY: Final = Caller("", Scope.READ)
"""Who asks without a key for what needs none."""


async def _caller(request: Request) -> Caller:  # async: FastAPI would take a thread for it
    caller = request.state.caller  # without Access before it an app answers nobody
    if not isinstance(caller, Caller):
        raise TypeError(caller)
    return caller


CurrentCaller = Annotated[Caller, Depends(_caller)]


def is_open(path: str) -> bool:
    """Whether a path needs no key."""
    return path in OPEN or path.startswith("/problems/")


class KeyRing:
    """Whom the bearer of a key stands for. What the database says holds for FRESH_S.

    Attributes:
        required: whether requests need a key, as far as is known.

    Args:
        store: with the keys.
        own_key: a key that is in no database, of whoever started this process.
        clock: seconds.
    """

    def __init__(self, store: Store, own_key: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._own_key = own_key
        self._clock = clock
        self.required = False
        self._required_until = float("-inf")
        self._known: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()
        self._noted: OrderedDict[int, float] = OrderedDict()

    async def caller(self, authorization: list[str]) -> Caller:
        """Who sends these headers. Raises Unauthorized."""
        if not await self.ask_whether_required():
            return EVERYONE
        if not authorization:
            raise Unauthorized(f"this service asks for an API key; {keys.MEND}")
        scheme, _, key = authorization[0].strip().partition(" ")
        key = key.strip()
        if len(authorization) > 1 or scheme.lower() != "bearer" or not key:
            raise Unauthorized(f"the header Authorization has to be there once, as `Bearer KEY`; {keys.MEND}")
        if self._own_key is not None and hmac.compare_digest(key.encode(), self._own_key.encode()):
            return EVERYONE
        return await self._recognise(key)

    async def note_use(self, caller: Caller) -> None:
        """Writes down that a key is in use, once in a while."""
        key, moment = caller.key, self._clock()
        if key is None or moment < self._noted.get(key, float("-inf")) + keys.USED_EVERY_S:
            return
        _remember(self._noted, key, moment)

        def write() -> None:
            with self._store.write() as session:
                keys.note_use(session, key)

        try:
            await to_thread.run_sync(write)
        except SQLAlchemyError:  # nobody's request depends on it
            self._noted.pop(key, None)

    async def ask_whether_required(self) -> bool:
        """Whether requests need a key, as of FRESH_S ago at the most; `required` has what this has returned last."""
        if not self.required and self._clock() >= self._required_until:
            self.required = await to_thread.run_sync(self._ask_required)
            self._required_until = self._clock() + FRESH_S
        return self.required

    def _ask_required(self) -> bool:
        with self._store.read() as session:
            return keys.required(session)

    async def _recognise(self, key: str) -> Caller:
        name = hashlib.sha256(key.encode()).digest()
        caller, until = self._known.get(name, (NOBODY, float("-inf")))
        if self._clock() < until:
            return caller
        try:
            found = await to_thread.run_sync(self._ask_who, key)
        except Unauthorized:
            self._known.pop(name, None)
            raise
        caller = Caller(found.owner, found.scope, found.id)
        left = FRESH_S
        if found.expires_at is not None:
            left = min(left, (found.expires_at - datetime.now(UTC)) / timedelta(seconds=1))
        _remember(self._known, name, (caller, self._clock() + left))
        return caller

    def _ask_who(self, key: str) -> keys.Known:
        with self._store.read() as session:
            return keys.recognise(session, key)


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
        if is_open(path):
            return NOBODY
        given = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"authorization"]
        caller = await self._ring.caller(given)
        needed = Scope.ADMIN if path in ADMINS else Scope.READ if scope["method"] in SAFE else Scope.WRITE
        if not caller.scope.includes(needed):
            raise Forbidden(f"this needs a key with the scope {needed}; the scope of the one sent is {caller.scope}")
        return caller


class JobOwners:
    """Whose jobs are: asked for once each, since that never changes.

    Args:
        store: with the jobs.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[str, str] = OrderedDict()

    async def owner(self, job_id: str) -> str | None:
        """The owner of a job; None if there is, or was, no such job."""
        owner = self._known.get(job_id)
        if owner is None:
            owner = await to_thread.run_sync(self._ask, job_id)
            if owner is not None:
                _remember(self._known, job_id, owner)
        return owner

    def _ask(self, job_id: str) -> str | None:
        with self._store.read() as session:
            return owners.owner_of(session, job_id)


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


def _remember(known: OrderedDict[K, V], name: K, value: V) -> None:
    known[name] = value
    known.move_to_end(name)
    while len(known) > REMEMBERED:
        known.popitem(last=False)
