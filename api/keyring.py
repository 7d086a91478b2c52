"""Who asks: whom a key, or the login of a browser, stands for."""

import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from anyio import to_thread
from sqlalchemy.exc import SQLAlchemyError

from api.owners import remember
from nas.errors import Unauthorized
from nas.store import keys, logins
from nas.store.keys import Scope
from nas.store.session import Store
from nas.store.tables import LOCAL

FRESH_S: Final = 1.0
"""How long what the database said of a key holds: so long after its revocation a key can still be used."""


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
        return await self._remembered(b"key " + key.encode(), lambda: self._ask_who(key))

    async def logged_in(self, token: str) -> Caller:
        """Whom a login stands for. Raises Unauthorized."""
        return await self._remembered(b"login " + token.encode(), lambda: self._ask_login(token))

    async def log_in(self, caller: Caller, instead_of: str | None) -> tuple[str, timedelta]:
        """A new login of somebody whose key was recognised: its token, and how long it holds.

        Args:
            caller: whose login it is.
            instead_of: the token that their browser had before, which ends with this.
        """

        def write() -> tuple[str, timedelta]:
            with self._store.write() as session:
                if instead_of is not None:
                    logins.end(session, instead_of, self._own_key)
                return logins.begin(session, caller.key, self._own_key)

        found = await to_thread.run_sync(write)
        self._forget(instead_of)
        return found

    async def log_out(self, token: str) -> None:
        """Ends a login, here at once, and in other processes within FRESH_S."""

        def write() -> None:
            with self._store.write() as session:
                logins.end(session, token, self._own_key)

        await to_thread.run_sync(write)
        self._forget(token)

    async def note_use(self, caller: Caller) -> None:
        """Writes down that a key is in use, once in a while."""
        key, moment = caller.key, self._clock()
        if key is None or moment < self._noted.get(key, float("-inf")) + keys.USED_EVERY_S:
            return
        remember(self._noted, key, moment)

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

    async def _remembered(self, name: bytes, ask: Callable[[], tuple[Caller, datetime | None]]) -> Caller:
        """What `ask` answers of a secret, or has answered lately. Raises Unauthorized."""
        name = hashlib.sha256(name).digest()
        caller, until = self._known.get(name, (NOBODY, float("-inf")))
        if self._clock() < until:
            return caller
        try:
            caller, expires_at = await to_thread.run_sync(ask)
        except Unauthorized:
            self._known.pop(name, None)
            raise
        left = FRESH_S
        if expires_at is not None:
            left = min(left, (expires_at - datetime.now(UTC)) / timedelta(seconds=1))
        remember(self._known, name, (caller, self._clock() + left))
        return caller

    def _forget(self, token: str | None) -> None:
        if token is not None:
            self._known.pop(hashlib.sha256(b"login " + token.encode()).digest(), None)

    def _ask_who(self, key: str) -> tuple[Caller, datetime | None]:
        with self._store.read() as session:
            found = keys.recognise(session, key)
        return Caller(found.owner, found.scope, found.id), found.expires_at

    def _ask_login(self, token: str) -> tuple[Caller, datetime]:
        with self._store.read() as session:
            found = logins.recognise(session, token, self._own_key)
        caller = EVERYONE if found.key is None else Caller(found.owner, found.scope, found.key)
        return caller, found.expires_at
