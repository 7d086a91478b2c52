"""What `nas doctor` looks at in the database and the artifact store; it changes nothing but a file of its own."""

import shutil
import statistics
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import func, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from nas.errors import NasError
from nas.finding import Finding, Status
from nas.settings import Settings
from nas.store import workers
from nas.store.artifacts import ArtifactStore
from nas.store.audit import audit
from nas.store.migrate import check_schema, check_tables, head
from nas.store.session import Store, now
from nas.store.states import ACTIVE_JOB, JobState
from nas.store.tables import ApiKey, Dataset, Job

OLDEST_POSTGRESQL: Final = 14
FREE_CONNECTIONS: Final = 10
"""Fewer than these, and the next workers that start will not reach the database."""

FREE_BYTES: Final = 1 << 30
SKEW_S: Final = 5.0
SLOW_MS: Final = 50.0


class Unmade(Exception):  # noqa: N818 - not an error
    """There are no tables to look into; the check of the database says why."""


def database(settings: Settings) -> Iterator[Finding]:
    """Whether it answers, its schema, and what goes wrong with each kind of database."""
    if _unborn(settings):
        yield Finding("database", Status.OK, f"{settings.database_url} is made when the service first starts")
        return
    with _opened(settings) as store:
        times_ms = []
        for _ in range(5):
            begun = time.perf_counter()
            with store.read() as session:
                session.execute(text("SELECT 1"))
            times_ms.append((time.perf_counter() - begun) * 1000)
        latency_ms = statistics.median(times_ms)
        slow = latency_ms > SLOW_MS
        mend = "put the database nearer to the API and the workers" if slow else ""
        shown = f"{store.name} answers in {latency_ms:.1f} ms"
        yield Finding("database", Status.WARNING if slow else Status.OK, shown, mend)
        try:
            check_schema(store)
            check_tables(store)
            yield Finding("schema", Status.OK, f"{head()}, this version's")
        except NasError as error:
            what, _, mend = str(error).partition("; ")
            yield Finding("schema", Status.PROBLEM, what, mend)
        yield from _sqlite(store) if store.is_sqlite else _postgresql(store)


def _sqlite(store: Store) -> Iterator[Finding]:
    with store.read() as session:
        mode = session.scalar(text("PRAGMA journal_mode"))
        faults = session.scalars(text("PRAGMA quick_check(3)")).all()
    if mode == "wal":
        yield Finding("journal", Status.OK, "write-ahead log")
    else:
        mend = "put the database on a disk of this machine (a network file system has no write-ahead log)"
        yield Finding("journal", Status.PROBLEM, f"the journal mode is {mode}, not wal", mend)
    if faults == ["ok"]:
        yield Finding("integrity", Status.OK, "quick_check found nothing")
    else:
        yield Finding("integrity", Status.PROBLEM, "; ".join(faults), "restore the database from a backup")


def _postgresql(store: Store) -> Iterator[Finding]:
    with store.read() as session:
        number = int(session.scalar(text("SHOW server_version_num")) or 0)
        most = int(session.scalar(text("SHOW max_connections")) or 0)
        used = session.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")) or 0
        skew_s = abs((now(session) - datetime.now(UTC)).total_seconds())
    good = number // 10_000 >= OLDEST_POSTGRESQL
    mend = "" if good else f"upgrade it to {OLDEST_POSTGRESQL} or newer"
    yield Finding("server", Status.OK if good else Status.PROBLEM, f"PostgreSQL {number // 10_000}", mend)
    good = most - used >= FREE_CONNECTIONS
    mend = "" if good else "raise max_connections (three for each worker, twenty for each API process)"
    yield Finding("connections", Status.OK if good else Status.WARNING, f"{used} of {most} are used", mend)
    good = skew_s <= SKEW_S
    mend = "" if good else "set both by NTP; leases go by the database's clock, the logs here by this one"
    shown = f"the database's and this machine's differ by {skew_s:.1f} s"
    yield Finding("clock", Status.OK if good else Status.WARNING, shown, mend)


def keys(settings: Settings) -> Iterator[Finding]:
    """Who may do what, and whose keys will soon end."""
    with _made(settings) as store, store.read() as session:
        moment = now(session)
        valid = session.scalar(
            select(func.count())
            .select_from(ApiKey)
            .where(ApiKey.revoked_at.is_(None), (ApiKey.expires_at.is_(None)) | (ApiKey.expires_at > moment))
        )
        soon = session.scalars(
            select(ApiKey.prefix).where(
                ApiKey.revoked_at.is_(None), ApiKey.expires_at.between(moment, moment + timedelta(days=7))
            )
        ).all()
    if not valid:
        yield Finding("keys", Status.OK, "none: the service listens on the loopback only, and whoever is there may all")
    else:
        mend = f"{', '.join(soon)} expire within a week: make others with `nas keys create`" if soon else ""
        yield Finding("keys", Status.WARNING if soon else Status.OK, f"{valid} that are valid", mend)


def files(settings: Settings) -> Iterator[Finding]:
    """Whether a file can be stored, read and deleted, and how much room there is."""
    folder = Path(settings.artifacts_url.removeprefix("file://"))
    if "://" not in str(folder) and not folder.exists():
        yield Finding("files", Status.OK, f"{folder} is made when the service first starts")
        return
    artifacts = ArtifactStore(settings.artifacts_url)
    content = uuid.uuid4().bytes
    begun = time.perf_counter()
    artifacts.check()
    stored = artifacts.put(content)
    try:
        if artifacts.get(stored.sha256) != content:
            raise OSError("what was stored is not what is read")
    finally:
        artifacts.delete(stored.sha256)
    if artifacts.exists(stored.sha256):
        raise OSError("what was deleted is still there")
    took_ms = (time.perf_counter() - begun) * 1000
    yield Finding("files", Status.OK, f"{settings.artifacts_url} stores, gives back and deletes in {took_ms:.0f} ms")
    if folder.is_dir():
        free = shutil.disk_usage(folder).free
        good = free >= FREE_BYTES
        mend = "" if good else "make room: `nas gc`, delete old jobs, or a larger disk"
        yield Finding("space", Status.OK if good else Status.WARNING, f"{free / (1 << 30):.1f} GiB are free", mend)


def datasets(settings: Settings) -> Iterator[Finding]:
    """Whether every data set has its file."""
    artifacts = ArtifactStore(settings.artifacts_url)
    with _made(settings) as store, store.read() as session:
        found = session.execute(select(Dataset.name, Dataset.sha256).order_by(Dataset.name)).all()
    missing = [name for name, sha256 in found if not artifacts.exists(sha256)]
    if missing:
        named = ", ".join(missing[:5])
        mend = "restore their files from a backup, or delete the data sets and upload them again"
        yield Finding("data sets", Status.PROBLEM, f"the files of {len(missing)} are missing: {named}", mend)
    else:
        yield Finding("data sets", Status.OK, f"{len(found)}, with their files")


def alive(settings: Settings) -> Iterator[Finding]:
    """Whether somebody works on the jobs that wait."""
    with _made(settings) as store, store.read() as session:
        there = workers.alive(session, settings.lease_s)
        open_jobs = session.scalar(
            select(func.count()).select_from(Job).where(Job.state.in_(ACTIVE_JOB), Job.state != JobState.PAUSED)
        )
    if there or not open_jobs:
        yield Finding("workers", Status.OK, f"{len(there)} alive, {open_jobs} jobs are open")
    else:
        yield Finding("workers", Status.WARNING, f"none is alive, and {open_jobs} jobs wait", "start one: `nas worker`")


def agreement(settings: Settings) -> Iterator[Finding]:
    """Every violation that nas.store.audit finds."""
    with _made(settings) as store:
        found = audit(store, ArtifactStore(settings.artifacts_url))
    for violation in found:
        yield Finding("audit", Status.PROBLEM, violation, "report it, with the service's log; restore from a backup")
    if not found:
        yield Finding("audit", Status.OK, "all rows and files agree")


def _unborn(settings: Settings) -> bool:
    """Whether it is an embedded database that the first start will make."""
    url = make_url(settings.database_url)
    path = Path(url.database or "")
    folder = next((parent for parent in path.parents if parent.exists()), path)
    return url.get_backend_name() == "sqlite" and not path.exists() and folder.is_dir()


@contextmanager
def _opened(settings: Settings) -> Iterator[Store]:
    store = Store(settings.database_url, connections=2, program="nas doctor")
    try:
        yield store
    finally:
        store.close()


@contextmanager
def _made(settings: Settings) -> Iterator[Store]:
    """A database that answers and has this version's tables. Raises Unmade."""
    if _unborn(settings):
        raise Unmade
    with ExitStack() as stack:
        try:
            store = stack.enter_context(_opened(settings))
            check_schema(store)
            check_tables(store)
        except (NasError, SQLAlchemyError, OSError) as error:
            raise Unmade from error
        yield store
