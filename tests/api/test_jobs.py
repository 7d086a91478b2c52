"""Jobs over HTTP, from the request to the model, with the test in the place of the workers."""

import json
import re
from typing import Any

import pytest

from nas.search.options import AutoOptions
from nas.space import from_text
from nas.spec import AUTOMATIC
from nas.store import moves
from nas.store.tables import Job
from nas.train.recipe import Recipe
from tests.api.client import ApiClient, fault, problem, succeed
from tests.support import BACKENDS, candidate, run_trial, take

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
RECIPE = json.loads(
    json.dumps({name: value for name, value in RECIPE.items() if name not in ("epochs", "rungs")})
)  # tuples are lists
LIMITS = {
    "max_params": None,
    "max_macs": None,
    "max_latency_ms": None,
    "max_memory_mb": None,
    "batch_size": 1,
}
"""What a job on 8×8 images has where it says nothing."""

SEARCH: dict[str, Any] = {
    "strategy": "auto",
    "options": AutoOptions().model_dump(),
    "pruning": {"method": "halving", "eta": 3, "first": None},
    "objectives": [{"metric": "accuracy", "direction": "maximize"}],
    "screening": 1,
    "engine": "optuna",
    "resources": {"cpus": 1.0, "gpus": 0.0, "custom": {}},
    "scheduler": None,
}
LINKS = ("self", "dashboard", "trials", "best", "pareto", "model", "cancel")


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
        "device": "any",
        "priority": 0,
        "cache": True,
        **SEARCH,
        "budget": {
            "trials": 24,
            "epochs": 8,
            "total_epochs": None,
            "seconds": None,
            "target": None,
            "parallel": None,
        },
        "final": {"finalists": 1, "controls": 3, "epochs": 30, "seeds": 3, "devices": 1},
        "seed": 0,
    }


def test_what_was_asked_for_is_what_is_stored(api: ApiClient) -> None:
    body: dict[str, Any] = {
        "dataset": "squares",
        "name": "Ünïcode 🎉 name",
        "space": {"ops": ["none", "skip_connect"], "nodes": 8, "channels": 256, "cells": 1},
        "strategy": "evolution",
        "options": {"population": 50, "tournament": 5},
        "pruning": {"method": "hyperband", "eta": 4, "first": 2},
        "objectives": [
            {"metric": "latency_ms", "direction": "minimize"},
            {"metric": "accuracy", "direction": "maximize"},
        ],
        "screening": 10,
        "engine": "optuna",
        "resources": {"cpus": 1.0, "gpus": 0.0, "custom": {}},
        "scheduler": None,
        "budget": {
            "trials": 100_000,
            "epochs": 1000,
            "total_epochs": 10**8,
            "seconds": 0.5,
            "target": 0.99,
            "parallel": 10_000,
        },
        "final": {"finalists": 20, "controls": 20, "epochs": 2000, "seeds": 20, "devices": 1},
        "seed": 2**31 - 1,
    }
    job_id = api.add_job(**body)
    shown = api.get(f"/v1/jobs/{job_id}").json()
    filled = {"space": SPACE | body["space"], "recipe": RECIPE, "limits": LIMITS}
    usual: dict[str, Any] = {
        "start": [],
        "transfer": None,
        "tensorboard": False,
        "device": "any",
        "priority": 0,
        "cache": True,
    }
    assert shown["spec"] == body | filled | usual
    assert (shown["name"], shown["dataset"], shown["strategy"]) == ("Ünïcode 🎉 name", "squares", "evolution")


def test_names_stand_for_what_they_usually_mean(api: ApiClient) -> None:
    spec = api.get(f"/v1/jobs/{api.add_job(pruning='median', objectives=['accuracy', 'macs'])}").json()["spec"]
    assert spec["pruning"] == SEARCH["pruning"] | {"method": "median"}
    assert spec["objectives"] == [*SEARCH["objectives"], {"metric": "macs", "direction": "minimize"}]


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
    fault(api.get(f"{url}?limit={limit}"), "limit", "it has to be")


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
        ("GET", "/pareto"),
        ("GET", "/trials/0/model"),
        ("POST", "/trials/0/retrain"),
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
    for path in (
        "",
        "/dashboard",
        "/trials",
        "/trials/0",
        "/best",
        "/model",
        "/tensorboard",
        "/pareto",
        "/trials/0/model",
    ):
        fault(api.get(f"/v1/jobs/{job_id}{path}"), "job_id")
    for path in ("/cancel", "/trials/0/retrain"):
        fault(api.post(f"/v1/jobs/{job_id}{path}"), "job_id")


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
