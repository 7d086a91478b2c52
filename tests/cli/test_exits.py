"""What scripts see of an error: the exit status, JSON, and words that name commands."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.exits import BY_ERROR, EXITS, status_of
from cli.service import local_service
from cli.words import as_commands
from nas import client as clients
from nas import errors
from nas.client import Client, NoService, ServiceError
from nas.settings import Settings
from tests.cli.commands import run

Nas = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ServiceError(422, "no"), 2),
        (ServiceError(401, "no"), 5),
        (ServiceError(403, "no"), 5),
        (ServiceError(404, "no"), 4),
        (ServiceError(409, "no"), 6),
        (ServiceError(429, "no"), 6),
        (ServiceError(500, "no"), 1),
        (ServiceError(503, "no"), 1),
        (NoService("no"), 3),
        (errors.NotFound("no"), 4),
        (errors.InvalidInput("a", 1, "no"), 2),
        (errors.SchemaDiffers("no"), 2),
        (errors.DiskFull("no"), 1),
        (FileNotFoundError(2, "No such file", "x.png"), 2),
        (OSError("a fault"), None),
        (KeyError("a fault"), None),
    ],
)
def test_an_error_ends_in_the_status_of_its_kind(error: Exception, status: int | None) -> None:
    assert status_of(error) == status
    assert status is None or status in EXITS


def test_the_table_of_statuses_names_errors_that_there_are_and_is_told(nas: Nas) -> None:
    for name in BY_ERROR:
        assert hasattr(errors, name) or hasattr(clients, name)
    done = run(["help", "exits"])
    assert done.returncode == 0
    for status, text in EXITS.items():
        assert f"{status:3}  {text}" in done.stdout
    assert json.loads(run(["help", "exits", "--json"]).stdout)["3"] == EXITS[3]
    assert run(["help", "nonsense"]).returncode == 4
    assert "Usage: nas jobs watch" in run(["help", "jobs", "watch"]).stdout


def test_scripts_can_tell_what_went_wrong(service: tuple[Client, Settings], nas: Nas) -> None:
    job = service[0].search(dataset="digits", strategy="random").id
    assert nas("jobs", "show", "nothing")[0] == 4
    assert nas("jobs", "download", job)[0] == 6
    assert nas("jobs", "figure", job, "nonsense")[0] in (2, 4)
    assert nas("jobs", "nonsense")[0] == 2
    nowhere = run(["jobs", "list", "--url", "http://127.0.0.1:9"])
    assert (nowhere.returncode, nowhere.stdout) == (3, "")
    assert "nas serve" in nowhere.stderr


def test_an_error_of_json_is_json_with_its_status(service: tuple[Client, Settings], nas: Nas, tmp_path: Path) -> None:
    job = service[0].search(dataset="digits", strategy="random").id
    (tmp_path / "job.json").write_text("[")
    wrong = {
        ("jobs", "show", "nothing"): (4, "`nas jobs` lists them"),
        ("jobs", "download", job): (6, "no model"),
        ("search", "digits", "--trials", "0"): (2, "budget.trials"),
        ("search", str(tmp_path / "job.json")): (2, "job.json:1"),
        ("jobs", "watch"): (2, "JOB"),
        ("jobs", "show", ""): (2, "the id of a job"),
        ("jobs", "best", ".."): (2, "the id of a job"),
        ("jobs", "download", job, "--out", str(tmp_path / "job.json")): (2, "name a folder"),
        ("jobs", "list", "--limit", "many"): (2, "--limit"),
        ("jobs", "nonsense"): (2, "nonsense"),
    }
    for arguments, (status, says) in wrong.items():
        code, out, err = nas(*arguments, "--json")
        told = json.loads(out)
        assert (code, told["status"]) == (status, status), arguments
        assert says in told["error"]
        assert err.rstrip("\n").endswith(told["error"])
    nowhere = run(["jobs", "list", "--json", "--url", "http://127.0.0.1:9"])
    assert (nowhere.returncode, json.loads(nowhere.stdout)["kind"]) == (3, "NoService")
    missing = run(["predict", "nothing.zip", "x.png", "--json"])
    assert (missing.returncode, json.loads(missing.stdout)["error"]) == (2, "nothing.zip: No such file or directory")
    service[0].job(job).delete(force=True)


def test_a_key_that_is_missing_is_told_with_its_status(tmp_path: Path) -> None:
    environ = os.environ | {"NAS_HOME": str(tmp_path), "NAS_LOG": "ERROR"}
    assert run(["keys", "create", "--owner", "ada"], NAS_HOME=str(tmp_path)).returncode == 0
    with local_service(Settings.read(environ), 0, [], environ) as url:
        refused = run(["jobs", "list", "--json", "--url", url])
        unknown = run(["keys", "whoami", "--json", "--url", url])
    assert (refused.returncode, json.loads(refused.stdout)["status"]) == (5, 5)
    assert "NAS_API_KEY" in json.loads(unknown.stdout)["error"]


def test_where_the_service_names_a_route_the_command_line_names_its_command(
    service: tuple[Client, Settings], nas: Nas
) -> None:
    job = service[0].search(dataset="digits", strategy="random").id
    assert f"cancel it first with `nas jobs cancel {job}`, or delete it with --force" in nas("jobs", "delete", job)[2]
    assert "`nas datasets` lists them" in nas("datasets", "show", "nothing")[2]
    nas("jobs", "pause", job)
    assert f"it is paused; `nas jobs resume {job}` lets it go on" in " ".join(nas("jobs", "show", job)[1].split())
    assert "`nas datasets` lists them" in nas("search", "--example")[1]
    service[0].job(job).delete(force=True)


def test_no_route_is_left_in_what_the_service_says() -> None:
    for file in Path(errors.__file__).parent.rglob("*.py"):
        if file.parent.name == "result":  # a report is for people who have no command line
            continue
        without_docs = re.sub(r'"""[\s\S]*?"""', "", file.read_text())
        for said in re.findall(r'"[^"]*(?:GET|POST|DELETE) /v1/[^"]*"', re.sub(r"{[^}]*}", "1", without_docs)):
            assert "/v1/" not in as_commands(said), said
