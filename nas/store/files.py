"""Which files of the artifact store belong to which trial."""

from sqlalchemy import or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from nas.store.artifacts import Stored
from nas.store.session import now
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
    )


def record(session: Session, trial_id: int, kind: str, stored: Stored) -> str | None:
    """Records a trial's file of a kind; returns the sha256 of the one it replaces."""
    before = artifact(session, trial_id, kind)
    values = {"sha256": stored.sha256, "size_bytes": stored.size_bytes, "created_at": now(session)}
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    session.execute(
        dialect.insert(Artifact)
        .values(trial_id=trial_id, kind=kind, **values)
        .on_conflict_do_update(index_elements=["trial_id", "kind"], set_=values)
    )
    return before if before != stored.sha256 else None


def forget(session: Session, trial_id: int, kind: str) -> str | None:
    """Takes a trial's file of a kind out of the records; returns its sha256, for the file to be deleted."""
    row = session.get(Artifact, (trial_id, kind), populate_existing=True)
    if row is None:
        return None
    session.delete(row)
    session.flush()
    return row.sha256
