"""Jobs over HTTP, from the request to the model, with the test in the place of the workers."""

import io
import json
import re
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from nas.client import Client, ServiceError
from nas.settings import Settings
from nas.space import from_text
from nas.spec import AUTOMATIC
from nas.store import jobs, moves, trials
from nas.store.jobs import NewTrial
from nas.store.states import Phase, Reason, TrialState
from nas.store.tables import Job
from nas.store.trials import Claim
from nas.train.epoch import EpochResult
from nas.train.recipe import Recipe
from tests.api.client import ApiClient, fault, problem
from tests.support import BACKENDS, LEASE_S, candidate, digest, finish, propose, report, run_trial, stored, take

SPACE: dict[str, Any] = {
    "kind": "cells",
    "ops": [
        "max_pool_3x3",
        "avg_pool_3x3",
        "skip_connect",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "dil_conv_3x3",
        "dil_conv_5x5",
    ],
    "nodes": 4,
    "channels": 8,
    "cells": 4,
    "tail": 0,
    "skeleton": "stacked",
    "stem": "cifar",
    "merge": "sum",
    "activation": "relu",
    "norm": "batch",
    "downsample": "factorized",
    "dropout": 0.0,
    "drop_path": 0.0,
    "auxiliary": 0.0,
    "layer_kinds": ["conv", "separable", "dilated", "grouped", "conv_down", "max_pool", "avg_pool"],
    "fewest": 3,
    "most": 8,
    "narrowest": 16,
    "widest": 256,
    "kernels": [3, 5],
    "parallel": True,
}
RECIPE = {name: None if name in AUTOMATIC else field.default for name, field in Recipe.model_fields.items()}
RECIPE = json.loads(json.dumps({name: value for name, value in RECIPE.items() if name != "epochs"}))  # tuples are lists
LIMITS = {
    "max_params": None,
    "max_macs": None,
    "max_latency_ms": None,
    "max_memory_mb": None,
    "batch_size": 1,
}
"""What a job on 8×8 images has where it says nothing."""

LINKS = ("self", "dashboard", "trials", "best", "model", "cancel")


def succeed(api: ApiClient, package: bytes = b"PK zip") -> str:
    """A job that has run to its end; its id."""
    job_id = api.add_job(budget={"trials": 2, "epochs": 3})
    first = run_trial(api.store, accuracy=0.6)
    run_trial(api.store, accuracy=0.8)
    with api.store.read() as session:
        seen = jobs.standstill(session)
    assert seen is not None
    with api.store.write() as session:
        jobs.go_on(session, seen, [NewTrial(Phase.REPORT, 0)])
    final = take(api.store)
    verdict = {"shipped": {"accuracy": 0.75}, "text": "search beat random by 1.0 ± 0.5 points"}
    with api.store.write() as session:
        jobs.succeed(session, final, verdict, api.artifacts.put(package), digest(first.trial_id))
    return job_id


# --- asking for a job


def test_a_data_set_is_all_that_a_job_needs(api: ApiClient) -> None:
    answer = api.ask({"dataset": "digits"})
    assert answer.status_code == 201
    created = answer.json()
    assert set(created) == {"id", "state", "links"}
    assert re.fullmatch("[0-9a-f]{12}", created["id"])
    assert created["state"] == "queued"
    assert answer.headers["Location"] == created["links"]["self"] == f"/v1/jobs/{created['id']}"
    assert tuple(created["links"]) == LINKS
    spec = api.get(answer.headers["Location"]).json()["spec"]
    assert spec == {
        "dataset": "digits",
        "name": None,
        "space": SPACE,
        "recipe": RECIPE,
        "limits": LIMITS,
        "start": [],
        "transfer": None,
        "tensorboard": False,
        "strategy": "tpe",
        "engine": "optuna",
        "budget": {"trials": 24, "epochs": 8, "seconds": None, "parallel": None},
        "final": {"finalists": 1, "controls": 3, "epochs": 30, "seeds": 3},
        "seed": 0,
    }


def test_what_was_asked_for_is_what_is_stored(api: ApiClient) -> None:
    body: dict[str, Any] = {
        "dataset": "squares",
        "name": "Ünïcode 🎉 name",
        "space": {"ops": ["none", "skip_connect"], "nodes": 8, "channels": 256, "cells": 1},
        "strategy": "random",
        "engine": "optuna",
        "budget": {"trials": 100_000, "epochs": 1000, "seconds": 0.5, "parallel": 10_000},
        "final": {"finalists": 20, "controls": 20, "epochs": 2000, "seeds": 20},
        "seed": 2**31 - 1,
    }
    job_id = api.add_job(**body)
    shown = api.get(f"/v1/jobs/{job_id}").json()
    filled = {"space": SPACE | body["space"], "recipe": RECIPE, "limits": LIMITS}
    assert shown["spec"] == body | filled | {"start": [], "transfer": None, "tensorboard": False}
    assert (shown["name"], shown["dataset"], shown["strategy"]) == ("Ünïcode 🎉 name", "squares", "random")


def test_whole_numbers_are_seconds_too(api: ApiClient) -> None:
    job_id = api.add_job(budget={"seconds": 60})
    assert api.get(f"/v1/jobs/{job_id}").json()["spec"]["budget"]["seconds"] == 60


# --- looking at jobs


def test_a_new_job_has_nothing_to_show_yet(api: ApiClient) -> None:
    job_id = api.add_job(name="mine")
    shown = api.get(f"/v1/jobs/{job_id}").json()
    assert (shown["id"], shown["name"], shown["state"]) == (job_id, "mine", "queued")
    empty = ("best_accuracy", "started_at", "finished_at", "reason", "note", "verdict")
    assert [shown[name] for name in empty] == [None] * len(empty)
    assert shown["created_at"].endswith("Z")
    assert tuple(shown["links"]) == LINKS


def test_every_link_of_a_job_leads_somewhere(api: ApiClient) -> None:
    job_id = succeed(api)
    links = api.get(f"/v1/jobs/{job_id}").json()["links"]
    statuses = {name: api.get(links[name]).status_code for name in LINKS if name != "cancel"}
    assert statuses == dict.fromkeys(statuses, 200)
    assert api.post(links["cancel"]).status_code == 409


def test_jobs_are_listed_page_by_page_from_the_newest(api: ApiClient) -> None:
    assert api.get("/v1/jobs").json() == {"items": [], "next_cursor": None}
    ids = [api.add_job(name=f"job {index}") for index in range(5)]
    whole = api.get("/v1/jobs").json()
    assert [item["id"] for item in whole["items"]] == ids[::-1]
    assert whole["next_cursor"] is None
    first = api.get("/v1/jobs", params={"limit": 3}).json()
    assert [item["id"] for item in first["items"]] == ids[:1:-1]
    second = api.get("/v1/jobs", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    assert [item["id"] for item in second["items"]] == ids[1::-1]
    assert second["next_cursor"] is None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cursor", ["nope", "%00", "%FF", "a" * 501, ""])
def test_a_page_after_no_job_is_refused(api: ApiClient, cursor: str) -> None:
    api.add_job()
    fault(api.get(f"/v1/jobs?cursor={cursor}"), "cursor")


@pytest.mark.parametrize("limit", ["0", "-1", "501", "many", "1.5", "", "9" * 400])
@pytest.mark.parametrize("list_", ["/v1/jobs", "/v1/jobs/{job_id}/trials"])
def test_a_limit_that_is_none_is_refused(api: ApiClient, list_: str, limit: str) -> None:
    url = list_.format(job_id=api.add_job())
    fault(api.get(f"{url}?limit={limit}"), "limit", "Input should be")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/dashboard"),
        ("GET", "/trials"),
        ("GET", "/trials/0"),
        ("GET", "/best"),
        ("GET", "/model"),
        ("GET", "/tensorboard"),
        ("POST", "/cancel"),
    ],
)
def test_a_job_that_is_not_there_is_not_found(api: ApiClient, method: str, path: str) -> None:
    api.add_job()
    for job_id in ("nope", "0" * 12, "a%20b", "%F0%9F%8E%89"):
        problem(api.request(method, f"/v1/jobs/{job_id}{path}"), 404, "there is no job", "GET /v1/jobs lists them")


@pytest.mark.parametrize("backend", BACKENDS)  # only PostgreSQL fails at a NUL
@pytest.mark.parametrize("job_id", ["%00", "a%00b", "%0A", "%7F", "a" * 65])
def test_what_no_job_can_be_called_is_refused(api: ApiClient, job_id: str) -> None:
    for path in ("", "/dashboard", "/trials", "/trials/0", "/best", "/model", "/tensorboard"):
        fault(api.get(f"/v1/jobs/{job_id}{path}"), "job_id")
    fault(api.post(f"/v1/jobs/{job_id}/cancel"), "job_id")


# --- its trials


def test_trials_are_listed_as_far_as_they_are(api: ApiClient) -> None:
    job_id = api.add_job(budget={"trials": 10, "epochs": 3})
    assert api.get(f"/v1/jobs/{job_id}/trials").json() == {"items": [], "next_cursor": None}
    run_trial(api.store, accuracy=0.6)
    running = take(api.store, "ada")
    propose(api.store, running, 5)
    report(api.store, running, 1, accuracy=0.4)
    take(api.store)
    done, half, reserved = api.get(f"/v1/jobs/{job_id}/trials").json()["items"]
    assert (done["number"], done["state"], done["accuracy"], done["epoch"]) == (0, "complete", 0.6, 3)
    assert done["finished_at"].endswith("Z")
    expected = {
        "number": 1,
        "phase": "search",
        "state": "running",
        "reason": None,
        "accuracy": 0.4,
        "epoch": 1,
        "epochs": 3,
        "params": 1005,
        "macs": 5005,
        "latency_ms": None,
        "memory_mb": None,
        "seed_index": 0,
        "attempt": 1,
        "worker": "ada",
        "digest": digest(5),
        "finished_at": None,
    }
    assert half == half | expected
    assert set(half) == set(expected) | {"created_at", "started_at"}
    assert (reserved["number"], reserved["digest"], reserved["params"]) == (2, None, None)


def test_trials_are_sorted_filtered_and_paged(api: ApiClient) -> None:
    job_id = api.add_job(budget={"trials": 10, "epochs": 1})
    for accuracy in (0.2, 0.9, 0.5):
        run_trial(api.store, accuracy, epochs=1)
    failed = take(api.store)
    finish(api.store, failed, TrialState.FAILED, reason=Reason.ERROR, error="broken")
    url = f"/v1/jobs/{job_id}/trials"

    def numbers(query: str) -> list[int]:
        return [item["number"] for item in api.get(f"{url}?{query}").json()["items"]]

    assert numbers("sort=-accuracy") == [1, 2, 0, 3]
    assert numbers("sort=accuracy&state=complete") == [0, 2, 1]
    assert numbers("state=failed&state=complete&sort=-number") == [3, 2, 1, 0]
    assert numbers("phase=search&limit=1") == [0]
    assert numbers("phase=report&phase=control") == []
    first = api.get(f"{url}?sort=-accuracy&limit=3").json()
    second = api.get(url, params={"sort": "-accuracy", "limit": 3, "cursor": first["next_cursor"]}).json()
    assert [item["number"] for item in first["items"] + second["items"]] == [1, 2, 0, 3]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "field", "mend"),
    [
        ("sort=digest", "sort", "allowed: number, -number, accuracy"),
        ("sort=", "sort", "allowed: number, -number, accuracy"),
        ("sort=%00", "sort", "allowed: number, -number, accuracy"),
        ("state=done", "state.0", "'queued', 'running', 'complete'"),
        ("state=complete&state=", "state.1", "'queued', 'running', 'complete'"),
        ("phase=finals", "phase.0", "'search', 'finalist', 'control'"),
        ("cursor=garbage", "cursor", "take next_cursor from the page before, with the same sort"),
        ("cursor=%00", "cursor", "should match pattern"),
        ("cursor=%ED%A0%80", "cursor", "take next_cursor from the page before, with the same sort"),
        ("cursor=", "cursor", "take next_cursor from the page before, with the same sort"),
        (f"cursor={'a' * 501}", "cursor", "at most 500 characters"),
    ],
)
def test_a_query_for_trials_that_makes_no_sense_is_refused(api: ApiClient, query: str, field: str, mend: str) -> None:
    fault(api.get(f"/v1/jobs/{api.add_job()}/trials?{query}"), field, mend)


def test_a_cursor_of_another_order_is_refused(api: ApiClient) -> None:
    job_id = api.add_job()
    for _ in range(3):
        take(api.store)
    cursor = api.get(f"/v1/jobs/{job_id}/trials?limit=1").json()["next_cursor"]
    fault(api.get(f"/v1/jobs/{job_id}/trials", params={"cursor": cursor, "sort": "-number"}), "cursor", "same sort")


def test_a_trial_is_shown_with_its_curve_and_its_genotype(api: ApiClient) -> None:
    job_id = api.add_job(budget={"trials": 10, "epochs": 3})
    taken = take(api.store)
    propose(api.store, taken, 5)
    for number in (1, 2):
        report(api.store, taken, number, accuracy=number / 10)
    shown = api.get(f"/v1/jobs/{job_id}/trials/0").json()
    assert [row["epoch"] for row in shown["curve"]] == [1, 2]
    assert shown["curve"][1] == {
        "epoch": 2,
        "train_loss": 0.5,
        "validation_loss": 0.75,
        "validation_accuracy": 0.2,
        "lr": 0.1,
        "seconds": 2.0,
        "metrics": {},
    }
    assert shown["candidate"] == candidate(5).to_json()
    assert from_text(shown["darts"]) == candidate(5).architecture
    assert shown["error"] is None


def test_a_failed_trial_is_shown_with_its_traceback(api: ApiClient) -> None:
    job_id = api.add_job()
    finish(api.store, take(api.store), TrialState.FAILED, reason=Reason.ERROR, error="Traceback\nValueError: é\n")
    shown = api.get(f"/v1/jobs/{job_id}/trials/0").json()
    assert (shown["state"], shown["reason"], shown["error"]) == ("failed", "error", "Traceback\nValueError: é\n")
    assert (shown["candidate"], shown["darts"], shown["curve"]) == (None, None, [])


def test_a_loss_that_is_not_finite_is_shown_as_null(api: ApiClient) -> None:
    job_id = api.add_job()
    taken = take(api.store)
    result = EpochResult(1, 1.0, float("inf"), 0.1, 0.1, 1.0)
    with api.store.write() as session:
        trials.report(session, taken, result, stored("checkpoint"), LEASE_S)
    answer = api.get(f"/v1/jobs/{job_id}/trials/0")
    assert answer.status_code == 200
    assert answer.json()["curve"][0]["validation_loss"] is None


@pytest.mark.parametrize(("number", "status"), [("1", 404), ("2147483647", 404), ("2147483648", 422), ("-1", 422)])
def test_a_trial_that_is_not_there_is_not_found(api: ApiClient, number: str, status: int) -> None:
    job_id = api.add_job()
    take(api.store)
    problem(api.get(f"/v1/jobs/{job_id}/trials/{number}"), status, "number" if status == 422 else "has no trial")


@pytest.mark.parametrize("number", ["first", "1.5", "9" * 5000, "%00"])
def test_a_number_that_is_none_is_refused(api: ApiClient, number: str) -> None:
    fault(api.get(f"/v1/jobs/{api.add_job()}/trials/{number}"), "number", "integer")


# --- the best network and the model


def test_the_best_network_is_the_incumbent_as_long_as_the_search_goes_on(api: ApiClient) -> None:
    job_id = api.add_job(budget={"trials": 10, "epochs": 3})
    run_trial(api.store, accuracy=0.6)
    best = run_trial(api.store, accuracy=0.8)
    shown = api.get(f"/v1/jobs/{job_id}/best").json()
    assert (shown["trial"], shown["accuracy"], shown["test_accuracy"], shown["verdict"]) == (1, 0.8, None, None)
    assert (shown["params"], shown["macs"]) == (1000 + best.trial_id, 5000 + best.trial_id)
    assert shown["candidate"] == candidate(best.trial_id).to_json()
    assert shown["genotype"] == shown["candidate"]["genotype"]
    assert from_text(shown["darts"]) == candidate(best.trial_id).architecture


def test_the_best_network_is_the_winner_in_the_end(api: ApiClient) -> None:
    job_id = succeed(api)
    shown = api.get(f"/v1/jobs/{job_id}/best").json()
    assert (shown["trial"], shown["test_accuracy"]) == (0, 0.75)
    assert shown["verdict"]["text"] == "search beat random by 1.0 ± 0.5 points"


@pytest.mark.parametrize("what", ["best", "model"])
def test_what_is_not_there_yet_says_what_it_waits_for(api: ApiClient, what: str) -> None:
    job_id = api.add_job()
    url = f"/v1/jobs/{job_id}/{what}"
    problem(api.get(url), 409, f"job {job_id} has no", "it is queued", "poll the dashboard")
    take(api.store)
    problem(api.get(url), 409, "it is running", "poll the dashboard")
    api.post(f"/v1/jobs/{job_id}/cancel")
    problem(api.get(url), 409, "it is cancelled, and will have none: cancelled by the user")


def test_what_a_failed_job_does_not_have_says_why_it_failed(api: ApiClient) -> None:
    job_id = api.add_job()
    with api.store.write() as session:
        moves.fail(session, session.get_one(Job, job_id), "the disk is full")
    for what in ("best", "model"):
        problem(api.get(f"/v1/jobs/{job_id}/{what}"), 409, "it is failed, and will have none: the disk is full")


def test_the_model_is_the_package_that_was_stored(api: ApiClient) -> None:
    job_id = succeed(api, b"PK the package")
    answer = api.get(f"/v1/jobs/{job_id}/model")
    assert (answer.status_code, answer.content) == (200, b"PK the package")
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="model-{job_id}.zip"'
    again = api.get(f"/v1/jobs/{job_id}/model", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == answer.headers["ETag"]


# --- TensorBoard logs


def log_of(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def attach(api: ApiClient, claim: Claim, kind: str, content: bytes) -> None:
    with api.store.write() as session:
        trials.attach(session, claim, kind, api.artifacts.put(content))


def test_the_logs_are_a_zip_of_one_folder_a_trial(api: ApiClient) -> None:
    job_id = api.add_job(tensorboard=True, budget={"trials": 3, "epochs": 3})
    other = run_trial(api.store)
    first, second = take(api.store), take(api.store)
    attach(api, second, "tensorboard-0001", b"second")
    attach(api, first, "tensorboard-0010", b"st")
    attach(api, first, "tensorboard-0002", b"r")
    attach(api, first, "tensorboard-0001", b"fi")
    attach(api, first, "weights", b"something else")
    answer = api.get(f"/v1/jobs/{job_id}/tensorboard")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="logs-{job_id}.zip"'
    logs = log_of(answer.content)
    assert list(logs.values()) == [b"first", b"second"]  # by number; none of the first trial, which wrote none
    assert other.number == 0
    assert [name.split("/")[0] for name in logs] == ["00001-search", "00002-search"]
    for name in logs:
        assert re.fullmatch(r"[^/]+/events\.out\.tfevents\.\d+\.nas", name)


def test_logs_that_are_not_there_say_why(api: ApiClient) -> None:
    without, asked = api.add_job(), api.add_job(tensorboard=True)
    url = "/v1/jobs/{}/tensorboard"
    problem(api.get(url.format(without)), 409, f"job {without} has no TensorBoard logs", "without tensorboard: true")
    problem(api.get(url.format(asked)), 409, f"job {asked} has no TensorBoard logs", "its trials write them")


def test_a_log_whose_file_is_lost_leaves_no_temporary_file_behind(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job_id = api.add_job(tensorboard=True)
    taken = take(api.store)
    with api.store.write() as session:
        trials.attach(session, taken, "tensorboard", stored("lost"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert api.get(f"/v1/jobs/{job_id}/tensorboard").status_code == 500  # as with a model whose file is lost
    assert not list(tmp_path.glob("nas-logs-*"))


# --- cancelling


def test_a_job_can_be_cancelled_and_cancelled_again(api: ApiClient) -> None:
    job_id = api.add_job()
    take(api.store)
    first = api.post(f"/v1/jobs/{job_id}/cancel")
    assert first.status_code == 200
    assert (first.json()["state"], first.json()["reason"]) == ("cancelled", "cancelled by the user")
    second = api.post(f"/v1/jobs/{job_id}/cancel")
    assert (second.status_code, second.json()) == (200, first.json())
    assert api.get(f"/v1/jobs/{job_id}/trials").json()["items"][0]["state"] == "cancelled"


def test_a_job_that_has_succeeded_cannot_be_cancelled(api: ApiClient) -> None:
    job_id = succeed(api)
    problem(api.post(f"/v1/jobs/{job_id}/cancel"), 409, f"job {job_id} is succeeded; it cannot become cancelled")


# --- the Python client


@pytest.fixture
def client(api: ApiClient, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Client:
    """nas.client.Client, with the network replaced by the app."""
    client = Client("http://test")

    def request(method: str, url: str, **options: Any) -> Any:
        return api.request(method, url, **options)

    monkeypatch.setattr(client._http, "request", request)
    return client


def test_the_client_does_all_that_the_api_can(api: ApiClient, client: Client, tmp_path: Path) -> None:
    job_id = client.search({"dataset": "squares"})
    assert client.show(job_id)["state"] == "queued"
    assert client.dashboard(job_id)["job"]["id"] == job_id
    assert client.cancel(job_id) == "cancelled"
    assert client.dashboard(job_id)["job"]["state"] == "cancelled"
    assert client.dashboard(job_id) is client.dashboard(job_id)  # not sent again
    done = succeed(api, b"PK the package")
    assert client.best(done)["trial"] == 0
    assert client.download(done, tmp_path / "new" / "model.zip").read_bytes() == b"PK the package"
    logged = client.search({"dataset": "squares", "tensorboard": True})
    with pytest.raises(ServiceError, match="its trials write them"):
        client.download_logs(logged, tmp_path / "logs.zip")
    attach(api, take(api.store), "tensorboard", b"events")
    path = client.download_logs(logged, tmp_path / "logs" / "logs.zip")
    assert list(log_of(path.read_bytes()).values()) == [b"events"]
    for _ in range(59):
        api.add_job()
    assert len({job["id"] for job in client.jobs()}) == 62  # two pages


def test_the_client_raises_the_services_own_words(client: Client) -> None:
    with pytest.raises(ServiceError, match="dataset: 'nope' is not possible: there is no such data set") as caught:
        client.search({"dataset": "nope"})
    assert caught.value.status == 422
    with pytest.raises(ServiceError, match="there is no job 'nope'") as caught:
        client.show("nope")
    assert caught.value.status == 404
