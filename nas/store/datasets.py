"""Data sets: a row each, with the content in the artifact store."""

import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import ColumnElement, select, text, update
from sqlalchemy.orm import Session

from nas.data.builtin import BUILTIN
from nas.data.findings import class_counts
from nas.data.images import ImageSet
from nas.data.published import SPLIT_SEED
from nas.errors import ArtifactsAway, Conflict, InvalidInput, NotFound, NotReady
from nas.store import gc, owners
from nas.store.artifacts import ArtifactStore, Stored
from nas.store.session import Store, now
from nas.store.tables import LOCAL, PUBLIC, Dataset, Job

UNREADY_S: Final = 30.0
"""How long a data set that could not be read is left alone."""

NAMED_JOBS: Final = 5
"""Jobs that a message names; it counts the others."""

_LOCK: Final = 7_202_612


def listed(session: Session, owner: str | None = None) -> list[Dataset]:
    """The data sets that are stored and that an owner may use, by name; all of them if none is given."""
    return list(session.scalars(select(Dataset).where(*_usable(owner)).order_by(Dataset.name, Dataset.owner)))


def find(session: Session, name: str, owner: str = LOCAL) -> Dataset | None:
    """The stored data set that an owner means by a name: their own, or everyone's."""
    return session.scalars(select(Dataset).where(Dataset.name == name, *_usable(owner))).first()


def ensure(
    store: Store, artifacts: ArtifactStore, name: str, folder: Path | None = None, owner: str = LOCAL
) -> Dataset:
    """The data set of that name; a built-in one is stored when it is first asked for.

    Args:
        store, artifacts: where it is stored.
        name: of the data set.
        folder: where the files of built-in ones are, or are fetched to; None keeps nothing.
        owner: who asks.

    Raises:
        InvalidInput: there is no such data set.
        NotReady: its files are not there, and cannot be fetched or kept now; the message says where to put them.
    """
    with store.read() as session:
        row = find(session, name, owner)
        if row is not None:
            return row
        known = sorted({*BUILTIN, *(row.name for row in listed(session, owner))})
    if name not in BUILTIN:
        raise InvalidInput("dataset", name, f"there is no such data set; allowed: {', '.join(known)}")
    try:
        return add(store, artifacts, name, BUILTIN[name].load(folder))
    except ArtifactsAway:
        raise
    except OSError as error:
        mend = "make room, or name another folder with NAS_DATA"
        raise NotReady(f"the files of {name!r} cannot be kept ({error}); {mend}") from error


def add(store: Store, artifacts: ArtifactStore, name: str, data: ImageSet, owner: str = LOCAL) -> Dataset:
    """Stores a data set under a name, as `offer` does. Raises Conflict."""
    return offer(store, artifacts, name, data, owner=owner)[0]


def offer(
    store: Store,
    artifacts: ArtifactStore,
    name: str,
    data: ImageSet,
    *,
    warnings: Sequence[str] = (),
    seed: int = SPLIT_SEED,
    scratch: Path | None = None,
    owner: str = LOCAL,
    max_stored_bytes: int = 0,
) -> tuple[Dataset, bool]:
    """Stores a data set under a name, unless it is there already; returns its row and whether that is new.

    Args:
        store, artifacts: where to store it.
        name: nothing of the owner's has that name, or the very same content.
        data: the images and their split.
        warnings: what its reading passed over.
        seed: of the split.
        scratch: folder for the file before it is in the artifact store; the system's if it is not given.
        owner: whose it will be; a built-in one is everyone's.
        max_stored_bytes: that the owner may have; 0: no limit.

    Raises:
        Conflict: another content has that name.
        TooLarge: it is more than the owner may store.
    """
    digest = data.digest
    with store.read() as session:
        found = find(session, name, owner)
    if found is not None:
        return _same(found, digest), False
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / "images.npz"
        data.save(path)
        with store.read() as session:
            owners.check_room(session, owner, max_stored_bytes, more_bytes=path.stat().st_size)
        stored = artifacts.put_file(path)
        row = _row(owner, name, digest, data, stored)
        row.warnings, row.seed = list(warnings), seed
        with store.write() as session:
            _alone(session)
            found = find(session, name, owner)
            if found is None:
                row.created_at = now(session)
                session.add(row)
        if found is not None:  # another process was faster
            gc.forget(store, artifacts, [stored.sha256])
            return _same(found, digest), False
        if not artifacts.exists(stored.sha256):  # a twin was deleted just before the row was there to keep the file
            artifacts.put_file(path)
    return row, True


def delete(store: Store, artifacts: ArtifactStore, name: str, owner: str = LOCAL) -> None:
    """Forgets a data set, and its file if no other row has it.

    Raises:
        NotFound: the owner has nothing of that name, and neither has everyone.
        Conflict: a job refers to it.
    """
    with store.write() as session:
        _alone(session)
        wanted = select(Dataset).where(Dataset.name == name, *_usable(owner))
        row = session.scalars(wanted.with_for_update()).first()
        if row is None:
            raise NotFound(f"no data set {name!r} is stored; GET /v1/datasets lists them")
        jobs = session.scalars(select(Job.id).where(Job.dataset_id == row.id).order_by(Job.created_at, Job.id)).all()
        if jobs:
            more = f" and {len(jobs) - NAMED_JOBS} more" if len(jobs) > NAMED_JOBS else ""
            who = f"job{'s' if len(jobs) > 1 else ''} {', '.join(jobs[:NAMED_JOBS])}{more}"
            verb = "refer" if len(jobs) > 1 else "refers"
            raise Conflict("name", name, f"{who} {verb} to it, so it stays; give other images another name")
        session.delete(row)
    gc.forget(store, artifacts, [row.sha256])


def note_content(session: Session, dataset_id: int, unready: str | None) -> None:
    """Writes that the images cannot be read for now, and why, so that nobody tries for UNREADY_S; or that they can."""
    until = None if unready is None else now(session) + timedelta(seconds=UNREADY_S)
    values = {"unready": unready, "unready_until": until}
    session.execute(update(Dataset).where(Dataset.id == dataset_id).values(values))


def _same(row: Dataset, digest: str) -> Dataset:
    if row.digest != digest:
        mend = "a data set of that name exists with other content; choose another name, or delete that one first"
        raise Conflict("name", row.name, mend)
    return row


def _usable(owner: str | None) -> list[ColumnElement[bool]]:
    return [] if owner is None else [Dataset.owner.in_((owner, PUBLIC))]


def _row(owner: str, name: str, digest: str, data: ImageSet, stored: Stored) -> Dataset:
    channels, height, width = data.shape
    return Dataset(
        owner=PUBLIC if name in BUILTIN else owner,
        name=name,
        digest=digest,
        sha256=stored.sha256,
        size_bytes=stored.size_bytes,
        channels=channels,
        height=height,
        width=width,
        train=len(data.train),
        validation=len(data.validation),
        test=len(data.test),
        classes=list(data.classes),
        task=data.task,
        counts=class_counts(data),
    )


def _alone(session: Session) -> None:
    """Lets one transaction at a time add or remove data sets. SQLite's write transaction is a lock already."""
    if session.get_bind().dialect.name != "sqlite":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
