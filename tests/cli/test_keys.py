"""`nas keys`, and what a service does with them: real commands, a real server."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from cli.main import run
from cli.service import local_service
from nas.client import Client, ServiceError
from nas.settings import Settings
from tests.processes import environment, settings_in, until, url_in
from tests.processes import serve as serving

Nas = Callable[..., tuple[int, str, str]]


@pytest.fixture
def nas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nas:
    """`nas ARGUMENTS` in this process, at home in tmp_path; (status, output, errors)."""
    for name, value in settings_in(tmp_path).to_environ().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NAS_API_KEY", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def run_it(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nas", *arguments])
        status = 0
        try:
            run()
        except SystemExit as ended:
            status = int(ended.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run_it


def made(nas: Nas, *arguments: str) -> str:
    status, out, _ = nas("keys", "create", *arguments)
    assert status == 0
    assert re.fullmatch(r"nas_[A-Za-z0-9]{8}_[A-Za-z0-9]{43}\n", out)  # nothing else: KEY=$(nas keys create …)
    return out.strip()


def test_a_key_is_printed_once_and_listed_without_its_secret(nas: Nas) -> None:
    ada = made(nas, "--owner", "ada", "--scope", "read", "--expires", "90d")
    bob = made(nas, "--owner", "bob", "--scope", "admin", "--expires", "2099-12-31")
    eve = made(nas, "--owner", "eve")
    status, out, err = nas("keys", "list")
    lines = [line for line in out.splitlines() if "20" in line]
    assert status == 0
    for key, line in zip((ada, bob, eve), lines, strict=True):
        assert key.split("_")[1] in line
        assert key.split("_")[2] not in out + err
    end = f"{datetime.now(UTC) + timedelta(days=90):%Y-%m-%d}"
    assert ["read" in lines[0], end in lines[0], "2100-01-01" in lines[1], "write" in lines[2]] == [True] * 4
    assert [line.count("never") for line in lines] == [1, 1, 2]


def test_a_revoked_key_is_listed_as_such(nas: Nas) -> None:
    prefix = made(nas, "--owner", "ada").split("_")[1]
    assert nas("keys", "revoke", prefix)[0] == 0
    assert re.search(rf"{prefix}.*revoked", nas("keys", "list")[1])
    assert nas("keys", "revoke", "nothing")[0] == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--owner", "a b"), "owner: 'a b' is not possible: 1 to 100 of"),
        (("--owner", "*"), "owner: '*'"),
        (("--owner", ""), "owner: ''"),
        (("--owner", "ada", "--scope", "root"), "scope: 'root' is not possible: allowed: read, write, admin"),
        *(
            (("--owner", "ada", "--expires", text), f"expires: {text!r} is not possible")
            for text in ("0d", "x", "", "-1d")
        ),
        *(
            (("--owner", "ada", "--expires", text), "so many days")
            for text in ("99999d", "90", "2026-13-01", "9999-12-31")
        ),
        (("--owner", "ada", "--expires", "2020-01-01"), "it has passed"),
    ],
)
def test_what_cannot_be_is_one_line(nas: Nas, arguments: tuple[str, ...], words: str) -> None:
    status, out, err = nas("keys", "create", *arguments)
    assert (status, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "nas.example.org", ""])  # noqa: S104 - it is refused
def test_others_are_not_let_in_without_a_key(nas: Nas, host: str) -> None:
    for prepare in (None, "revoked"):
        if prepare is not None:
            nas("keys", "revoke", made(nas, "--owner", "ada"))
        status, _, err = nas("serve", "--host", host, "--port", "0", "--workers", "0")
        assert status == 2
        assert "nas keys create" in err
        assert err.count("\n") == 1


def test_commands_work_with_the_key_of_their_environment_only(
    nas: Nas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = made(nas, "--owner", "ada")
    with local_service(settings_in(tmp_path), 0, [], {}) as url:
        for command in (("jobs",), ("datasets",), ("strategies",), ("jobs", "show", "nope")):
            status, _, err = nas(*command, "--url", url)
            assert status == 5
            assert "NAS_API_KEY" not in err or "API key" in err
            assert "asks for an API key" in err
        monkeypatch.setenv("NAS_API_KEY", key)
        for command in (("jobs",), ("datasets",), ("strategies",)):
            assert nas(*command, "--url", url)[0] == 0
        assert "there is no job" in nas("jobs", "show", "nope", "--url", url)[2]
        for wrong in ("é", "a b", "a\nb"):
            monkeypatch.setenv("NAS_API_KEY", wrong)
            status, _, err = nas("jobs", "--url", url)
            assert (status, "is no API key" in err, wrong in err) == (2, True, False)
        with Client(url, key) as client:
            assert key not in repr(client)
            assert list(client.jobs()) == []
        with Client(url) as client, pytest.raises(ServiceError) as caught:
            list(client.jobs())
        assert caught.value.status == 401


def test_what_one_does_on_ones_own_machine_needs_no_key(nas: Nas) -> None:
    made(nas, "--owner", "ada")
    status, out, _ = nas("datasets")
    assert status == 0
    assert "digits" in out


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path, Settings]]:
    """A server process that logs all it can, on a database whose URL has a password."""
    settings = Settings.read(
        {"NAS_HOME": str(tmp_path), "NAS_LOG": "DEBUG", "NAS_OTEL_ENDPOINT": "", "NAS_LOG_FORMAT": "json"}
    )
    log = tmp_path / "log"
    with serving(settings, log, workers=0):
        yield url_in(log), log, settings


def test_the_log_of_a_server_holds_no_key(served: tuple[str, Path, Settings]) -> None:
    url, log, settings = served
    command = [sys.executable, "-m", "cli", "keys", "create", "--owner", "ada"]
    quiet = environment(settings) | {"NAS_LOG": "DEBUG"}
    created = subprocess.run(command, env=quiet, capture_output=True, text=True, check=True)
    key = created.stdout.strip()
    assert key not in created.stderr
    wrong = f"nas_{'w' * 8}_{'x' * 43}"
    for sent, statuses in ((key, {200, 201, 422}), (wrong, {401}), (f"{key[:-1]}!", {401})):
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {sent}"}) as http:
            until_required(http, sent == key)
            answers = [
                http.get("/v1/jobs"),
                http.post("/v1/jobs", json={"dataset": "nope", "x": 1}),
                http.post("/v1/jobs", json={"dataset": "digits"}, headers={"Idempotency-Key": "k"}),
                http.post("/v1/datasets", data={"name": "x"}, files={"file": ("x.zip", b"x")}),
            ]
            assert {answer.status_code for answer in answers} <= statuses
    said = log.read_text()
    assert "/v1/jobs" in said
    for secret in (key, wrong, key.split("_")[2], wrong.split("_")[2]):
        assert secret[:-1] not in said


def until_required(http: httpx.Client, known: bool) -> None:
    until(lambda: (http.get("/v1/jobs").status_code == 200) == known, "the service knowing its keys", 20)


def test_a_database_that_cannot_be_reached_is_named_without_its_password(
    nas: Nas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings.read(
        {
            "NAS_HOME": str(tmp_path),
            "NAS_DATABASE_URL": "postgresql://nas:hunter2secret@127.0.0.1:1/nas",
            "NAS_LOG": "DEBUG",
        }
    )
    for arguments in (("keys", "list"), ("serve", "--port", "0", "--workers", "0")):
        monkeypatch.setenv("NAS_DATABASE_URL", settings.database_url)
        status, out, err = nas(*arguments)
        assert (status, out) == (2, "")
        assert "does not answer" in err
        assert "hunter2secret" not in err + caplog.text
    assert "hunter2secret" not in repr(settings)
