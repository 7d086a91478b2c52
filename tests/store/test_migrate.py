"""The migrations lead to the schema of the tables."""

import subprocess
import sys
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from nas.store.migrate import check_schema, configuration, head, migrate
from nas.store.session import Store
from nas.store.tables import Base
from tests.support import add_job, everything, together


def differences(store: Store) -> list[Any]:
    """What Alembic would still have to do, types, defaults and constraints included."""
    with store.read() as session:
        options = {"compare_type": True, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(session.connection(), opts=options), Base.metadata))


@pytest.fixture
def store(empty_store: Store) -> Store:
    """A store whose schema the test may change."""
    migrate(empty_store)
    return empty_store


def test_the_migrated_schema_is_the_one_of_the_tables(store: Store) -> None:
    assert differences(store) == []


def test_the_migrated_primary_keys_are_those_of_the_tables(store: Store) -> None:
    with store.read() as session:
        inspector = inspect(session.connection())
        for table in Base.metadata.sorted_tables:
            found = inspector.get_pk_constraint(table.name)  # Alembic does not compare these
            assert found["constrained_columns"] == [column.name for column in table.primary_key.columns]
            assert found["name"] == f"pk_{table.name}"


@pytest.mark.parametrize(
    "change",
    [
        "DROP INDEX ix_trials_state_lease_until",
        "ALTER TABLE jobs ADD COLUMN spare INTEGER",
        "ALTER TABLE epochs DROP COLUMN lr",
        "CREATE TABLE spare (id INTEGER)",
    ],
)
def test_a_schema_that_differs_is_noticed(store: Store, change: str) -> None:
    with store.write() as session:
        session.execute(text(change))
    assert len(differences(store)) == 1


def test_a_type_that_differs_is_noticed(empty_store: Store) -> None:
    with empty_store.write() as session:
        session.execute(text("CREATE TABLE workers (id TEXT, device VARCHAR(99), started_at DATE, seen_at INTEGER)"))
    changed = {
        (change[0], change[3])
        for group in differences(empty_store)
        for change in (group if isinstance(group, list) else [group])
        if change[0] == "modify_type"
    }
    assert changed == {("modify_type", name) for name in ("id", "device", "started_at", "seen_at")}


def test_migrating_again_changes_nothing(store: Store) -> None:
    add_job(store)
    before = everything(store)
    migrate(store)
    assert everything(store) == before
    assert differences(store) == []


def test_processes_that_start_together_migrate_once(empty_store: Store) -> None:
    url = empty_store.engine.url.render_as_string(hide_password=False)
    script = f"from nas.store.migrate import *; from nas.store.session import Store; migrate(Store({url!r}))"
    started = [subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE) for _ in range(2)]
    ended = [(process.communicate()[1].decode(), process.returncode) for process in started]
    assert ended == [("", 0)] * 2
    check_schema(empty_store)
    assert differences(empty_store) == []


def test_threads_that_start_together_migrate_once(empty_store: Store) -> None:
    url = empty_store.engine.url.render_as_string(hide_password=False)

    def start(_: int) -> None:
        store = Store(url)
        migrate(store)
        store.close()

    together(4, start)
    check_schema(empty_store)


def test_the_schema_of_this_version_passes_the_check(store: Store) -> None:
    check_schema(store)


def test_an_empty_database_does_not_pass_the_check(empty_store: Store) -> None:
    with pytest.raises(RuntimeError, match=f"has schema None, this version needs {head()}; restart to migrate it"):
        check_schema(empty_store)


def test_another_schema_does_not_pass_the_check(store: Store) -> None:
    with store.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'other'"))
    with pytest.raises(RuntimeError, match=f"has schema other, this version needs {head()}"):
        check_schema(store)


def test_the_migrations_can_be_undone_and_done_again(store: Store) -> None:
    with store.write() as session:
        command.downgrade(configuration(session.connection()), "base")
    with store.read() as session:
        assert inspect(session.connection()).get_table_names() == ["alembic_version"]
    migrate(store)
    assert differences(store) == []
