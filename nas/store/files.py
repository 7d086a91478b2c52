"""Which files of the artifact store belong to which trial."""

from typing import Any

from sqlalchemy import Connection, bindparam, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from nas.store.artifacts import Stored
from nas.store.session import CLOCK
from nas.store.states import Phase
from nas.store.tables import Artifact, Trial


def artifact(session: Session, trial_id: int, kind: str) -> str | None:
    """The sha256 of a trial's artifact of that kind, if it has one."""
    return session.scalar(select(Artifact.sha256).where(Artifact.trial_id == trial_id, Artifact.kind == kind))


def of_kind(session: Session, job_id: str, kind: str) -> list[tuple[Trial, str]]:
    """The artifacts of a job of a kind, also those in parts (`kind-0001`, …): (trial, sha256) by number and part."""
    rows = session.execute(
        select(Trial, Artifact.sha256)
        .join(Artifact, Artifact.trial_id == Trial.id)
        .where(Trial.job_id == job_id, or_(Artifact.kind == kind, Artifact.kind.startswith(f"{kind}-")))
        .order_by(Trial.number, Artifact.kind)
    )
    return [(trial, sha256) for trial, sha256 in rows]


def package(session: Session, job_id: str) -> str | None:
    """The sha256 of a job's package, if it has one."""
    return session.scalar(
        select(Artifact.sha256)
        .join(Trial, Trial.id == Artifact.trial_id)
        .where(Trial.job_id == job_id, Trial.phase == Phase.REPORT, Artifact.kind == "package")
        .order_by(Trial.number.desc())  # an earlier one is forgotten with the end of the next
        .limit(1)
    )


def record(session: Session, trial_id: int, kind: str, stored: Stored) -> str | None:
    """Records a trial's file of a kind; returns the sha256 of the one it replaces."""
    session.flush()
    return recorded(session.connection(), trial_id, kind, stored)


def recorded(connection: Connection, trial_id: int, kind: str, stored: Stored) -> str | None:
    """As `record` has it, where no objects of a session are at play."""
    named = {"trial_id": trial_id, "kind": kind}
    before: str | None = connection.execute(_SHA256, named).scalar()
    written = {"sha256": stored.sha256, "size_bytes": stored.size_bytes}
    connection.execute(_RECORD[connection.dialect.name], named | written)
    return before if before != stored.sha256 else None


def forget(session: Session, trial_id: int, kind: str) -> str | None:
    """Takes a trial's file of a kind out of the records; returns its sha256, for the file to be deleted."""
    session.flush()
    return session.connection().execute(_FORGET, {"trial_id": trial_id, "kind": kind}).scalar()


# Made once: with every epoch a checkpoint is recorded, and making a statement takes longer than executing it.

_KEY = (Artifact.trial_id == bindparam("trial_id"), Artifact.kind == bindparam("kind"))
_SHA256 = select(Artifact.sha256).where(*_KEY)
_FORGET = delete(Artifact).where(*_KEY).returning(Artifact.sha256)


def _recording(dialect: Any) -> Any:
    written = dialect.insert(Artifact).values(created_at=CLOCK)
    changed = {name: written.excluded[name] for name in ("sha256", "size_bytes", "created_at")}
    return written.on_conflict_do_update(index_elements=["trial_id", "kind"], set_=changed)


_RECORD = {"sqlite": _recording(sqlite), "postgresql": _recording(postgresql)}
