"""Whether the server is alive and can serve."""

import shutil
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError, TimeoutError

from api.main import create_app
from nas.settings import Settings
from nas.store import jobs
from nas.store.migrate import check_schema
from tests.api.client import ApiClient, calling, problem
from tests.support import database

OK = {"status": "ok"}


def test_a_server_that_has_started_is_alive_and_ready(api: ApiClient) -> None:
    for path in ("/healthz", "/readyz"):
        answer = api.get(path)
        assert (answer.status_code, answer.json()) == (200, OK)


def test_the_server_makes_an_embedded_database_at_its_first_start(tmp_path: Path) -> None:
    settings = Settings.read(
        {"NAS_HOME": str(tmp_path), "NAS_DATABASE_URL": database("sqlite", tmp_path, migrated=False)}
    )
    with calling(create_app(settings)) as api:
        check_schema(api.store)
        assert api.get("/readyz").json() == OK
        assert api.get("/v1/jobs").json()["items"] == []


def test_a_server_whose_database_was_migrated_under_it_is_not_ready_but_alive(api: ApiClient) -> None:
    with api.store.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'other'"))
    problem(api.get("/readyz"), 503, "the database has schema other", "upgrade the service")
    assert api.get("/healthz").json() == OK


def test_a_server_without_its_database_is_not_ready_but_alive(api: ApiClient, tmp_path: Path) -> None:
    api.store.close()
    for path in tmp_path.glob("nas.db*"):
        path.unlink()
    (tmp_path / "nas.db").mkdir()
    problem(api.get("/readyz"), 503, "unable to open database file")
    assert api.get("/healthz").json() == OK


def test_a_server_without_room_for_files_is_not_ready_but_alive(api: ApiClient, settings: Settings) -> None:
    shutil.rmtree(settings.artifacts_url)
    Path(settings.artifacts_url).write_bytes(b"")
    problem(api.get("/readyz"), 503, "artifacts")
    assert api.get("/healthz").json() == OK


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/abc", "/v1/jobs/abc/dashboard", "/v1/datasets"])
def test_a_database_that_does_not_answer_is_a_case_for_trying_again(api: ApiClient, tmp_path: Path, path: str) -> None:
    api.store.close()
    for file in tmp_path.glob("nas.db*"):
        file.unlink()
    (tmp_path / "nas.db").mkdir()
    answer = api.get(path)
    problem(answer, 503, "the database does not answer; try again in a few seconds")
    assert answer.headers["Retry-After"] == "2"
    problem(api.ask({"dataset": "squares"}), 503)


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("SELECT", {}, Exception("the server closed the connection")),
        InterfaceError("SELECT", {}, Exception("the connection is closed")),
        TimeoutError("QueuePool limit of size 5 overflow 10 reached"),
    ],
)
def test_a_database_that_is_back_serves_again(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, error: SQLAlchemyError
) -> None:
    def away(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(jobs, "page", away)
        problem(api.get("/v1/jobs"), 503, "try again in a few seconds")
    assert api.get("/v1/jobs").status_code == 200


def test_a_fault_of_our_own_is_a_500_that_tells_nothing(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(jobs, "page", broken)
    answer = api.get("/v1/jobs")
    assert answer.status_code == 500
    assert "secret" not in answer.text
