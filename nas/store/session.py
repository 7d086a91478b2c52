"""Engine and sessions: SQLite (embedded) and PostgreSQL behind the same two context managers."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InterfaceError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from nas.errors import SettingsError
from nas.store.tables import UtcDateTime

BUSY_TIMEOUT_MS = 60_000
JOURNAL: Final = "WAL"
"""Of SQLite: readers and the writer do not wait for each other."""

_WRITES = "nas_writes"

API_CONNECTIONS: Final = 20
"""Of the server at most. With 32 workers of two or three each, a PostgreSQL as it comes (100) has room for all."""

WORKER_CONNECTIONS: Final = 3
"""Of a worker at most: its trial's, its heartbeat's, and one more while a read and a write overlap."""

POSTGRESQL: Final = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""How soon a server that is gone without a word is noticed: libpq's parameters, in seconds; the last in ms."""

LIMITS_MS: Final = {"idle_in_transaction_session_timeout": 15_000, "lock_timeout": 30_000, "statement_timeout": 60_000}
"""A process that is frozen within a transaction holds its locks; the server ends it before those who wait give up."""

CLOCK: Final = func.clock_timestamp(type_=UtcDateTime())
"""The time within a statement, as `now` has it; SQLite is given a function of PostgreSQL's name."""

_FRESH_S = 1.0
"""A connection that was used within this time is taken to be alive: asking it would double the cost of a read."""


class Store:
    """A database of this project.

    Args:
        url: `sqlite:///path` or `postgresql+psycopg://…`.
        foreign_keys: whether SQLite enforces them; not while tables are made anew.
        connections: to PostgreSQL, at most; whoever wants one more waits.
        program: by which an administrator of PostgreSQL recognises them.

    Raises:
        SettingsError: the folder of an SQLite database cannot be made.
    """

    def __init__(
        self, url: str, *, foreign_keys: bool = True, connections: int = API_CONNECTIONS, program: str = "nas"
    ) -> None:
        parsed = make_url(url)
        self.url = url
        self.name = parsed.render_as_string(hide_password=True)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite:
            _make_folder(parsed.database)
            self.engine = create_engine(parsed)
            _configure_sqlite(self.engine, foreign_keys)
            self._reader = self.engine
        else:
            self.engine = create_engine(
                parsed,
                connect_args=POSTGRESQL | {"application_name": program},
                pool_size=(connections + 1) // 2,  # kept; the others are closed after use
                max_overflow=connections // 2,
                pool_timeout=10,
            )
            _configure_postgresql(self.engine)
            # by default every statement of a transaction sees what others have committed in between
            self._reader = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._writer = self.engine.execution_options(**{_WRITES: True})

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one consistent snapshot and writes nothing."""
        with Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session whose work is committed at the end, or rolled back whole on an exception.

        On SQLite it takes the write lock at its start, so that it never fails half-way because another process wrote.
        """
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()


@contextmanager
def answering(store: Store) -> Iterator[None]:
    """Says in one line that the database does not answer, while a program starts. Raises SettingsError."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        why = (str(getattr(error, "orig", None) or error).strip().splitlines() or ["no reason given"])[0]
        raise SettingsError(f"{store.name} does not answer ({why}); start it, or correct NAS_DATABASE_URL") from error


def now(session: Session) -> datetime:
    """The time by which leases are kept: the database server's, so that workers' clocks do not matter.

    SQLite has no server; its processes share one machine and its clock.
    """
    if session.get_bind().dialect.name == "sqlite":
        return datetime.now(UTC)
    moment: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return moment.astimezone(UTC)


def _make_folder(database: str | None) -> None:
    if not database:
        return
    folder = Path(database).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = error.strerror or error
        raise SettingsError(f"the folder {folder} of the database cannot be made ({why}); name another one") from error


def _configure_sqlite(engine: Engine, foreign_keys: bool) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: Any, record: object) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself; `begin` below does
        connection.create_function("clock_timestamp", 0, lambda: f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}")
        cursor = connection.cursor()
        # busy_timeout first: switching to WAL takes a lock as well
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            f"journal_mode={JOURNAL}",
            "synchronous=NORMAL",
            f"foreign_keys={'ON' if foreign_keys else 'OFF'}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A deferred transaction that reads first and writes later fails at once when another process wrote between.
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _configure_postgresql(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: Any, record: object) -> None:
        # by statements: a connection pooler in front of the server refuses them as parameters of the connection
        try:
            for name, limit_ms in LIMITS_MS.items():
                connection.execute(f"SET {name} = {limit_ms}")
            connection.commit()
        except connection_error(engine):
            connection.close()  # nobody else knows of it yet
            raise

    @event.listens_for(engine, "checkin")
    def checkin(connection: Any, record: Any) -> None:
        record.info["used_at"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def checkout(connection: Any, record: Any, proxy: object) -> None:
        if time.monotonic() - record.info.get("used_at", time.monotonic()) < _FRESH_S:
            return
        try:
            connection.execute("")  # the smallest thing that goes there and back
            connection.rollback()
        except connection_error(engine) as error:
            raise InvalidatePoolError("the server has closed its connections") from error

    @event.listens_for(engine, "handle_error")
    def handle_error(context: ExceptionContext) -> BaseException | None:
        # A server that ends a connection says so by errors of several classes; for whoever waits they are one.
        found = context.sqlalchemy_exception
        if not context.is_disconnect or found is None or isinstance(found, OperationalError):
            return None
        original = context.original_exception
        return OperationalError(context.statement, context.parameters, original, connection_invalidated=True)


def connection_error(engine: Engine) -> type[Exception]:
    """What the engine's driver raises when it cannot talk to its server."""
    found = engine.dialect.loaded_dbapi.Error
    assert issubclass(found, Exception)  # noqa: S101 - by PEP 249
    return found
