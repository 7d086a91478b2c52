"""`nas migrate`, and programs that are started on databases of other versions; all of them real processes."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from nas.store.migrate import check_schema, downgrade, head, migrate
from nas.store.session import Store
from tests.processes import environment, serve, settings_in, until, url_in
from tests.support import BACKENDS, database

SERVE = ["-m", "cli", "serve", "--port", "0", "--workers", "0"]
WORKER = ["-m", "worker.main", "--device", "cpu"]


def together(folder: Path, url: str, *commands: list[str]) -> list[tuple[int, str, str]]:
    """Runs commands on a database at the same time; (status, output, errors) of each."""
    settings = settings_in(folder, database_url=url)
    started = [
        subprocess.Popen(
            [sys.executable, *command], env=environment(settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for command in commands
    ]
    ended = [(process, *process.communicate(timeout=60)) for process in started]
    return [(process.returncode, output.decode(), errors.decode()) for process, output, errors in ended]


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables."""
    return database(request.param, tmp_path, migrated=False)


def nas(folder: Path, url: str, *arguments: str) -> tuple[int, str, str]:
    return together(folder, url, ["-m", "cli", *arguments])[0]


def test_migrate_says_what_it_did_and_check_says_what_there_is_to_do(tmp_path: Path, url: str) -> None:
    status, printed, _ = nas(tmp_path, url, "migrate", "--check")
    assert (status, f"schema none, this version's is {head()}" in printed) == (1, True)
    status, printed, _ = nas(tmp_path, url, "migrate")
    assert (status, f"schema none → {head()}" in printed) == (0, True)
    assert nas(tmp_path, url, "migrate", "--check")[0] == 0
    store = Store(url)
    check_schema(store)
    downgrade(store, "0002")
    store.close()
    assert f"schema 0002 → {head()}" in nas(tmp_path, url, "migrate")[1]


def test_server_and_worker_stop_with_one_line_on_a_schema_of_another_version(tmp_path: Path, url: str) -> None:
    store = Store(url)
    migrate(store)
    downgrade(store, "0003")
    # the worker's imports take seconds: once is enough
    commands = [SERVE, WORKER] if url.startswith("postgresql") else [SERVE]
    for status, _, errors in together(tmp_path, url, *commands):
        assert status == 2
        [line] = errors.splitlines()
        assert f"the database has schema 0003, older than this version's {head()}" in line
        assert "run `nas migrate`" in line
    with store.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0999'"))
    store.close()
    for status, _, errors in together(tmp_path, url, SERVE):
        assert status == 2
        [line] = errors.splitlines()
        assert "the database has schema 0999, made by a newer version than this one" in line
        assert "upgrade the service" in line


def test_an_empty_server_database_asks_for_migrate(tmp_path: Path) -> None:
    for status, _, errors in together(tmp_path, database("postgresql", tmp_path, migrated=False), SERVE):
        assert status == 2
        [line] = errors.splitlines()
        assert "the database has no tables yet; run `nas migrate`" in line


def test_a_database_that_does_not_answer_is_one_line_without_the_password(tmp_path: Path) -> None:
    commands = (SERVE, ["-m", "cli", "migrate"])
    for status, _, errors in together(tmp_path, "postgresql://someone:secret@127.0.0.1:9/nas", *commands):
        assert status == 2
        [line] = errors.splitlines()
        assert "someone:***@127.0.0.1:9/nas does not answer (" in line
        assert "start it, or correct NAS_DATABASE_URL" in line
        assert "secret" not in line


def test_services_that_start_together_on_no_database_all_come_up(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with serve(settings, tmp_path / "one.log", 0) as one, serve(settings, tmp_path / "two.log", 0) as two:
        for log in ("one.log", "two.log"):
            assert url_in(tmp_path / log)
            until(lambda log=log: "startup complete" in (tmp_path / log).read_text(), "the server")  # type: ignore[misc]
        assert (one.poll(), two.poll()) == (None, None)
    store = Store(settings.database_url)
    check_schema(store)
    store.close()
