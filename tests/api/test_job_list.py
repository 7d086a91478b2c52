"""The list of jobs over HTTP: what stands in it, and how jobs are found."""

from typing import Any

import pytest
from sqlalchemy import update

from nas.store.tables import Job
from tests.api.client import ApiClient, fault, problem, succeed
from tests.support import report, run_trial, take

FIELDS = {
    "id",
    "name",
    "owner",
    "state",
    "priority",
    "dataset",
    "strategy",
    "engine",
    "best_accuracy",
    "created_at",
    "started_at",
    "finished_at",
    "links",
    "reason",
    "metric",
    "phase",
    "progress",
    "spark",
}


def listed(api: ApiClient, **asked: Any) -> list[dict[str, Any]]:
    answer = api.get("/v1/jobs", params=asked)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def test_a_job_in_the_list_says_how_far_it_is(api: ApiClient) -> None:
    done = succeed(api)
    job_id = api.add_job(budget={"trials": 4, "epochs": 3}, name="mine")
    run_trial(api.store, 0.5)
    run_trial(api.store, 0.7)
    report(api.store, take(api.store), 1)
    mine, other = listed(api)
    assert set(mine) == set(other) == FIELDS
    dashboard = api.get(f"/v1/jobs/{job_id}/dashboard").json()
    assert (mine["id"], mine["name"], mine["state"], mine["engine"]) == (job_id, "mine", "running", "optuna")
    assert mine["progress"] == pytest.approx(dashboard["progress"]["fraction"])
    assert 0 < mine["progress"] < 1
    assert (mine["phase"], mine["spark"], mine["best_accuracy"]) == ("search", [0.5, 0.7], 0.7)
    assert (other["id"], other["state"], other["progress"], other["phase"]) == (done, "succeeded", 1.0, "done")
    assert other["spark"] == [0.6, 0.8]


def test_a_long_reason_is_clipped_in_the_list_alone(api: ApiClient) -> None:
    job_id = api.add_job()
    with api.store.write() as session:
        session.execute(update(Job).values(reason="why " * 1000))
    [shown] = listed(api)
    assert shown["reason"].startswith("why why ")
    assert shown["reason"].endswith("…")
    assert len(shown["reason"]) == 500
    assert len(api.get(f"/v1/jobs/{job_id}").json()["reason"]) == 4000


def test_jobs_are_found_by_states_and_words_together(api: ApiClient) -> None:
    names = ("red apple", "green apple", "red car", "Ölbaum_1")
    ids = {name: api.add_job(name=name) for name in names}
    api.post(f"/v1/jobs/{ids['red apple']}/cancel")
    for asked, expected in (
        ({"q": "APPLE"}, ["green apple", "red apple"]),
        ({"q": "apple", "state": "cancelled"}, ["red apple"]),
        ({"state": ["cancelled", "queued"], "q": "red"}, ["red car", "red apple"]),
        ({"q": "ölbaum_"}, ["Ölbaum_1"]),
        ({"q": "%"}, []),
        ({"q": " car "}, ["red car"]),
        ({"q": "  "}, [*names][::-1]),
        ({"q": ids["red car"]}, ["red car"]),
        ({"state": "failed"}, []),
    ):
        assert [job["name"] for job in listed(api, **asked)] == expected, asked


def test_what_is_found_comes_page_by_page(api: ApiClient) -> None:
    for number in range(7):
        api.add_job(name=f"{'odd' if number % 2 else 'even'} {number}")
    found: list[str] = []
    cursor: str | None = None
    while True:
        asked = {"q": "even", "state": "queued", "limit": 2} | ({"cursor": cursor} if cursor else {})
        page = api.get("/v1/jobs", params=asked).json()
        found += [job["name"] for job in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == ["even 6", "even 4", "even 2", "even 0"]


def test_a_list_that_has_not_changed_need_not_be_sent_again(api: ApiClient) -> None:
    api.add_job()
    tag = api.get("/v1/jobs").headers["ETag"]
    assert api.get("/v1/jobs", headers={"If-None-Match": tag}).status_code == 304
    api.add_job()
    assert api.get("/v1/jobs", headers={"If-None-Match": tag}).status_code == 200


def test_a_state_that_there_is_not_is_named(api: ApiClient) -> None:
    fault(api.get("/v1/jobs?state=done"), "state.0", "queued")
    fault(api.get("/v1/jobs", params={"q": "x" * 201}), "q")


def test_ones_own_jobs_alone_are_found(api: ApiClient) -> None:
    ada, bob = api.of("ada"), api.of("bob")
    mine, other = ada.add_job(name="thing"), bob.add_job(name="thing")
    assert [job["id"] for job in listed(ada, q="thing")] == [mine]
    assert [job["id"] for job in listed(bob, state="queued")] == [other]


def test_behind_a_page_that_holds_all_there_is_none(api: ApiClient) -> None:
    for _ in range(3):
        api.add_job()
    answers = [api.get("/v1/jobs", params={"limit": limit}).json() for limit in (2, 3, 4)]
    assert [len(answer["items"]) for answer in answers] == [2, 3, 3]
    assert [answer["next_cursor"] for answer in answers] == [answers[0]["items"][1]["id"], None, None]


def test_a_job_whose_plugin_is_gone_hides_no_other_one(api: ApiClient) -> None:
    gone = api.add_job(budget={"trials": 4, "epochs": 3})
    run_trial(api.store, 0.5)
    report(api.store, take(api.store), 1)
    other = api.add_job()
    with api.store.write() as session:
        job = session.get_one(Job, gone)
        job.spec = job.spec | {"strategy": "mine"}
    mine, left = listed(api)
    assert (mine["id"], left["id"], left["state"], left["strategy"]) == (other, gone, "running", "mine")
    assert (left["best_accuracy"], left["spark"]) == (0.5, [0.5])
    assert api.get(f"/v1/jobs/{other}/dashboard").status_code == 200
    assert api.post("/v1/jobs/estimate", json={"dataset": "squares"}).status_code == 200
    detail = problem(api.get(f"/v1/jobs/{gone}/dashboard"), 503)["detail"]
    assert "strategy: 'mine'" in detail
    assert "NAS_PLUGINS" in detail
    assert api.get(f"/v1/jobs/{gone}").json()["spec"]["strategy"] == "mine"
    assert api.post(f"/v1/jobs/{gone}/cancel").status_code == 200
