"""The migrations lead to the schema of the tables."""

import json
import subprocess
import sys
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, select, text

from nas.errors import SchemaDiffers
from nas.store.migrate import (
    Migration,
    check_schema,
    check_tables,
    configuration,
    downgrade,
    head,
    migrate,
    prepare,
    revision,
)
from nas.store.session import Store
from nas.store.tables import Base, Dataset, Epoch, Trial
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
    with pytest.raises(SchemaDiffers, match="has no tables yet; run `nas migrate`"):
        check_schema(empty_store)


def test_a_newer_schema_passes_no_check_and_is_not_touched(store: Store) -> None:
    with store.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for refuses in (check_schema, migrate, prepare):
        with pytest.raises(SchemaDiffers, match=f"9999, made by a newer version .* {head()} at most; upgrade the serv"):
            refuses(store)
    assert revision(store) == "9999"


@pytest.mark.parametrize("version", ["0001", "0002", "0003"])
def test_an_older_schema_does_not_pass_the_check(store: Store, version: str) -> None:
    assert downgrade(store, version) == Migration(head(), version)
    for refuses in (check_schema, prepare):
        with pytest.raises(SchemaDiffers, match=f"schema {version}, older than this version's {head()}; .*nas migrate"):
            refuses(store)
    assert migrate(store) == Migration(version, head())
    prepare(store)


def test_an_embedded_database_is_made_at_the_first_start_and_a_server_asks_for_it(empty_store: Store) -> None:
    if empty_store.is_sqlite:
        prepare(empty_store)
        assert differences(empty_store) == []
    else:
        with pytest.raises(SchemaDiffers, match="has no tables yet; run `nas migrate`"):
            prepare(empty_store)


def test_a_database_of_another_program_is_left_alone(empty_store: Store) -> None:
    with empty_store.write() as session:
        session.execute(text("CREATE TABLE customers (id INTEGER)"))
    for refuses in (migrate, prepare):
        with pytest.raises(SchemaDiffers, match=r"tables of another program \(customers\); give the service"):
            refuses(empty_store)
    with empty_store.read() as session:
        assert inspect(session.connection()).get_table_names() == ["customers"]


def test_a_column_that_is_not_there_is_noticed_at_the_start(store: Store) -> None:
    check_tables(store)
    with store.write() as session:
        session.execute(text("ALTER TABLE epochs DROP COLUMN lr"))
        session.execute(text("DROP TABLE counters"))
    with pytest.raises(SchemaDiffers, match=r"lacks counters.label, counters.name, counters.value, epochs.lr; restore"):
        prepare(store)


def test_the_migrations_can_be_undone_and_done_again(store: Store) -> None:
    assert downgrade(store, "base") == Migration(head(), None)
    with store.read() as session:
        assert inspect(session.connection()).get_table_names() == ["alembic_version"]
    assert migrate(store) == Migration(None, head())
    assert differences(store) == []


OLD: dict[str, dict[str, Any]] = {
    "datasets": {"id": 1, "name": "squares", "digest": "d", "sha256": "s", "channels": 1, "height": 8, "width": 8}
    | {"train": 64, "validation": 16, "test": 20, "classes": '["a", "b"]', "created_at": "2026-01-01 00:00:00"},
    "jobs": {"id": "j", "state": "queued", "spec": "{}", "dataset_id": 1, "trials_planned": 1, "next_number": 1}
    | {"search_epochs": 1, "final_epochs": 0, "train_seconds": 1.0, "failures_in_row": 0}
    | {"created_at": "2026-01-01 00:00:00"},
    "trials": {"id": 1, "job_id": "j", "number": 0, "phase": "search", "state": "queued", "seed_index": 0, "epochs": 3}
    | {"epoch": 1, "attempt": 0, "losses": 0, "created_at": "2026-01-01 00:00:00"},
    "epochs": {"trial_id": 1, "epoch": 1, "train_loss": 1.0, "validation_loss": 2.0, "validation_accuracy": 0.5}
    | {"lr": 0.1, "seconds": 3.0},
}
"""A row in each table that 0002 changes, as 0001 had it; each refers to the one before."""


@pytest.fixture(params=["0001", "0002", "0003"])
def old_store(request: pytest.FixtureRequest, empty_store: Store) -> Store:
    """Rows that 0001 wrote, in a database that was left at this version."""
    with empty_store.write() as session:
        command.upgrade(configuration(session.connection()), "0001")
        for table, row in OLD.items():
            values = ", ".join(f":{name}" for name in row)
            session.execute(text(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})"), row)  # noqa: S608
    unchecked = Store(empty_store.url, foreign_keys=False)
    with unchecked.write() as session:
        command.upgrade(configuration(session.connection()), request.param)
    unchecked.close()
    return empty_store


def test_rows_from_before_data_sets_of_users_are_kept_and_completed(old_store: Store) -> None:
    migrate(old_store)
    assert differences(old_store) == []
    with old_store.read() as session:
        for table, row in OLD.items():
            found = session.execute(text(f"SELECT * FROM {table}")).mappings().one()  # noqa: S608
            for name, value in row.items():
                kept = json.dumps(found[name]) if isinstance(found[name], list | dict) else found[name]
                assert str(kept).startswith(str(value)), name
        dataset = session.scalars(select(Dataset)).one()
        trial = session.scalars(select(Trial)).one()
        epoch = session.scalars(select(Epoch)).one()
    assert (dataset.task, dataset.seed) == ("single_label", 0)
    assert (dataset.counts, dataset.warnings, dataset.size_bytes) == (None, None, None)
    assert (trial.latency_ms, trial.memory_mb, epoch.metrics) == (None, None, None)


def test_an_upgraded_database_takes_what_the_new_columns_are_for(old_store: Store) -> None:
    migrate(old_store)
    with old_store.write() as session:
        dataset = session.scalars(select(Dataset)).one()
        dataset.counts, dataset.warnings, dataset.size_bytes = {"a": 50, "b": 50}, ["few images"], 1 << 40
        session.scalars(select(Trial)).one().latency_ms = 1.5
        session.scalars(select(Epoch)).one().metrics = {"f1": 0.25}
    with old_store.read() as session:
        dataset = session.scalars(select(Dataset)).one()
        assert (dataset.counts, dataset.warnings) == ({"a": 50, "b": 50}, ["few images"])
        assert dataset.size_bytes == 1 << 40
        assert session.scalars(select(Trial.latency_ms)).one() == 1.5
        assert session.scalars(select(Epoch.metrics)).one() == {"f1": 0.25}


def test_an_upgrade_can_be_undone_with_its_rows(old_store: Store) -> None:
    migrate(old_store)
    downgrade(old_store, "0001")
    with old_store.read() as session:
        for table, row in OLD.items():
            [found] = session.execute(text(f"SELECT * FROM {table}")).mappings().all()  # noqa: S608
            assert row.keys() <= found.keys()
            assert found.keys().isdisjoint(
                {"task", "counts", "warnings", "size_bytes", "seed", "metrics", "latency_ms"}
            )
