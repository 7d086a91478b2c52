"""What the tests of the store and the API share: both databases, and rows to begin with."""

import atexit
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from threading import Barrier
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import create_engine, func, select, text, update
from sqlalchemy.orm import Session

from nas.data.images import ImageSet, split_images
from nas.space import Candidate, CellSpace, Shape
from nas.spec import JobSpec
from nas.store import claims, jobs, moves, queue, trials
from nas.store.artifacts import Stored
from nas.store.claims import Claim, Rungs
from nas.store.leases import Lease
from nas.store.migrate import migrate
from nas.store.session import Store, now
from nas.store.states import JobState, Phase, TrialState, advance
from nas.store.tables import Base, Dataset, Job, Tally, Trial
from nas.store.trials import Costs
from nas.train.epoch import EpochResult
from tests.postgres import Server

T = TypeVar("T")

BACKENDS = ("sqlite", "postgresql")
LEASE_S = 30.0
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
SPACE = CellSpace(("skip_connect", "max_pool_3x3", "sep_conv_3x3"), nodes=4, shape=Shape(channels=8, cells=4))


# --- databases


def database(backend: str, folder: Path, *, migrated: bool = True) -> str:
    """The URL of a database with empty tables, or with none. In PostgreSQL there is one of each at a time.

    With `pytest --backend postgresql` tests that ask for SQLite, as for any database, get one of PostgreSQL's: each
    folder its own.
    """
    if backend == "sqlite" and migrated and usual_backend() != "sqlite":
        return own_postgresql(folder)
    return (_sqlite if backend == "sqlite" else _postgresql)(folder, migrated)


def use_backend(name: str) -> None:
    """Says on which database the tests run that ask for SQLite; to be called before any of them."""
    _USUAL[:] = [name]


def usual_backend() -> str:
    """On which database the tests run that ask for SQLite."""
    return _USUAL[0]


_USUAL = ["sqlite"]


@contextmanager
def open_store(backend: str, folder: Path, *, migrated: bool = True) -> Iterator[Store]:
    """A store on a fresh database."""
    store = Store(database(backend, folder, migrated=migrated))
    yield store
    store.close()


def _sqlite(folder: Path, migrated: bool) -> str:
    path = folder / "nas.db"
    if migrated:
        path.write_bytes(_sqlite_template())
    return f"sqlite:///{path}"


@cache
def _sqlite_template() -> bytes:
    path = _scratch() / "template.db"
    store = Store(f"sqlite:///{path}")
    migrate(store)
    store.close()  # the last connection moves the write-ahead log into the file
    return path.read_bytes()


def _postgresql(folder: Path, migrated: bool) -> str:
    """One database with tables and one without, emptied each time: that takes a tenth of making a new one."""
    end_all = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    if migrated:
        url = _postgresql_with_tables()
        _execute(url, end_all, _empty_tables())
    else:
        url = _postgresql_without_tables()
        _execute(url, end_all, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    return url


@cache
def _empty_tables() -> str:
    """Few rows are deleted in a millisecond; to truncate the tables takes fifty, however few there are."""
    tables = Base.metadata.sorted_tables
    large = " OR ".join(f"pg_relation_size('{table.name}') > 262144" for table in tables)
    truncate = f"TRUNCATE {', '.join(table.name for table in tables)} RESTART IDENTITY"
    delete = "; ".join(f"DELETE FROM {table.name}" for table in reversed(tables))  # noqa: S608 - our own names
    numbered = [(table.name, table.autoincrement_column) for table in tables]
    restart = "; ".join(
        f"PERFORM setval(pg_get_serial_sequence('{name}', '{column.name}'), 1, false)"
        for name, column in numbered
        if column is not None
    )
    return f"DO $$ BEGIN IF {large} THEN {truncate}; ELSE {delete}; {restart}; END IF; END $$"


@cache
def _postgresql_with_tables() -> str:
    url = _new_database("with_tables")
    store = Store(url)
    migrate(store)
    store.close()
    return url


@cache
def _postgresql_without_tables() -> str:
    return _new_database("without_tables")


@cache
def own_postgresql(folder: Path) -> str:
    """A database with empty tables for one folder, until the tests end."""
    template, name = _postgresql_template(), f"own_{next(_NUMBERS)}"
    _execute(_server().url(), f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    return _server().url(name)


_NUMBERS = count()


@cache
def _postgresql_template() -> str:
    store = Store(_new_database("template_nas"))
    migrate(store)
    store.close()
    return "template_nas"


def _new_database(name: str) -> str:
    _execute(_server().url(), f"CREATE DATABASE {name}")
    return _server().url(name)


def _execute(url: str, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@cache
def _server() -> Server:
    """A running PostgreSQL, for all tests of this process; it stops when they end."""
    lazy = ("synchronous_commit", "full_page_writes")
    started = Server(_scratch() / "pg", "-F " + " ".join(f"-c {name}=off" for name in lazy))
    started.start()
    atexit.register(started.crash)
    return started


@cache
def _scratch() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="nas-"))  # short: the path of a socket has 107 characters at the most
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


# --- rows


def add_dataset(store: Store, name: str = "squares") -> int:
    """A row of a data set whose content nobody reads; its id."""
    with store.write() as session:
        row = Dataset(
            name=name,
            digest="d" * 64,
            sha256="c" * 64,
            channels=1,
            height=8,
            width=8,
            train=64,
            validation=16,
            test=20,
            classes=["a", "b"],
            created_at=now(session),
        )
        session.add(row)
        session.flush()
        return row.id


def add_job(
    store: Store,
    *,
    trials: int = 10,
    epochs: int = 3,
    parallel: int | None = None,
    seconds: float | None = None,
    finalists: int = 1,
    name: str | None = None,
    total_epochs: int | None = None,
    target: float | None = None,
    **more: Any,
) -> str:
    """A queued job on the data set `squares`, which is added with the first one; its id."""
    with store.read() as session:
        dataset = session.scalar(select(Dataset.id).where(Dataset.name == "squares"))
    if dataset is None:
        dataset = add_dataset(store)
    budget = {"trials": trials, "epochs": epochs, "parallel": parallel, "seconds": seconds}
    body = {
        "dataset": "squares",
        "name": name,
        "strategy": "random",
        "pruning": "none",
        "budget": budget | {"total_epochs": total_epochs, "target": target},
        "final": {"finalists": finalists, "controls": 2, "epochs": 4, "seeds": 2},
    }
    spec = JobSpec.model_validate(body | more)
    with store.write() as session:
        return jobs.create(session, spec, session.get_one(Dataset, dataset)).id


@cache
def candidate(index: int) -> Candidate:
    """A candidate of SPACE; a different network for every index."""
    return SPACE.sample(np.random.default_rng(index))


def digest(index: int) -> str:
    """The digest of candidate(index)."""
    return SPACE.digest(candidate(index))


def stored(word: str) -> Stored:
    """A file of that content, as the artifact store would name it."""
    return Stored(hashlib.sha256(word.encode()).hexdigest(), len(word))


def random_images(side: int, count: int = 40, seed: int = 0) -> ImageSet:
    """Random grey images of two classes."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 1, side, side), dtype=np.uint8)
    return split_images(images, np.arange(count, dtype=np.int64) % 2, ("even", "odd"), seed=0)


# --- what workers do


def claim(store: Store, worker: str = "worker", lease_s: float = LEASE_S) -> Claim | None:
    """claim_in in a transaction of its own."""
    with store.write() as session:
        return claim_in(session, worker, lease_s)


def reserve(store: Store, worker: str = "worker", lease_s: float = LEASE_S) -> Claim | None:
    """reserve_in in a transaction of its own."""
    with store.write() as session:
        return reserve_in(session, worker, lease_s)


def claim_in(session: Session, worker: str = "worker", lease_s: float = LEASE_S, device: str = "cpu") -> Claim | None:
    """Takes a queued trial of the job whose turn it is among those that have one."""
    queued = (seen for seen in queue.survey(session, device).offers if seen.queued)
    found = (claims.claim(session, seen, Lease(worker, device, lease_s)) for seen in queued)
    return next((claim for claim in found if claim is not None), None)


def reserve_in(session: Session, worker: str = "worker", lease_s: float = LEASE_S, device: str = "cpu") -> Claim | None:
    """Adds a trial to the job whose turn it is among those that want more."""
    wanting = (seen for seen in queue.survey(session, device).offers if seen.adds)
    found = (claims.reserve(session, seen, Lease(worker, device, lease_s)) for seen in wanting)
    return next((claim for claim in found if claim is not None), None)


def rungs_in(session: Session) -> list[Rungs]:
    """The searches with paused trials that have room for a running one."""
    waiting = [seen.job_id for seen in queue.standings(session) if seen.promotes and seen.room]
    return [found for found in (claims.paused(session, job_id) for job_id in waiting) if found is not None]


def promote_in(session: Session, seen: Rungs, index: int, worker: str = "worker") -> Claim | None:
    """Takes a paused trial on."""
    return claims.promote(session, seen, index, Lease(worker, "cpu", LEASE_S))


def take(store: Store, worker: str = "worker") -> Claim:
    """A queued trial, else a new one, as worker.step takes it; there has to be one."""
    found = claim(store, worker) or reserve(store, worker)
    assert found is not None
    return found


def propose(store: Store, claim: Claim, index: int) -> None:
    """Gives the trial the candidate of that index."""
    with store.write() as session:
        trials.set_candidate(session, claim, candidate(index), digest(index), Costs(1000 + index, 5000 + index))


def epoch(number: int, accuracy: float = 0.5, seconds: float = 2.0) -> EpochResult:
    """The result of an epoch."""
    return EpochResult(number, 1.0 / number, 1.5 / number, accuracy, 0.1, seconds)


def report(store: Store, claim: Claim, number: int, accuracy: float = 0.5) -> str | None:
    """trials.report in a transaction of its own, with a checkpoint named by trial and epoch."""
    checkpoint = stored(f"{claim.trial_id}.{number}")
    with store.write() as session:
        return trials.report(session, claim, epoch(number, accuracy), checkpoint, LEASE_S)


def finish(store: Store, claim: Claim, state: TrialState = TrialState.COMPLETE, **why: Any) -> str | None:
    """trials.finish in a transaction of its own."""
    with store.write() as session:
        return trials.finish(session, claim, state, **why)


def hand_back(store: Store, claim: Claim) -> None:
    """trials.hand_back in a transaction of its own."""
    with store.write() as session:
        trials.hand_back(session, claim)


def add_queued(store: Store, job_id: str, count: int) -> None:
    """Starts a job, if it waits still, and adds trials of finalists to it, with the candidates of their numbers."""
    with store.write() as session:
        job = jobs.get(session, job_id)
        if job.state == JobState.QUEUED:
            advance(job, JobState.RUNNING)
            job.started_at = now(session)
        for number in range(job.next_number, job.next_number + count):
            moves.add(session, job, Phase.FINALIST, epochs=4, candidate=candidate(number), digest=digest(number))


def run_trial(store: Store, accuracy: float = 0.5, epochs: int = 3, worker: str = "worker") -> Claim:
    """Reserves a trial and runs it to its end."""
    taken = take(store, worker)
    if taken.candidate is None:
        propose(store, taken, taken.trial_id)
    for number in range(taken.epoch + 1, epochs + 1):
        report(store, taken, number, accuracy)
    finish(store, taken)
    return taken


def expire(store: Store, *trial_ids: int) -> None:
    """Lets the leases of trials run out, all of them if none is named."""
    query = update(Trial).where(Trial.state == TrialState.RUNNING).values(lease_until=LONG_AGO)
    with store.write() as session:
        session.execute(query.where(Trial.id.in_(trial_ids)) if trial_ids else query)


def age(store: Store, job_id: str, seconds: float) -> None:
    """Moves a job's start into the past."""
    with store.write() as session:
        job = jobs.get(session, job_id)
        assert job.started_at is not None
        job.started_at -= timedelta(seconds=seconds)


# --- what there is to see


def job_of(store: Store, job_id: str) -> Job:
    """The job's row."""
    with store.read() as session:
        return jobs.get(session, job_id)


def trial_of(store: Store, trial_id: int) -> Trial:
    """The trial's row."""
    with store.read() as session:
        return session.get_one(Trial, trial_id)


def states_of(store: Store, job_id: str) -> list[TrialState]:
    """The states of a job's trials, by number."""
    with store.read() as session:
        return list(session.scalars(select(Trial.state).where(Trial.job_id == job_id).order_by(Trial.number)))


def numbers_of(store: Store, job_id: str) -> list[int]:
    """The numbers of a job's trials, in order."""
    with store.read() as session:
        return list(session.scalars(select(Trial.number).where(Trial.job_id == job_id).order_by(Trial.number)))


def everything(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, to be compared."""
    with store.read() as session:
        return {
            table.name: [tuple(row) for row in session.execute(select(table).order_by(*table.primary_key.columns))]
            for table in Base.metadata.sorted_tables
        }


Counts = dict[tuple[str, Phase, TrialState], int]


def counted(store: Store) -> tuple[Counts, Counts]:
    """(the tallies that are not 0, the same counted from the trials)."""
    columns = (Trial.job_id, Trial.phase, Trial.state)
    with store.read() as session:
        tallies = session.execute(select(Tally.job_id, Tally.phase, Tally.state, Tally.count).where(Tally.count != 0))
        found = session.execute(select(*columns, func.count()).group_by(*columns))
        return {(j, p, s): n for j, p, s, n in tallies}, {(j, p, s): n for j, p, s, n in found}


def together(threads: int, work: Callable[[int], T]) -> list[T]:
    """work(0), work(1), … at the same time, each in a thread; their results, or the first error."""
    barrier = Barrier(threads)

    def begin(index: int) -> T:
        barrier.wait(timeout=30)
        return work(index)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(begin, range(threads)))
