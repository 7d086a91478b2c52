"""Answers to requests that name an Idempotency-Key, kept so that the same request is not done twice.

Follows draft-ietf-httpapi-idempotency-key-header: a key stands for one request of its owner. The answer is written in
the transaction that does what was asked: however a process dies, there are both or there is neither.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from nas.store.session import now
from nas.store.tables import Answer

KEPT: Final = timedelta(hours=24)
"""How long an answer is given again; then its key is free."""


def find(session: Session, owner: str, key: str) -> Answer | None:
    """The answer that a key of an owner stands for, if there is one."""
    row = session.get(Answer, (owner, key), populate_existing=True)
    return row if row is not None and row.created_at > now(session) - KEPT else None


def reserve(session: Session, owner: str, key: str, request: str) -> Answer | None:
    """Takes a key for the answer that this transaction makes, before it does anything else.

    Where another transaction has the key at this moment, this one waits for its end.

    Args:
        session: of the transaction.
        owner, key: of the request.
        request: the sha256 of its method, path and body.

    Returns:
        The answer that the key stands for already; None if the key was free.
    """
    moment = now(session)
    session.execute(delete(Answer).where(Answer.owner == owner, Answer.key == key, Answer.created_at <= moment - KEPT))
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    taken = session.scalar(
        dialect.insert(Answer)
        .values(owner=owner, key=key, request=request, status=0, headers={}, body="", created_at=moment)
        .on_conflict_do_nothing(index_elements=["owner", "key"])
        .returning(Answer.key)
    )
    return None if taken is not None else session.get_one(Answer, (owner, key), populate_existing=True)


def keep(session: Session, owner: str, key: str, status: int, headers: Mapping[str, str], body: str) -> None:
    """Writes the answer for a key that this transaction has reserved."""
    row = session.get_one(Answer, (owner, key), populate_existing=True)
    row.status, row.headers, row.body = status, dict(headers), body


def expire(session: Session) -> int:
    """Forgets the answers that are no longer kept; returns how many."""
    gone = session.scalars(delete(Answer).where(Answer.created_at <= now(session) - KEPT).returning(Answer.key)).all()
    return len(gone)
