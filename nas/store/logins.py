"""Logins of browsers: a random token in a cookie stands for a key, for half a day at the most.

Of the token only the hash is kept. A login is worth as much as its key is at that moment: one that was revoked, or has
expired, ends all logins with it.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from nas.errors import Unauthorized
from nas.store.keys import Scope
from nas.store.session import now
from nas.store.tables import ApiKey, Login

LONGEST: Final = timedelta(hours=12)
"""How long a login holds."""

MEND: Final = "log in again"

_BYTES: Final = 32
_FORM: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # what 32 bytes are in base64 for URLs


@dataclass(frozen=True, slots=True)
class Known:
    """A login that was recognised.

    Attributes:
        key: the id of its key's row; None: the key of whoever started the process.
        owner, scope: of that key; without a meaning where there is no row.
        expires_at: when it ends, or its key does.
    """

    key: int | None
    owner: str
    scope: Scope
    expires_at: datetime


def begin(session: Session, key: int | None, own_key: str | None = None) -> tuple[str, timedelta]:
    """Adds a login; its token, which is to be had only here, and how long it holds.

    Args:
        session: a transaction that writes.
        key: the id of the key's row; None: it is `own_key`.
        own_key: of whoever started the process: only who knows it recognises that login again.
    """
    if key is None and not own_key:
        raise ValueError("a login needs a key")
    token, moment = secrets.token_urlsafe(_BYTES), now(session)
    ends_at = None if key is None else session.get_one(ApiKey, key).expires_at
    expires_at = moment + LONGEST if ends_at is None else min(ends_at, moment + LONGEST)
    digest = _digest(token, "" if key is not None else own_key or "")
    session.add(Login(digest=digest, key_id=key, created_at=moment, expires_at=expires_at))
    session.flush()
    return token, expires_at - moment


def recognise(session: Session, token: str, own_key: str | None = None) -> Known:
    """Whom a token stands for. Raises Unauthorized.

    Args:
        session: to read in.
        token: what the cookie holds.
        own_key: of whoever started this process, if there is one.
    """
    row = _row(session, token, own_key)
    moment = now(session)
    if row is None or row.expires_at <= moment:
        raise Unauthorized(f"this browser is not logged in any more; {MEND}")
    if row.key_id is None:
        return Known(None, "", Scope.ADMIN, row.expires_at)
    key = session.get_one(ApiKey, row.key_id)
    if key.revoked_at is not None:
        raise Unauthorized(f"the key {key.prefix}, with which this browser was logged in, was revoked; {MEND}")
    if key.expires_at is not None and key.expires_at <= moment:
        raise Unauthorized(f"the key {key.prefix}, with which this browser was logged in, has expired; {MEND}")
    ends_at = row.expires_at if key.expires_at is None else min(row.expires_at, key.expires_at)
    return Known(key.id, key.owner, Scope(key.scope), ends_at)


def end(session: Session, token: str, own_key: str | None = None) -> None:
    """Makes a token worthless; one that is so already changes nothing."""
    row = _row(session, token, own_key)
    if row is not None:
        session.delete(row)


def expire(session: Session) -> int:
    """Deletes the logins that have ended, by themselves or with their keys; how many."""
    moment = now(session)
    ended = select(ApiKey.id).where(or_(ApiKey.revoked_at.is_not(None), ApiKey.expires_at <= moment))
    old = delete(Login).where(or_(Login.expires_at <= moment, Login.key_id.in_(ended))).returning(Login.digest)
    return len(session.scalars(old).all())


def csrf(token: str) -> str:
    """What a page of ours says beside the cookie, and no other one can know: it follows from the token."""
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()


def _row(session: Session, token: str, own_key: str | None) -> Login | None:
    if not _FORM.fullmatch(token):
        return None
    row = session.get(Login, _digest(token, ""))
    if row is not None:
        return row if row.key_id is not None else None
    return session.get(Login, _digest(token, own_key)) if own_key else None


def _digest(token: str, own_key: str) -> str:
    """A random token needs no slow hash; see nas.store.keys."""
    return hashlib.sha256(f"{own_key}{token}".encode()).hexdigest()
