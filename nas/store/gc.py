"""Which stored files nobody needs, and their end.

Files are shared: two trials, jobs or data sets with the same content have one file. It is needed as long as a row
refers to it: an artifact, a data set, or a job that starts from another one's weights.

A file that no row refers to may be one whose row is just about to be written. So a file is deleted in three steps: it
is set aside, the rows are read once more, and only then it is deleted, or put back if one refers to it now. Whoever
stores a file that another could have stored as well looks for it again once the row is committed, and stores it anew
if it is gone; `collect` leaves young files alone besides. Without either, a moment between the two would lose it.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, select, tuple_
from sqlalchemy.orm import Session

from nas.errors import ArtifactsAway
from nas.store.artifacts import DOOMED, NEW_S, ArtifactStore
from nas.store.places import Found
from nas.store.session import Store, now
from nas.store.states import FINISHED_TRIAL
from nas.store.tables import Artifact, Dataset, Job, Trial

log = logging.getLogger(__name__)

GRACE_S: Final = 3600.0
"""Files younger than this are not collected: their rows may be on their way."""

BATCH: Final = 200
"""Files that are looked up, or set aside, at once."""

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Dangling:
    """A row whose file is missing, which only a backup can mend."""

    sha256: str
    of: str


@dataclass(frozen=True, slots=True)
class Collection:
    """What a collection found, and has deleted unless it was a dry run.

    Attributes:
        orphans: files that no row refers to.
        unfinished: what writers that were killed have left.
        checkpoints: rows of trials that have ended, as those of a cancelled job; their files are no orphans yet.
        dangling: rows without a file; they stay.
        kept: files that are needed, or too young to tell.
    """

    orphans: tuple[Found, ...]
    unfinished: tuple[Found, ...]
    checkpoints: int
    dangling: tuple[Dangling, ...]
    kept: int

    @property
    def size_bytes(self) -> int:
        """Of what was found to delete."""
        return sum(found.size_bytes for found in (*self.orphans, *self.unfinished))


def grace_s(lease_s: float) -> float:
    """The age at which a file without a row has none on its way: whoever stored it has lost its lease by then."""
    return max(GRACE_S, NEW_S + 2 * lease_s)


def forget(store: Store, artifacts: ArtifactStore, sha256s: Iterable[str]) -> int:
    """Deletes those of some files that no row refers to any more; how many.

    To be called once the deletion of the rows is committed. A file that cannot be deleted now is left to `collect`.
    """
    gone = 0
    remaining = iter(sorted(set(sha256s)))
    try:
        while batch := list(islice(remaining, BATCH)):
            gone += len(_delete(store, artifacts, batch))
    except ArtifactsAway as error:
        log.warning("files that are no longer needed stay until they are collected: %s", error)
    return gone


def collect(
    store: Store, artifacts: ArtifactStore, *, older_than_s: float = GRACE_S, dry_run: bool = False
) -> Collection:
    """Deletes what nobody needs of the whole store, and finds the rows whose files are missing.

    Args:
        store, artifacts: of one service.
        older_than_s: files and ended trials that are younger are left alone.
        dry_run: whether it only looks.

    Raises:
        ArtifactsAway: the files cannot be listed, or deleted.
    """
    checkpoints = _ended_checkpoints(store, artifacts, older_than_s, dry_run)
    with store.read() as session:
        elsewhere = _outside(session)
    orphans: list[Found] = []
    unfinished: list[Found] = []
    dangling: list[Dangling] = []
    kept = 0
    folders = artifacts.folders()
    for letter in "0123456789abcdef":
        with store.read() as session:  # before the files: a row that is there has its file already
            rows = _artifacts_in(session, letter) | {name: of for name, of in elsewhere.items() if name[0] == letter}
        files = [file for folder in folders if folder[0] == letter for file in artifacts.listed(folder)]
        border = datetime.now(UTC) - timedelta(seconds=older_than_s)
        old = [file for file in files if file.modified_at <= border]
        left = [file for file in old if file.name.startswith(".")]
        unneeded = [file for file in old if _SHA256.fullmatch(file.name) and file.name not in rows]
        if not dry_run:
            left = [file for file in left if _clear(store, artifacts, file)]
            unneeded = [file for batch in _batches(unneeded) for file in _delete_files(store, artifacts, batch)]
        unfinished += left
        orphans += unneeded
        kept += len(files) - len(left) - len(unneeded)
        missing = rows.keys() - {file.name for file in files}
        dangling += [Dangling(name, rows[name]) for name in sorted(missing) if _is_missing(store, artifacts, name)]
    return Collection(tuple(orphans), tuple(unfinished), checkpoints, tuple(dangling), kept)


def referred(session: Session, sha256s: Sequence[str]) -> set[str]:
    """Those of some files that a row refers to."""
    weights = _weights()
    found: set[str] = set()
    for column in (Artifact.sha256, Dataset.sha256, weights):
        found.update(session.scalars(select(column).where(column.in_(sha256s)).distinct()))
    return found


def all_referred(session: Session) -> set[str]:
    """Every file that a row refers to."""
    columns = (Artifact.sha256, Dataset.sha256, _weights())
    found = {sha256 for column in columns for sha256 in session.scalars(select(column).distinct())}
    return found - {None}


def _delete_files(store: Store, artifacts: ArtifactStore, files: list[Found]) -> list[Found]:
    gone = _delete(store, artifacts, [file.name for file in files])
    return [file for file in files if file.name in gone]


def _delete(store: Store, artifacts: ArtifactStore, batch: list[str]) -> set[str]:
    """Deletes those that no row refers to, now and after they were set aside; which."""
    with store.read() as session:
        needed = referred(session, batch)
    aside: list[str] = []
    try:
        for name in batch:
            if name not in needed and artifacts.set_aside(name):
                aside.append(name)  # noqa: PERF401 - what is aside when the next one fails has to be known
        with store.read() as session:
            needed = referred(session, aside)
    except BaseException:
        needed = set(aside)
        raise
    finally:
        for name in aside:
            _settle(artifacts, name, name in needed)
    return set(aside) - needed


def _settle(artifacts: ArtifactStore, name: str, needed: bool) -> None:
    if needed:
        artifacts.put_back(name)
    else:
        artifacts.discard(f".{name}{DOOMED}")


def _clear(store: Store, artifacts: ArtifactStore, file: Found) -> bool:
    """Deletes an unfinished file; what a killed collection has set aside is put back if a row refers to it."""
    name = file.name.removeprefix(".").removesuffix(DOOMED)
    if file.name.endswith(DOOMED):
        with store.read() as session:
            needed = bool(referred(session, [name]))
        if needed and not artifacts.exists(name):
            artifacts.put_back(name)
            return False
    artifacts.discard(file.name)
    return True


def _ended_checkpoints(store: Store, artifacts: ArtifactStore, older_than_s: float, dry_run: bool) -> int:
    """Forgets the checkpoints of trials that have ended, as those of a cancelled job; how many."""
    count = 0
    with store.read() as session:
        border = now(session) - timedelta(seconds=older_than_s)
        found = session.execute(
            select(Artifact.trial_id, Artifact.kind, Artifact.sha256)
            .join(Trial, Trial.id == Artifact.trial_id)
            .where(Artifact.kind == "checkpoint", Trial.state.in_(FINISHED_TRIAL), Trial.finished_at <= border)
        ).all()
    for batch in _batches(found):
        count += len(batch)
        if not dry_run:
            keys = [(row.trial_id, row.kind) for row in batch]
            with store.write() as session:
                session.execute(delete(Artifact).where(tuple_(Artifact.trial_id, Artifact.kind).in_(keys)))
            forget(store, artifacts, [row.sha256 for row in batch])
    return count


def _artifacts_in(session: Session, letter: str) -> dict[str, str]:
    """The files whose names begin with a letter, and that trials refer to → one that does; by a range of the index."""
    rows = session.execute(
        select(Artifact.sha256, Artifact.kind, Trial.job_id, Trial.number)
        .join(Trial, Trial.id == Artifact.trial_id)
        .where(Artifact.sha256 >= letter, Artifact.sha256 < f"{letter}g")  # after all hexadecimal digits
    )
    return {row.sha256: f"{row.kind} of trial {row.number} of job {row.job_id}" for row in rows}


def _outside(session: Session) -> dict[str, str]:
    """The files that data sets, and jobs which start from others, refer to → one that does."""
    weights = _weights()
    jobs = session.execute(select(weights, Job.id).where(weights.is_not(None)))
    datasets = session.execute(select(Dataset.sha256, Dataset.name))
    return {sha256: f"weights that job {job_id} starts from" for sha256, job_id in jobs} | {
        sha256: f"data set {name!r}" for sha256, name in datasets
    }


def _weights() -> ColumnElement[Any]:
    """The file that a job starts from, in its spec; null for most."""
    weights: ColumnElement[Any] = Job.spec[("transfer", "weights")].as_string()
    return weights


def _is_missing(store: Store, artifacts: ArtifactStore, name: str) -> bool:
    """Whether a file is still missing, and still needed: both may have changed since they were listed."""
    if artifacts.exists(name):
        return False
    with store.read() as session:
        return bool(referred(session, [name]))


def _batches(items: Sequence[Any]) -> Iterator[list[Any]]:
    return (list(items[start : start + BATCH]) for start in range(0, len(items), BATCH))
