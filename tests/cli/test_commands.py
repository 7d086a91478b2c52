"""What holds for every command: each route has one, help is readable and quick, --json is everywhere."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import optuna
import pytest

from api.main import create_app
from cli.main import app
from cli.options import DEFAULT_URL
from nas import client as clients
from nas.client import Client
from nas.settings import Settings
from nas.spec import JobSpec
from nas.store import trials
from nas.store.session import Store
from nas.store.states import TrialState
from tests.cli.commands import ALL, LEAVES, run
from tests.support import candidate, digest, report, reserve

Nas = Callable[..., tuple[int, str, str]]

COMMANDS: Final = {
    "POST /v1/jobs": "search",
    "POST /v1/jobs/estimate": "search",
    "GET /v1/jobs": "jobs list",
    "GET /v1/jobs/{job_id}": "jobs show",
    "PATCH /v1/jobs/{job_id}": "jobs rename",
    "DELETE /v1/jobs/{job_id}": "jobs delete",
    "GET /v1/jobs/{job_id}/dashboard": "jobs watch",
    "GET /v1/jobs/{job_id}/best": "jobs best",
    "GET /v1/jobs/{job_id}/model": "jobs download",
    "GET /v1/jobs/{job_id}/tensorboard": "jobs logs",
    "POST /v1/jobs/{job_id}/pause": "jobs pause",
    "POST /v1/jobs/{job_id}/resume": "jobs resume",
    "POST /v1/jobs/{job_id}/cancel": "jobs cancel",
    "POST /v1/jobs/{job_id}/extend": "jobs extend",
    "POST /v1/jobs/{job_id}/clone": "jobs clone",
    "GET /v1/jobs/{job_id}/trials": "jobs trials",
    "GET /v1/jobs/{job_id}/trials/{number}": "jobs trial",
    "GET /v1/jobs/{job_id}/trials/{number}/logs": "jobs trial",
    "GET /v1/jobs/{job_id}/trials/{number}/model": "jobs download",
    "POST /v1/jobs/{job_id}/trials/{number}/retrain": "jobs retrain",
    "GET /v1/jobs/{job_id}/pareto": "jobs pareto",
    "POST /v1/jobs/{job_id}/predict": "jobs predict",
    "GET /v1/jobs/{job_id}/events": "jobs events",
    "GET /v1/jobs/{job_id}/figures/{name}.{kind}": "jobs figure",
    "GET /v1/jobs/{job_id}/report": "jobs report",
    "GET /v1/jobs/{job_id}/study": "export",
    "GET /v1/jobs/{job_id}/importances": "jobs data",
    "GET /v1/jobs/{job_id}/parallel": "jobs data",
    "GET /v1/jobs/{job_id}/curves": "jobs data",
    "GET /v1/jobs/{job_id}/points": "jobs data",
    "GET /v1/jobs/{job_id}/timeline": "jobs data",
    "GET /v1/jobs/{job_id}/evolution": "jobs data",
    "GET /v1/datasets": "datasets list",
    "POST /v1/datasets": "datasets add",
    "GET /v1/datasets/{name}": "datasets show",
    "DELETE /v1/datasets/{name}": "datasets delete",
    "GET /v1/strategies": "strategies",
    "GET /v1/genotypes": "genotypes",
    "GET /v1/operations": "operations",
    "GET /healthz": "health",
    "GET /readyz": "health",
    "GET /metrics": "metrics",
    "GET /problems/{name}": "problem",
    "GET /session": "keys whoami",
}
"""Route → the command for it."""

BROWSERS_ONLY: Final = {"POST /session", "DELETE /session"}
"""A login in a cookie; commands send their key."""


def test_every_route_of_the_api_has_a_command(service: tuple[Client, Settings]) -> None:
    paths: Mapping[str, Mapping[str, Any]] = create_app(service[1]).openapi()["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert routes - BROWSERS_ONLY == set(COMMANDS)
    assert set(COMMANDS.values()) <= set(ALL)


@pytest.mark.parametrize("words", ["", *ALL])
def test_help_says_what_a_command_does_with_an_example_in_80_columns(
    words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    with pytest.raises(SystemExit) as ended:
        app([*words.split(), "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert "Usage:" in text
    assert max(map(len, text.splitlines())) <= 100
    command = ALL.get(words)
    assert (command.help if command is not None else "x").strip()
    if words in LEAVES:
        assert "--json" in text
        assert "Example:" in text
    assert "…" not in text.replace("NAS_API_KEY=…", ""), "nothing is cut off"
    for unclear in ("<bool>", "<str>", "list[", "range>", "{", "[["):
        assert unclear not in text


def test_every_option_and_argument_says_what_it_is_for() -> None:
    silent = [
        f"{words} {param.name}" for words, command in ALL.items() for param in command.params if not (param.help or "")
    ]
    assert silent == []


def test_the_defaults_that_help_tells_are_those_of_a_job() -> None:
    spec = JobSpec(dataset="digits")
    told = {
        param.name: found[1]
        for param in ALL["search"].params
        if (found := re.search(r"default: (\w+)", param.help or ""))
    }
    parts = {
        "budget": ("trials", "epochs"),
        "space": ("nodes", "channels", "cells"),
        "final": ("finalists", "controls"),
    }
    for part, names in parts.items():
        assert {name: told[name] for name in names} == {name: str(getattr(getattr(spec, part), name)) for name in names}
    assert (told["final_epochs"], told["seeds"]) == (str(spec.final.epochs), str(spec.final.seeds))
    assert (told["strategy"], told["pruning"], told["seed"]) == (spec.strategy, spec.pruning.method, str(spec.seed))
    assert told["objective"] == spec.objectives[0].metric


def test_the_version_is_told() -> None:
    assert run(["--version"]).stdout == f"nas {version('nas-service')}\n"


def test_help_is_quick_because_it_imports_nothing_large() -> None:
    code = (
        "import sys\nsys.argv = ['nas', '--help']\nfrom cli.main import run\ntry:\n    run()\n"
        "except SystemExit:\n    print('\\n' + ' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    large = {"torch", "optuna", "pandas", "ray", "sqlalchemy", "fastapi", "pydantic", "numpy", "httpx", "nas"}
    assert "typer" in loaded
    assert not large & loaded


def test_the_example_and_the_help_are_json_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for words in (["search", "--example", "--json"], ["help", "jobs", "best", "--json"]):
        with pytest.raises(SystemExit):
            app(words)
    text = capsys.readouterr().out
    spec, end = json.JSONDecoder().raw_decode(text)
    assert JobSpec.model_validate(spec) == JobSpec(dataset="digits")
    told = json.loads(text[end:])
    assert told["command"] == "nas jobs best" or told["command"].endswith("jobs best")
    assert "Example: nas jobs best" in told["help"]


def test_the_url_is_the_one_of_the_client() -> None:
    assert DEFAULT_URL == clients.DEFAULT_URL


def test_what_json_prints_is_json_and_nothing_else(service: tuple[Client, Settings], nas: Nas, tmp_path: Path) -> None:
    job = service[0].search(dataset="digits", strategy="random", name="first").id
    assert json.loads(nas("jobs", "show", job, "--json")[1])["job"]["id"] == job
    assert json.loads(nas("jobs", "show", job, "--spec")[1])["dataset"] == "digits"
    assert [one["id"] for one in json.loads(nas("jobs", "list", "--search", "first", "--json")[1])] == [job]
    assert json.loads(nas("jobs", "list", "--state", "failed", "--json")[1]) == []
    assert json.loads(nas("jobs", "rename", job, "second", "--json")[1])["name"] == "second"
    assert json.loads(nas("jobs", "priority", job, "-5", "--json")[1])["priority"] == -5
    assert json.loads(nas("jobs", "pause", job, "--json")[1])["state"] == "paused"
    assert json.loads(nas("jobs", "trials", job, "--json")[1]) == service[0].job(job).trial_list()
    assert json.loads(nas("jobs", "data", job, "curves", "--limit", "3")[1])["metric"] == "accuracy"
    assert nas("jobs", "data", job, "nonsense")[0] == 2
    for command in ("strategies", "operations", "genotypes", "health", "metrics"):
        assert json.loads(nas(command, "--json")[1])
    assert json.loads(nas("problem", "not-ready", "--json")[1])["title"]
    assert json.loads(nas("keys", "whoami", "--json")[1])["scope"] == "admin"
    assert json.loads(nas("search", "digits", "--check", "--json")[1])["trials"] == 24
    assert "digits" in {one["name"] for one in json.loads(nas("datasets", "list", "--json")[1])}
    watched = nas("jobs", "watch", job, "--json")
    assert (watched[0], json.loads(watched[1])["job"]["state"]) == (1, "cancelled")
    events = [json.loads(line) for line in nas("jobs", "events", job)[1].splitlines()]
    assert events[-1]["event"] == "end"
    assert json.loads(nas("jobs", "delete", job, "--json")[1]) == {"deleted": job}


def test_ctrl_c_leaves_the_job_running_and_says_how_to_come_back(service: tuple[Client, Settings]) -> None:
    client, _ = service
    job = client.search(dataset="digits", strategy="random")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NAS_")}
    command = [sys.executable, "-m", "cli", "jobs", "watch", job.id, "--url", client.url]
    with subprocess.Popen(command, env=clean, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert "waiting" in watching.stdout.readline() + watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, err = watching.communicate(timeout=30)
    assert watching.returncode == 130
    assert f"nas jobs watch {job.id} --url {client.url}" in err
    assert "Traceback" not in err
    assert job.state == "queued"
    job.delete(force=True)


def test_trials_are_paged_sorted_and_written_as_a_spreadsheet_reads_them(
    service: tuple[Client, Settings], nas: Nas, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tried(service)
    monkeypatch.setattr("cli.trials.PAGE", 2)
    for arguments, numbers, more in (
        (("--all",), [0, 1, 2], False),
        (("--limit", "2"), [0, 1], True),
        (("--limit", "3"), [0, 1, 2], False),
        (("--sort=-accuracy",), [1, 2, 0], False),
        (("--sort=-accuracy", "--limit", "1"), [1], True),
        (("--state", "pruned"), [], False),
    ):
        status, out, _ = nas("jobs", "trials", job, "--phase", "search", *arguments, "--json")
        assert (status, [row["number"] for row in json.loads(out)]) == (0, numbers)
        shown = nas("jobs", "trials", job, "--phase", "search", *arguments)
        assert ("there are more" in shown[2]) == more
    rows = list(csv.DictReader(io.StringIO(nas("jobs", "trials", job, "--phase", "search", "--csv")[1])))
    assert [float(row["accuracy"]) for row in rows] == [0.5, 0.9, 0.7]
    assert "90.00 %" in nas("jobs", "trial", job, "1")[1]
    assert json.loads(nas("jobs", "trial", job, "1", "--json")[1])["number"] == 1
    assert json.loads(nas("jobs", "trial", job, "1", "--logs", "--json")[1]) == {"items": [], "cut": False}
    assert nas("jobs", "trial", job, "77")[0] == 4
    assert json.loads(nas("jobs", "best", job, "--json")[1])["trial"] == 1
    assert "trial 1 of job" in nas("jobs", "best", job)[1]
    service[0].job(job).delete(force=True)


def test_a_trials_lines_are_printed_once_and_followed_to_its_end(
    service: tuple[Client, Settings], nas: Nas, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = {"at": "2026-01-31T10:00:00Z", "attempt": 1, "level": "INFO", "text": "first [bold]"}
    logs = [[line], [line, line | {"text": "second"}], [line, line | {"text": "second"}, line | {"text": "third"}]]
    states = ["running", "running", "complete"]
    monkeypatch.setattr("cli.trials.time.sleep", lambda _: None)
    monkeypatch.setattr("nas.client.Job.trial", lambda *_: {"state": states.pop(0)})
    monkeypatch.setattr("nas.client.Job.logs", lambda *_: {"items": logs.pop(0), "cut": False})
    job = service[0].search(dataset="digits", strategy="random").id
    out = nas("jobs", "trial", job, "0", "--logs", "--follow")[1]
    assert [row.split(maxsplit=3)[3] for row in out.splitlines()] == ["first [bold]", "second", "third"]
    service[0].job(job).delete(force=True)


def tried(service: tuple[Client, Settings]) -> str:
    """A job whose three trials have ended; its id."""
    client, settings = service
    for old in client.jobs():
        old.delete(force=True)
    budget = {"trials": 3, "epochs": 1}
    job = client.search(dataset="digits", strategy="random", pruning="none", budget=budget).id
    store = Store(settings.database_url)
    for number, accuracy in enumerate((0.5, 0.9, 0.7)):
        taken = reserve(store)
        assert taken is not None
        with store.write() as session:
            trials.set_candidate(session, taken, candidate(number), digest(number), trials.Costs(1000, 1))
        report(store, taken, 1, accuracy)
        with store.write() as session:
            trials.finish(session, taken, TrialState.COMPLETE)
    store.close()
    return job


def test_pictures_a_report_and_a_study_are_written_where_they_are_wanted(
    service: tuple[Client, Settings], nas: Nas, tmp_path: Path
) -> None:
    job = tried(service)
    picture, page, study = tmp_path / "p.png", tmp_path / "r.html", f"sqlite:///{tmp_path / 'study.db'}"
    assert nas("jobs", "figure", job, "pareto", "-o", str(picture))[:2] == (0, f"{picture}\n")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert nas("jobs", "figure", job, "pareto", "-o", "p.gif")[0] == 2
    assert nas("jobs", "figure", job, "pareto", "-o", str(tmp_path))[1] == f"{tmp_path / 'pareto.svg'}\n"
    assert json.loads(nas("jobs", "report", job, "-o", str(page), "--json")[1]) == {"path": str(page)}
    assert job in page.read_text()
    assert json.loads(nas("export", job, "--optuna", study, "--json")[1]) == {"job": job, "study": f"nas-{job}"}
    assert len(optuna.load_study(study_name=f"nas-{job}", storage=study).trials) == 3
    status, _, told = nas("export", job, "--optuna", study)
    assert status == 2
    assert told.startswith(f"nas: --study: 'nas-{job}' is not possible")
    assert "--replace" in told
    assert nas("export", job, "--optuna", study, "--replace")[0] == 0
    assert nas("export", job, "--optuna", study, "--study", "mine")[0] == 0
    service[0].job(job).delete(force=True)


def test_open_prints_the_page_that_it_opens(
    service: tuple[Client, Settings], nas: Nas, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    job = service[0].search(dataset="digits", strategy="random")
    assert nas("open", job.id)[:2] == (0, f"{job.url}\n")
    assert opened == [job.url]
    job.delete(force=True)
