"""Pause, resume, cancel, extend, clone, change and delete a job, over the API."""

from typing import Any

import pytest
from sqlalchemy import select

from nas.store import files, trials
from nas.store.states import TrialState
from nas.store.tables import Job, Trial
from tests.api.client import ApiClient, fault, problem, succeed
from tests.support import epoch, propose, report, run_trial, states_of, take, trial_of


def state_of(api: ApiClient, job_id: str) -> str:
    return str(api.get(f"/v1/jobs/{job_id}").json()["state"])


def test_a_job_is_paused_and_resumed(api: ApiClient) -> None:
    job_id = api.add_job()
    taken = take(api.store)
    for _ in range(2):
        answer = api.post(f"/v1/jobs/{job_id}/pause")
        assert (answer.status_code, answer.json()["state"]) == (200, "paused")
    assert trial_of(api.store, taken.trial_id).state == TrialState.QUEUED
    shown = api.get(f"/v1/jobs/{job_id}/dashboard").json()
    assert (shown["job"]["state"], shown["progress"]["eta_s"]) == ("paused", None)
    for _ in range(2):
        answer = api.post(f"/v1/jobs/{job_id}/resume")
        assert (answer.status_code, answer.json()["state"]) == (200, "running")


@pytest.mark.parametrize("what", ["pause", "resume"])
def test_a_job_that_has_ended_is_not_paused(api: ApiClient, what: str) -> None:
    job_id = api.add_job()
    api.post(f"/v1/jobs/{job_id}/cancel")
    problem(api.post(f"/v1/jobs/{job_id}/{what}"), 409, f"job {job_id} is cancelled; it cannot become")
    problem(api.post(f"/v1/jobs/nope/{what}"), 404, "there is no job 'nope'")


def test_the_checkpoints_of_a_cancelled_job_are_deleted(api: ApiClient) -> None:
    job_id = api.add_job()
    taken = take(api.store)
    stored = api.artifacts.put(b"a checkpoint")
    with api.store.write() as session:
        trials.report(session, taken, epoch(1), stored, 30)
    assert api.post(f"/v1/jobs/{job_id}/cancel").json()["state"] == "cancelled"
    assert not api.artifacts.exists(stored.sha256)
    assert api.post(f"/v1/jobs/{job_id}/cancel").json()["state"] == "cancelled"


def test_an_ended_job_is_extended_and_its_model_stays(api: ApiClient) -> None:
    job_id = succeed(api, b"PK first")
    answer = api.post(f"/v1/jobs/{job_id}/extend", json={"trials": 3})
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert (shown["state"], shown["spec"]["budget"]["trials"], shown["finished_at"]) == ("running", 3, None)
    assert "verdict and model are the earlier ones" in shown["note"]
    assert api.get(f"/v1/jobs/{job_id}/model").content == b"PK first"
    assert shown["verdict"] is not None
    assert api.get(f"/v1/jobs/{job_id}/best").json()["verdict"] == shown["verdict"]
    assert take(api.store).index == 2


@pytest.mark.parametrize(
    ("body", "field", "mend"),
    [
        ({}, "body", "name what is to grow"),
        ({"trials": 1}, "trials", "at least 2, which the job has; a budget can only grow"),
        ({"trials": 2}, "trials", "the job has that already"),
        ({"trials": "9"}, "trials", "whole number"),
        ({"trials": 10**6}, "trials", "100,000 or less"),
        ({"seconds": 10}, "seconds", "leave it out: the job has no such limit"),
        ({"epochs": 9}, "epochs", "there is no such field; allowed: trials, total_epochs, seconds, target"),
    ],
)
def test_a_budget_that_does_not_grow_is_refused(api: ApiClient, body: dict[str, Any], field: str, mend: str) -> None:
    job_id = api.add_job(budget={"trials": 2})
    fault(api.post(f"/v1/jobs/{job_id}/extend", json=body), field, mend)


def test_a_clone_is_a_job_like_the_other_but_for_what_is_said(api: ApiClient) -> None:
    job_id = api.add_job(
        name="first", seed=3, budget={"trials": 5, "epochs": 2}, recipe={"lr": {"low": 0.1, "high": 1}}
    )
    spec = api.get(f"/v1/jobs/{job_id}").json()["spec"]
    answer = api.post(f"/v1/jobs/{job_id}/clone")
    assert answer.status_code == 201
    assert answer.json()["id"] != job_id
    copy = api.get(answer.headers["Location"]).json()
    assert copy["spec"] == spec | {"name": "copy of first"}
    changes = {"name": "other", "budget": {"trials": 9}, "recipe": {"lr": {"choices": [0.1, 0.2]}}, "strategy": "tpe"}
    other = api.get(api.post(f"/v1/jobs/{job_id}/clone", json=changes).headers["Location"]).json()["spec"]
    assert other["budget"] == spec["budget"] | {"trials": 9}
    assert other["recipe"] == spec["recipe"] | {"lr": {"choices": [0.1, 0.2]}}
    assert (other["name"], other["strategy"], other["seed"]) == ("other", "tpe", 3)


def test_a_clone_of_a_transfer_starts_from_the_same_network(api: ApiClient) -> None:
    source = transferable(api)
    first = api.ask({"dataset": "squares", "strategy": "random", "transfer": {"job": source}})
    assert first.status_code == 201, first.text
    spec = api.get(first.headers["Location"]).json()["spec"]
    assert api.request("DELETE", f"/v1/jobs/{source}").status_code == 204
    copy = api.post(f"{first.headers['Location']}/clone", json={"seed": 5})
    assert copy.status_code == 201, copy.text
    assert api.get(copy.headers["Location"]).json()["spec"] == spec | {"seed": 5}
    fault(
        api.post(f"{first.headers['Location']}/clone", json={"transfer": {"job": source + "x"}}),
        "transfer.job",
        "no job",
    )
    alone = api.post(f"{first.headers['Location']}/clone", json={"transfer": None})
    assert alone.status_code == 201, alone.text


def transferable(api: ApiClient) -> str:
    """A job whose winner has weights."""
    job_id = succeed(api)
    with api.store.write() as session:
        job = session.get_one(Job, job_id)
        trial = session.scalars(select(Trial).where(Trial.job_id == job_id, Trial.number == 0)).one()
        files.record(session, trial.id, "weights", api.artifacts.put(b"weights"))
        job.verdict = {"shipped": {"trial": 0, "accuracy": 0.75}, "text": ""}
    return job_id


@pytest.mark.parametrize(
    ("changes", "field", "mend"),
    [
        ({"budget": {"trials": 0}}, "budget.trials", "1 or more"),
        ({"budget": {"trails": 5}}, "budget.trails", "there is no such field; allowed: trials"),
        ({"nope": 5}, "nope", "there is no such field; allowed: dataset"),
        ({"space": 5}, "space", "object"),
        ({"dataset": "circles"}, "dataset", "there is no such data set"),
        ({"transfer": {"job": "x", "weights": "y"}}, "transfer.weights", "leave it out"),
        ({"final": {"finalists": 20}}, "final.finalists", "at most budget.trials"),
    ],
)
def test_a_clone_is_checked_as_a_job_is(api: ApiClient, changes: dict[str, Any], field: str, mend: str) -> None:
    job_id = api.add_job(budget={"trials": 2})
    fault(api.post(f"/v1/jobs/{job_id}/clone", json=changes), field, mend)


def test_a_clone_of_no_job_is_none(api: ApiClient) -> None:
    problem(api.post("/v1/jobs/nope/clone", json={}), 404)
    wrong: list[Any] = [[], "x", 5]
    for body in wrong:
        problem(api.post(f"/v1/jobs/{api.add_job()}/clone", json=body), 422)


def test_a_jobs_name_and_priority_are_changed(api: ApiClient) -> None:
    job_id = api.add_job(name="old")
    answer = api.request("PATCH", f"/v1/jobs/{job_id}", json={"name": "new", "priority": 5})
    assert answer.status_code == 200, answer.text
    shown = api.get(f"/v1/jobs/{job_id}").json()
    assert (shown["name"], shown["priority"], shown["owner"]) == ("new", 5, "local")
    assert (shown["spec"]["name"], shown["spec"]["priority"]) == ("new", 5)
    fault(api.request("PATCH", f"/v1/jobs/{job_id}", json={"priority": 101}), "priority", "100")
    fault(api.request("PATCH", f"/v1/jobs/{job_id}", json={"state": "x"}), "state", "allowed: name, priority")


def test_a_deleted_job_is_gone_with_the_files_that_nothing_else_needs(api: ApiClient) -> None:
    first, second = succeed(api, b"PK shared"), succeed(api, b"PK shared")
    sha256 = api.artifacts.put(b"PK shared").sha256
    assert api.request("DELETE", f"/v1/jobs/{first}").status_code == 204
    for path in ("", "/dashboard", "/trials", "/model", "/best"):
        problem(api.get(f"/v1/jobs/{first}{path}"), 404)
    problem(api.request("DELETE", f"/v1/jobs/{first}"), 404)
    assert api.get(f"/v1/jobs/{second}/model").content == b"PK shared"
    assert api.request("DELETE", f"/v1/jobs/{second}").status_code == 204
    assert not api.artifacts.exists(sha256)


def test_a_job_that_has_not_ended_is_deleted_by_force_only(api: ApiClient) -> None:
    job_id = api.add_job()
    problem(api.request("DELETE", f"/v1/jobs/{job_id}"), 409, "cancel it first", "?force=true")
    assert state_of(api, job_id) == "queued"
    assert api.request("DELETE", f"/v1/jobs/{job_id}?force=true").status_code == 204
    problem(api.get(f"/v1/jobs/{job_id}"), 404)


def test_an_extended_job_keeps_its_trials(api: ApiClient) -> None:
    job_id = api.add_job(budget={"trials": 1, "epochs": 3})
    taken = take(api.store)
    propose(api.store, taken, 0)
    report(api.store, taken, 1)
    assert api.post(f"/v1/jobs/{job_id}/extend", json={"trials": 2}).json()["state"] == "running"
    run_trial(api.store)
    assert states_of(api.store, job_id) == [TrialState.RUNNING, TrialState.COMPLETE]
