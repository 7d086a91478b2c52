"""Brings a database to the schema of nas.store.tables, by Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from nas.store.session import Store

_LOCK = 7_202_611


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration, without a file: the scripts are part of the package."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def head() -> str:
    """The newest schema version that this code knows."""
    found = ScriptDirectory.from_config(configuration()).get_current_head()
    assert found is not None  # noqa: S101 - the package has migrations
    return found


def migrate(store: Store) -> None:
    """Upgrades the database to the newest schema in one transaction; processes that start together wait in line."""
    if not store.is_sqlite:
        with store.write() as session:
            session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            command.upgrade(configuration(session.connection()), "head")
        return
    # SQLite changes a constraint by making its table anew, which rows that refer to it would forbid; its write
    # transaction is a lock already.
    migrating = Store(store.engine.url.render_as_string(hide_password=False), foreign_keys=False)
    with migrating.write() as session:
        command.upgrade(configuration(session.connection()), "head")
        if broken := session.execute(text("PRAGMA foreign_key_check")).first():
            raise RuntimeError(f"the migration would leave a row that refers to nothing: {tuple(broken)}")
    migrating.close()


def check_schema(store: Store) -> None:
    """Raises RuntimeError if the database's schema is not the one of this code."""
    with store.read() as session:
        found = MigrationContext.configure(session.connection()).get_current_revision()
    if found != head():
        raise RuntimeError(f"the database has schema {found}, this version needs {head()}; restart to migrate it")
