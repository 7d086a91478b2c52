"""API keys: made, listed, revoked, and recognised. Of the secret only the hash is kept.

A key is 256 random bits, so that a plain sha256 of it tells nothing: slow hashes are for secrets that people choose.
"""

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from nas.errors import InvalidInput, NotFound, Unauthorized
from nas.store.session import now
from nas.store.tables import ApiKey

OWNER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")
USED_EVERY_S: Final = 60.0
"""How often a key's row is written because it is in use."""

_ALPHABET: Final = string.ascii_letters + string.digits
_PREFIX_LETTERS: Final = 8
_SECRET_LETTERS: Final = 43  # log2(62 ** 43) is 256.03
_FORM: Final = re.compile(rf"nas_([A-Za-z0-9]{{{_PREFIX_LETTERS}}})_[A-Za-z0-9]{{{_SECRET_LETTERS}}}")
_NO_DIGEST: Final = "0" * 64
"""Compared with where no key has the prefix, so that both cost the same."""

MEND: Final = "send a valid one as `Authorization: Bearer KEY`; `nas keys create` makes one"


class Scope(StrEnum):
    """What a key allows; each one includes those before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def includes(self, other: "Scope") -> bool:
        """Whether it allows all that the other one does."""
        order = list(Scope)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Known:
    """A key that was recognised: its row's id, and what it stands for."""

    id: int
    owner: str
    scope: Scope
    expires_at: datetime | None
    used_at: datetime | None


def create(session: Session, owner: str, scope: Scope, expires_at: datetime | None = None) -> tuple[ApiKey, str]:
    """Adds a key; its row, and the key itself, which is to be had only here.

    Raises:
        InvalidInput: the owner's name or the time is not possible.
    """
    if not OWNER.fullmatch(owner):
        mend = "1 to 100 of A-Z, a-z, 0-9, '.', '_', '@' and '-', beginning with a letter or digit"
        raise InvalidInput("owner", owner, mend)
    moment = now(session)
    if expires_at is not None and expires_at <= moment:
        raise InvalidInput("expires", expires_at.isoformat(), "it has passed; give a time to come")
    prefix = _letters(_PREFIX_LETTERS)
    key = f"nas_{prefix}_{_letters(_SECRET_LETTERS)}"
    row = ApiKey(prefix=prefix, digest=_digest(key), owner=owner, scope=scope, created_at=moment, expires_at=expires_at)
    session.add(row)
    session.flush()
    return row, key


def listed(session: Session) -> list[ApiKey]:
    """All keys, the oldest first."""
    return list(session.scalars(select(ApiKey).order_by(ApiKey.id)))


def revoke(session: Session, prefix: str) -> ApiKey:
    """Makes a key worthless for ever; a second time changes nothing. Raises NotFound.

    Args:
        session: a transaction that writes.
        prefix: its public part, or the beginning `nas_PREFIX` of the key.
    """
    name = prefix.removeprefix("nas_").split("_")[0]
    row = session.scalars(select(ApiKey).where(ApiKey.prefix == name).with_for_update()).first()
    if row is None:
        raise NotFound(f"no key has the prefix {name[:16]!r}; `nas keys list` shows them")
    if row.revoked_at is None:
        row.revoked_at = now(session)
    return row


def required(session: Session) -> bool:
    """Whether requests need a key: for good, once one was made. That all of them have ended opens nothing again."""
    return session.scalar(select(ApiKey.id).limit(1)) is not None


def any_active(session: Session) -> bool:
    """Whether there is a key that can be used."""
    unexpired = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now(session))
    return session.scalar(select(ApiKey.id).where(ApiKey.revoked_at.is_(None), unexpired).limit(1)) is not None


def recognise(session: Session, key: str) -> Known:
    """What a key stands for. Raises Unauthorized; of a key that never was it says no more than of a wrong one."""
    form = _FORM.fullmatch(key)
    row = session.scalars(select(ApiKey).where(ApiKey.prefix == form[1])).first() if form else None
    if not hmac.compare_digest(row.digest if row else _NO_DIGEST, _digest(key)) or row is None:
        raise Unauthorized(f"the key is not valid; {MEND}")
    if row.revoked_at is not None:
        raise Unauthorized(f"the key {row.prefix} was revoked; {MEND}")
    if row.expires_at is not None and row.expires_at <= now(session):
        raise Unauthorized(f"the key {row.prefix} has expired; {MEND}")
    return Known(row.id, row.owner, Scope(row.scope), row.expires_at, row.used_at)


def note_use(session: Session, key: int) -> None:
    """Writes down that a key is in use, at most once in USED_EVERY_S."""
    moment = now(session)
    stale = or_(ApiKey.used_at.is_(None), ApiKey.used_at < moment - timedelta(seconds=USED_EVERY_S))
    session.execute(update(ApiKey).where(ApiKey.id == key, stale).values(used_at=moment))


def _letters(count: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(count))


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
