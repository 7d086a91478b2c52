"""Brings a database to the schema of nas.store.tables, by Alembic, and says where one is not at it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from nas.errors import SchemaDiffers
from nas.store.session import Store, answering
from nas.store.tables import Base

_LOCK = 7_202_611


@dataclass(frozen=True, slots=True)
class Migration:
    """What a migration did: schema versions before and after; None: no tables."""

    before: str | None
    after: str | None


def head() -> str:
    """The newest schema version that this code knows."""
    found = ScriptDirectory.from_config(configuration()).get_current_head()
    assert found is not None  # noqa: S101 - the package has migrations
    return found


def revision(store: Store) -> str | None:
    """The database's schema version; None if it has none."""
    with store.read() as session:
        return _revision(session.connection())


def migrate(store: Store) -> Migration:
    """Upgrades the database to the newest schema in one transaction; processes that start together wait in line.

    Raises:
        SchemaDiffers: it was made by a newer version, or by another program.
    """
    with _alone(store) as connection:
        before = _revision(connection)
        if before != head():
            _refuse_unknown(connection, before)
            command.upgrade(configuration(connection), "head")
        return Migration(before, _revision(connection))


def downgrade(store: Store, to: str) -> Migration:
    """Takes the database back to an older schema, or to `base`; what only the newer one can hold is lost."""
    with _alone(store) as connection:
        before = _revision(connection)
        command.downgrade(configuration(connection), to)
        return Migration(before, _revision(connection))


def prepare(store: Store) -> None:
    """What a process does before it works on a database: an embedded one without tables gets them, others are checked.

    Raises:
        SchemaDiffers: its schema is older or newer than this code, or has been changed.
        SettingsError: it does not answer.
    """
    with answering(store):
        if store.is_sqlite and is_empty(store):
            migrate(store)
        check_schema(store)
        check_tables(store)


def check_schema(store: Store) -> None:
    """Raises SchemaDiffers if the database's schema version is not the one of this code."""
    with store.read() as session:
        found = _revision(session.connection())
        if found == head():
            return
        _refuse_unknown(session.connection(), found)
    if found is None:
        raise SchemaDiffers("the database has no tables yet; run `nas migrate`")
    raise SchemaDiffers(
        f"the database has schema {found}, older than this version's {head()}; back it up, then run `nas migrate`"
    )


def check_tables(store: Store) -> None:
    """Raises SchemaDiffers if a table or a column is not there, whatever the schema's version says."""
    with store.read() as session:
        found = inspect(session.connection()).get_multi_columns()
    columns = {(table, column["name"]) for (_, table), there in found.items() for column in there}
    wanted = {(table.name, column.name) for table in Base.metadata.sorted_tables for column in table.columns}
    if missing := sorted(wanted - columns):
        named = ", ".join(f"{table}.{column}" for table, column in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise SchemaDiffers(
            f"the database says that it has schema {head()}, but lacks {named}{more}; restore it from a backup"
        )


def is_empty(store: Store) -> bool:
    """Whether the database has no tables at all."""
    with store.read() as session:
        return not inspect(session.connection()).get_table_names()


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration, without a file: the scripts are part of the package."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_unknown(connection: Connection, found: str | None) -> None:
    """Raises SchemaDiffers if it is no schema that this code can bring to its own."""
    if found is None:
        others = sorted({*inspect(connection).get_table_names()} - {"alembic_version"})
        if others:
            raise SchemaDiffers(
                f"the database has tables of another program ({', '.join(others[:3])}); "
                "give the service a database of its own with NAS_DATABASE_URL"
            )
    elif found not in {script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()}:
        raise SchemaDiffers(
            f"the database has schema {found}, made by a newer version than this one, which knows {head()} at most; "
            "upgrade the service"
        )


@contextmanager
def _alone(store: Store) -> Iterator[Connection]:
    """A transaction in which nobody else migrates."""
    if not store.is_sqlite:
        with store.write() as session:
            # whoever migrates waits for those before as long as they need
            session.execute(text("SET LOCAL lock_timeout = 0"))
            session.execute(text("SET LOCAL statement_timeout = 0"))
            session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            yield session.connection()
        return
    # SQLite changes a constraint by making its table anew, which rows that refer to it would forbid; its write
    # transaction is a lock already.
    migrating = Store(store.url, foreign_keys=False)
    try:
        with migrating.write() as session:
            yield session.connection()
            if broken := session.execute(text("PRAGMA foreign_key_check")).first():
                raise RuntimeError(f"the migration would leave a row that refers to nothing: {tuple(broken)}")
    finally:
        migrating.close()
