"""The trials of a job over HTTP: listed, sorted, filtered, shown."""

import pytest
from sqlalchemy import update

from nas.space import from_text
from nas.store import cache, setbacks, trials
from nas.store.states import Reason, TrialState
from nas.store.tables import Trial
from nas.train.epoch import EpochResult
from tests.api.client import ApiClient, fault, problem
from tests.support import LEASE_S, candidate, digest, finish, hand_back, propose, report, run_trial, stored, take


def test_trials_are_listed_as_far_as_they_are(api: ApiClient) -> None:
    job_id = api.add_job(budget={"trials": 10, "epochs": 3})
    assert api.get(f"/v1/jobs/{job_id}/trials").json() == {"metric": "accuracy", "items": [], "next_cursor": None}
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
        "stage": 3,
        "rungs": [],
        "front": False,
        "params": 1005,
        "macs": 5005,
        "latency_ms": None,
        "memory_mb": None,
        "seed_index": 0,
        "attempt": 1,
        "worker": "ada",
        "cached": False,
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
        ("state=done", "state.0", "'queued', 'running', 'paused', 'complete'"),
        ("state=complete&state=", "state.1", "'queued', 'running', 'paused', 'complete'"),
        ("phase=finals", "phase.0", "'screening', 'supernet', 'search', 'finalist', 'control'"),
        ("cursor=garbage", "cursor", "take next_cursor from the page before, with the same sort"),
        ("cursor=%00", "cursor", "control characters"),
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


def test_a_trial_shows_what_it_costs_where_it_stood_and_that_nothing_beats_it(api: ApiClient) -> None:
    job_id = api.add_job(
        budget={"trials": 3, "epochs": 9},
        pruning={"method": "halving", "first": 3},
        objectives=["accuracy", "latency_ms"],
    )
    taken = take(api.store)
    with api.store.write() as session:
        trials.set_candidate(session, taken, candidate(0), digest(0), trials.Costs(1, 2, 3.5, 4.5))
    for number in (1, 2, 3):
        report(api.store, taken, number, accuracy=number / 10)
    with api.store.write() as session:
        trials.pause(session, taken)
    shown = api.get(f"/v1/jobs/{job_id}/trials/0").json()
    assert (shown["state"], shown["stage"], shown["rungs"], shown["front"]) == ("paused", 3, [[3, 0.3]], False)
    assert (shown["params"], shown["macs"], shown["latency_ms"], shown["memory_mb"]) == (1, 2, 3.5, 4.5)
    run_trial(api.store, accuracy=0.5, epochs=9)
    items = api.get(f"/v1/jobs/{job_id}/trials").json()["items"]
    assert [(item["rungs"], item["front"]) for item in items] == [([[3, 0.3]], False), ([[3, 0.5]], False)]


def test_a_failed_trial_is_shown_with_its_traceback(api: ApiClient) -> None:
    job_id = api.add_job()
    finish(api.store, take(api.store), TrialState.FAILED, reason=Reason.ERROR, error="Traceback\nValueError: é\n")
    shown = api.get(f"/v1/jobs/{job_id}/trials/0").json()
    assert (shown["state"], shown["reason"], shown["error"]) == ("failed", "error", "Traceback\nValueError: é\n")
    assert (shown["candidate"], shown["darts"], shown["curve"]) == (None, None, [])


def test_a_trial_is_shown_with_what_went_wrong_on_the_way(api: ApiClient) -> None:
    job_id = api.add_job()
    handed_back = take(api.store, "ada")
    hand_back(api.store, handed_back)
    for name in ("bob", "eve"):
        taken = take(api.store, name)
        with api.store.write() as session:
            setbacks.record(session, taken, Reason.OUT_OF_MEMORY, "CUDA out of memory")
    shown = api.get(f"/v1/jobs/{job_id}/trials/0").json()
    assert (shown["state"], shown["reason"], shown["attempt"]) == ("failed", "out_of_memory", 3)
    assert all(row.pop("at").endswith("Z") for row in shown["setbacks"])
    assert shown["setbacks"] == [
        {"attempt": 1, "reason": "preempted", "error": None, "worker": "ada", "again": True},
        {"attempt": 2, "reason": "out_of_memory", "error": "CUDA out of memory", "worker": "bob", "again": True},
        {"attempt": 3, "reason": "out_of_memory", "error": "CUDA out of memory", "worker": "eve", "again": False},
    ]


def test_a_trial_that_was_taken_over_says_where_from(api: ApiClient) -> None:
    job_id = api.add_job(budget={"trials": 2, "epochs": 1})
    run_trial(api.store, epochs=1)
    taken = take(api.store)
    propose(api.store, taken, 0)
    with api.store.write() as session:
        cache.note_key(session, taken, "k")
        session.execute(update(Trial).values(cache_key="k"))
    with api.store.read() as session:
        found = cache.find(session, taken, "k")
    assert found is not None
    with api.store.write() as session:
        cache.mark(session, taken, found)
    url = f"/v1/jobs/{job_id}/trials"
    assert [item["cached"] for item in api.get(url).json()["items"]] == [False, True]
    assert [api.get(f"{url}/{number}").json()["cached_from"] for number in (0, 1)] == [None, f"{job_id}/0"]
    assert api.get(f"{url}/0").json()["setbacks"] == []


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
    job_id = api.add_job()
    for path in ("", "/model"):
        fault(api.get(f"/v1/jobs/{job_id}/trials/{number}{path}"), "number", "whole number")
    fault(api.post(f"/v1/jobs/{job_id}/trials/{number}/retrain"), "number", "whole number")
