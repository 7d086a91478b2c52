"""Data sets: a row each, with the content in the artifact store."""

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nas.data.builtin import BUILTIN
from nas.data.images import ImageSet
from nas.errors import InvalidInput
from nas.store.artifacts import ArtifactStore
from nas.store.session import Store, now
from nas.store.tables import Dataset


def listed(session: Session) -> list[Dataset]:
    """All data sets that are stored, by name."""
    return list(session.scalars(select(Dataset).order_by(Dataset.name)))


def add(store: Store, artifacts: ArtifactStore, name: str, data: ImageSet) -> Dataset:
    """Stores a data set under a name. Raises InvalidInput if the name is taken by another content."""
    digest = data.digest
    stored = artifacts.put(data.to_bytes())
    channels, height, width = data.shape
    try:
        with store.write() as session:
            row = Dataset(
                name=name,
                digest=digest,
                sha256=stored.sha256,
                channels=channels,
                height=height,
                width=width,
                train=len(data.train),
                validation=len(data.validation),
                test=len(data.test),
                classes=list(data.classes),
                created_at=now(session),
            )
            session.add(row)
    except IntegrityError:  # another process was faster
        with store.read() as session:
            row = session.scalars(select(Dataset).where(Dataset.name == name)).one()
        if row.digest != digest:
            raise InvalidInput("name", name, "a data set of that name exists with other content") from None
    return row


def ensure(store: Store, artifacts: ArtifactStore, name: str) -> Dataset:
    """The data set of that name; a built-in one is stored when it is first asked for. Raises InvalidInput."""
    with store.read() as session:
        row = session.scalars(select(Dataset).where(Dataset.name == name)).first()
        if row is not None:
            return row
        known = sorted({*BUILTIN, *session.scalars(select(Dataset.name))})
    if name not in BUILTIN:
        raise InvalidInput("dataset", name, f"there is no such data set; allowed: {', '.join(known)}")
    return add(store, artifacts, name, BUILTIN[name].load())
