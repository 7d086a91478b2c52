"""Copies of a whole service, made while it works, and the way back.

The files come first, then the database, then the files that were added meanwhile; these while no row can change that
refers to a file, so that every row of the copy has its file. Files are named by their content: a second backup into the
same folder copies only what is new.
"""

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import text
from sqlalchemy.engine import make_url

from nas.errors import ArtifactDamaged, SettingsError
from nas.store.artifacts import ArtifactStore
from nas.store.gc import all_referred
from nas.store.migrate import is_empty, revision
from nas.store.session import Store

ABOUT: Final = "backup.json"
FILES: Final = "files"
DATABASE: Final = {"sqlite": "nas.db", "postgresql": "nas.dump"}


@dataclass(frozen=True, slots=True)
class Copied:
    """What a backup or a restoration did.

    Attributes:
        schema: version of the database.
        files: that rows refer to.
        new: of them, how many were copied now.
        missing: files that rows refer to and that are not there, or are damaged: they were lost before.
    """

    schema: str | None
    files: int
    new: int
    missing: tuple[str, ...]


def backup(store: Store, artifacts: ArtifactStore, folder: Path, environ: Mapping[str, str]) -> Copied:
    """Copies the database and all files that it refers to into a folder; the service may go on working.

    Args:
        store, artifacts: of the service.
        folder: new, or with an earlier backup of the same service.
        environ: in which `pg_dump` is found, for PostgreSQL.

    Raises:
        SettingsError: `pg_dump` is not installed, or fails.
        DiskFull: the folder has no room.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # all that anyone has stored, and the hashes of the keys
    kept = ArtifactStore(str(folder / FILES))
    copied: set[str] = set()

    def copy_new(needed: set[str]) -> None:
        copied.update(sha256 for sha256 in sorted(needed) if _copy(artifacts, kept, sha256, folder))

    with store.read() as session:
        before = all_referred(session)
    copy_new(before)
    kind = "sqlite" if store.is_sqlite else "postgresql"
    part = folder / f".{DATABASE[kind]}.part"
    part.unlink(missing_ok=True)
    needed = (_backup_sqlite if store.is_sqlite else _backup_postgresql)(store, part, copy_new, environ)
    missing = tuple(sorted(sha256 for sha256 in needed if not kept.exists(sha256)))
    about = {"database": kind, "schema": revision(store), "made_at": datetime.now(UTC).isoformat(), "missing": missing}
    part.replace(folder / DATABASE[kind])
    (folder / ABOUT).write_text(json.dumps(about, indent=2))
    # A checkpoint that was copied first and replaced meanwhile is none of the backup's.
    return Copied(revision(store), len(needed), len(copied & needed), missing)


def restore(store: Store, artifacts: ArtifactStore, folder: Path, environ: Mapping[str, str]) -> Copied:
    """Brings a backup into an empty database and an artifact store; the service must not run.

    Trials that ran when the backup was made go on from their checkpoints, once their leases have ended.

    Raises:
        SettingsError: the folder has no backup, one of the other kind of database, or the database is not empty.
        ArtifactDamaged: a file of the backup is not what was stored.
    """
    kind = "sqlite" if store.is_sqlite else "postgresql"
    try:
        about = json.loads((folder / ABOUT).read_text())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{folder} has no backup of this service ({error}); name the folder of one") from error
    if about["database"] != kind:
        raise SettingsError(
            f"{folder} is a backup of {about['database']}, but NAS_DATABASE_URL is {store.name}; name one of its kind"
        )
    if not is_empty(store):
        raise SettingsError(f"{store.name} has tables already; name an empty database in NAS_DATABASE_URL")
    kept = ArtifactStore(str(folder / FILES))
    names = [found.name for part in kept.folders() for found in kept.listed(part) if not found.name.startswith(".")]
    new = len([sha256 for sha256 in names if _copy(kept, artifacts, sha256, folder, strict=True)])
    (_restore_sqlite if store.is_sqlite else _restore_postgresql)(store, folder / DATABASE[kind], environ)
    with store.read() as session:
        needed = all_referred(session)
    missing = tuple(sorted(sha256 for sha256 in needed if not artifacts.exists(sha256)))
    return Copied(revision(store), len(needed), new, missing)


def _copy(source: ArtifactStore, target: ArtifactStore, sha256: str, folder: Path, *, strict: bool = False) -> bool:
    """Copies a file unless it is there already; whether it did. Unless `strict`, one that is gone is left out."""
    if target.exists(sha256):
        return False
    temporary = folder / ".file.part"
    try:
        source.fetch(sha256, temporary)
        target.put_file(temporary)
    except (FileNotFoundError, ArtifactDamaged):
        if strict:
            raise
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _backup_sqlite(
    store: Store, part: Path, copy_new: Callable[[set[str]], None], environ: Mapping[str, str]
) -> set[str]:
    with sqlite3.connect(make_url(store.url).database or "", isolation_level=None) as reader:
        with store.write() as session:  # nobody else writes until the snapshot has been taken
            needed = all_referred(session)
            copy_new(needed)
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM alembic_version").fetchall()
        target = sqlite3.connect(part)
        reader.backup(target)  # of the snapshot, whatever is written meanwhile
        target.close()
        reader.execute("ROLLBACK")
    reader.close()
    return needed


def _backup_postgresql(
    store: Store, part: Path, copy_new: Callable[[set[str]], None], environ: Mapping[str, str]
) -> set[str]:
    with store.read() as snapshot:
        with store.write() as session:
            # whoever adds or replaces a file waits until the snapshot has been taken
            session.execute(text("LOCK TABLE artifacts, datasets IN SHARE MODE"))
            snapshot.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            name = snapshot.scalar(text("SELECT pg_export_snapshot()"))
            needed = all_referred(snapshot)
            copy_new(needed)
        arguments = ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={name}", f"--file={part}"]
        _postgresql(store, "pg_dump", [*arguments, "--dbname"], environ)
    return needed


def _restore_sqlite(store: Store, dump: Path, environ: Mapping[str, str]) -> None:
    path = Path(make_url(store.url).database or "")
    store.close()
    for suffix in ("", "-wal", "-shm"):  # of the empty one that looking at it has made
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    part = path.with_name(f".{path.name}.part")
    shutil.copyfile(dump, part)
    part.replace(path)


def _restore_postgresql(store: Store, dump: Path, environ: Mapping[str, str]) -> None:
    arguments = ["--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", "--dbname"]
    _postgresql(store, "pg_restore", arguments, environ, str(dump))


def _postgresql(store: Store, program: str, arguments: list[str], environ: Mapping[str, str], *files: str) -> None:
    """Runs a program of PostgreSQL's on the database. Raises SettingsError with what it says."""
    found = shutil.which(program, path=environ.get("PATH"))
    if found is None:
        raise SettingsError(f"{program} is not on the PATH; install PostgreSQL's client programs")
    url = make_url(store.url)
    password = {"PGPASSWORD": str(url.password)} if url.password else {}  # never among arguments: all can read those
    bare = url.set(drivername="postgresql", password=None).render_as_string()
    ended = subprocess.run(
        [found, *arguments, bare, *files], env={**environ, **password}, capture_output=True, text=True, check=False
    )
    if ended.returncode != 0:
        said = ended.stderr.strip().splitlines() or [f"status {ended.returncode}"]
        raise SettingsError(f"{program} failed ({said[0]}); its version has to be the server's, or newer")
