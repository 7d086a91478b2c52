"""Which workers are alive."""

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from nas.store.session import now
from nas.store.tables import Worker


def register(session: Session, worker: str, device: str, *, ray: bool = False) -> None:
    """Announces a worker, whether it has Ray, and forgets those that vanished a day ago."""
    moment = now(session)
    session.execute(delete(Worker).where(Worker.seen_at < moment - timedelta(days=1)))
    session.add(Worker(id=worker, device=device, ray=ray, started_at=moment, seen_at=moment))


def seen(session: Session, workers: Collection[str]) -> None:
    """Notes that workers are alive."""
    session.execute(update(Worker).where(Worker.id.in_(workers)).values(seen_at=now(session)))


def unregister(session: Session, worker: str) -> None:
    """Forgets a worker that stops."""
    session.execute(delete(Worker).where(Worker.id == worker))


def alive(session: Session, lease_s: float) -> list[Worker]:
    """The workers that were seen within a lease."""
    since = now(session) - timedelta(seconds=lease_s)
    return list(session.scalars(select(Worker).where(Worker.seen_at >= since).order_by(Worker.id)))
