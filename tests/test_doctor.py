"""`nas doctor`: each thing is broken for real, and it says so, with the mend; it never fails itself."""

import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from cli.main import run
from nas import doctor
from nas.doctor import examine
from nas.finding import Finding, Status
from nas.settings import Settings
from nas.store import checkup, datasets, workers
from nas.store.artifacts import ArtifactStore
from nas.store.migrate import downgrade, migrate
from nas.store.session import Store, now
from nas.store.tables import ApiKey, Tally
from tests.support import BACKENDS, add_job, database, random_images


@pytest.fixture
def settings(backend: str, tmp_path: Path) -> Settings:
    return Settings.read({"NAS_HOME": str(tmp_path), "NAS_DATABASE_URL": database(backend, tmp_path)})


@pytest.fixture
def backend() -> str:
    return "sqlite"


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """The database of a service that has stored a data set."""
    opened = Store(settings.database_url)
    datasets.add(opened, ArtifactStore(settings.artifacts_url), "squares", random_images(8))
    yield opened
    opened.close()


def found(settings: Settings, about: str, *, deep: bool = False) -> Finding:
    [finding] = [finding for finding in examine(settings, deep=deep) if finding.about == about]
    return finding


def problem(settings: Settings, about: str, *words: str, mend: str, status: Status = Status.PROBLEM) -> None:
    """Checks that there is one of that kind, which says these words, and how to mend it."""
    finding = found(settings, about, deep=about == "audit")
    assert finding.status == status, finding
    for word in words:
        assert word in finding.text
    assert mend in finding.mend


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_healthy_service_has_no_findings_but_good_ones(settings: Settings, store: Store, backend: str) -> None:
    findings = list(examine(settings, deep=True))
    assert [finding for finding in findings if finding.status != Status.OK] == []
    about = {finding.about: finding.text for finding in findings}
    assert {"python", "packages", "database", "schema", "keys", "files", "space", "data sets", "workers", "cpu"} < set(
        about
    )
    assert ("journal" in about) == (backend == "sqlite")
    assert ("connections" in about) == ("clock" in about) == ("packages (postgres)" in about) == (backend != "sqlite")
    assert about["data sets"] == "1, with their files"
    assert about["audit"] == "all rows and files agree"


def test_a_service_that_was_never_started_is_healthy_and_stays_untouched(tmp_path: Path) -> None:
    settings = Settings.read({"NAS_HOME": str(tmp_path / "never")})
    findings = list(examine(settings, deep=True))
    assert {finding.status for finding in findings} == {Status.OK}
    assert [finding.about for finding in findings if "made when the service first starts" in finding.text] == [
        "database",
        "files",
    ]
    assert not (tmp_path / "never").exists()


def test_packages_that_are_old_or_missing_are_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["numpy>=99", "no-such-package>=1", 'no-such-server; extra == "api"', 'torch>=99; extra == "worker"']
    monkeypatch.setattr(doctor, "requires", lambda _: asked)
    words = ("numpy is ", ">=99 is needed", "no-such-package is not installed")
    problem(settings, "packages", *words, mend="pip install 'nas-service'")
    mend = "pip install 'nas-service[api]'; without it this machine runs no api"
    problem(settings, "packages (api)", "no-such-server is not installed", mend=mend, status=Status.WARNING)
    problem(settings, "packages (worker)", "torch is ", mend="nas-service[worker]", status=Status.WARNING)


def test_a_home_that_cannot_be_one_is_noticed(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    problem(replace(settings, home=tmp_path / "file" / "home"), "home", "not writable", mend="another NAS_HOME")


def test_a_plugin_that_cannot_be_imported_is_noticed(settings: Settings) -> None:
    problem(replace(settings, plugins=("no_such_module",)), "plugins", "no_such_module", mend="correct NAS_PLUGINS")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql+psycopg://someone:secret@127.0.0.1:9/nas", "Connection refused"),
        ("sqlite:////dev/null/nas.db", "the folder /dev/null of the database cannot be made"),
    ],
)
def test_a_database_that_does_not_answer_is_one_problem(settings: Settings, url: str, words: str) -> None:
    broken = replace(settings, database_url=url)
    problem(broken, "database", words, mend="start it, or correct NAS_DATABASE_URL")
    assert [finding.about for finding in examine(broken) if finding.status != Status.OK] == ["database"]
    assert not any("secret" in finding.text for finding in examine(broken))


def test_a_file_that_is_no_database_is_a_problem(settings: Settings, tmp_path: Path) -> None:
    for path in tmp_path.glob("nas.db*"):
        path.unlink()
    (tmp_path / "nas.db").write_bytes(b"hello " * 1000)
    problem(settings, "database", "file is not a database", mend="restored from a backup")


def test_a_damaged_database_is_a_problem(settings: Settings, store: Store, tmp_path: Path) -> None:
    store.close()
    with sqlite3.connect(tmp_path / "nas.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [(page,)] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_jobs_state_created_at'")
        [(size,)] = connection.execute("PRAGMA page_size")
    connection.close()
    with (tmp_path / "nas.db").open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 64)
    problem(settings, "integrity", mend="restore the database from a backup")


def test_a_journal_that_is_no_write_ahead_log_is_a_problem(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.store.session.JOURNAL", "delete")
    problem(settings, "journal", "the journal mode is delete, not wal", mend="a disk of this machine")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_schema_of_another_version_is_a_problem(settings: Settings, store: Store, backend: str) -> None:
    downgrade(store, "0003")
    try:
        problem(settings, "schema", "older than this version's", mend="run `nas migrate`")
    finally:
        migrate(store)


def test_a_missing_column_is_a_problem(settings: Settings, store: Store) -> None:
    with store.write() as session:
        session.execute(text("ALTER TABLE epochs DROP COLUMN lr"))
    problem(settings, "schema", "lacks epochs.lr", mend="restore it from a backup")


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_server_that_is_old_or_full_or_has_another_time_is_noticed(
    settings: Settings, store: Store, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkup, "OLDEST_POSTGRESQL", 99)
    problem(settings, "server", "PostgreSQL ", mend="upgrade it to 99 or newer")
    monkeypatch.setattr(checkup, "FREE_CONNECTIONS", 1000)
    problem(settings, "connections", " are used", mend="raise max_connections", status=Status.WARNING)
    monkeypatch.setattr(checkup, "now", lambda session: now(session) + timedelta(minutes=1))
    problem(settings, "clock", "differ by 60.", mend="set both by NTP", status=Status.WARNING)
    monkeypatch.setattr(checkup, "SLOW_MS", 0.0)
    problem(settings, "database", "answers in", mend="nearer", status=Status.WARNING)


def test_files_that_cannot_be_stored_are_a_problem(settings: Settings, store: Store) -> None:
    shutil.rmtree(settings.artifacts_url)
    Path(settings.artifacts_url).write_bytes(b"")
    problem(settings, "files", settings.artifacts_url, mend="correct NAS_ARTIFACTS_URL")


def test_little_room_is_a_warning(settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "FREE_BYTES", 1 << 60)
    problem(settings, "space", "GiB are free", mend="nas gc", status=Status.WARNING)


def test_a_data_set_without_its_file_is_a_problem(settings: Settings, store: Store) -> None:
    shutil.rmtree(settings.artifacts_url)
    Path(settings.artifacts_url).mkdir()
    problem(settings, "data sets", "the files of 1 are missing: squares", mend="upload them again")


def test_jobs_that_wait_for_a_worker_are_a_warning_until_one_is_there(settings: Settings, store: Store) -> None:
    add_job(store)
    problem(settings, "workers", "none is alive, and 1 jobs wait", mend="`nas worker`", status=Status.WARNING)
    with store.write() as session:
        workers.register(session, "ada", "cpu")
    assert found(settings, "workers").text == "1 alive, 1 jobs are open"


def test_keys_that_will_soon_end_are_a_warning(settings: Settings, store: Store) -> None:
    with store.write() as session:
        moment = now(session)
        for name, days in (("nas_soon", 2), ("nas_later", 60), ("nas_over", -2)):
            end = moment + timedelta(days=days)
            session.add(ApiKey(prefix=name, digest=name, owner="ada", scope="read", created_at=moment, expires_at=end))
    problem(settings, "keys", "2 that are valid", mend="nas_soon expire within a week", status=Status.WARNING)


def test_a_violation_is_a_problem_of_the_audit(settings: Settings, store: Store) -> None:
    add_job(store)
    with store.write() as session:
        session.query(Tally).update({Tally.count: 3})
    findings = [finding for finding in examine(settings, deep=True) if finding.about == "audit"]
    assert findings
    assert all(finding.status == Status.PROBLEM and "its tally says 3" in finding.text for finding in findings)


def test_a_check_that_fails_is_a_finding_and_the_others_go_on(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Settings) -> Iterator[Finding]:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(doctor, "CHECKS", dict.fromkeys(doctor.CHECKS, broken) | {"cpu": doctor.CHECKS["devices"]})
    findings = list(examine(settings))
    assert {finding.text for finding in findings if finding.about != "cpu"} == {"RuntimeError: out of luck"}
    assert findings[-1].status == Status.OK


def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environ: dict[str, str], *arguments: str
) -> tuple[int, str]:
    status = 0
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["nas", "doctor", *arguments])
    try:
        run()
    except SystemExit as ended:
        status = int(ended.code or 0)
    return status, capsys.readouterr().out


def test_the_command_prints_a_table_or_json_and_its_status_tells(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {**settings.to_environ(), "COLUMNS": "200"}
    status, printed = command(monkeypatch, capsys, environ)
    assert (status, "with their files" in printed) == (0, True)
    shutil.rmtree(settings.artifacts_url)
    Path(settings.artifacts_url).mkdir()
    status, printed = command(monkeypatch, capsys, environ)
    assert status == 1
    assert "→ restore their files from a backup" in printed
    status, printed = command(monkeypatch, capsys, environ, "--json")
    assert status == 1
    [said] = [finding for finding in json.loads(printed) if finding["status"] == "problem"]
    assert said["about"] == "data sets"
    assert set(said) == {"about", "status", "text", "mend"}


def test_an_impossible_setting_is_a_finding_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, printed = command(monkeypatch, capsys, {**os.environ, "NAS_LEASE_SECONDS": "soon"}, "--json")
    assert status == 1
    assert json.loads(printed)[0]["text"].startswith("NAS_LEASE_SECONDS is 'soon'")
