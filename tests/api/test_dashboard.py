"""The one endpoint to poll."""

from datetime import UTC, datetime, timedelta

import pytest

from nas.store import trials, workers
from nas.store.states import Reason, TrialState
from nas.train.epoch import EpochResult
from tests.api.client import ApiClient
from tests.support import LEASE_S, age, candidate, claim_in, digest, finish, propose, report, run_trial, stored, take


def tag(api: ApiClient, job_id: str) -> str:
    return str(api.get(f"/v1/jobs/{job_id}/dashboard").headers["ETag"])


def poll(api: ApiClient, job_id: str, known: str) -> int:
    return api.get(f"/v1/jobs/{job_id}/dashboard", headers={"If-None-Match": known}).status_code


def test_a_new_job_shows_all_fields_without_a_worker(api: ApiClient) -> None:
    job_id = api.add_job(name="mine")
    answer = api.get(f"/v1/jobs/{job_id}/dashboard")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    shown = answer.json()
    created = shown["job"].pop("created_at")
    assert created.endswith("Z")
    assert shown == {
        "job": {
            "id": job_id,
            "owner": "local",
            "name": "mine",
            "priority": 0,
            "state": "queued",
            "phase": "search",
            "reason": None,
            "note": None,
            "started_at": None,
            "finished_at": None,
            "engine": "optuna",
            "strategy": "random",
            "dataset": "squares",
        },
        "metric": "accuracy",
        "objectives": [{"metric": "accuracy", "direction": "maximize"}],
        "progress": {
            "fraction": 0.0,
            "trials_finished": 0,
            "trials_planned": 24,
            "elapsed_s": 0.0,
            "eta_s": None,
        },
        "counts": {
            "queued": 0,
            "running": 0,
            "paused": 0,
            "complete": 0,
            "pruned": 0,
            "infeasible": 0,
            "failed": 0,
            "cancelled": 0,
        },
        "phases": {
            "screening": {"finished": 0, "planned": 0},
            "supernet": {"finished": 0, "planned": 0},
            "search": {"finished": 0, "planned": 24},
            "finalist": {"finished": 0, "planned": 3},
            "control": {"finished": 0, "planned": 9},
            "reference": {"finished": 0, "planned": 3},
            "report": {"finished": 0, "planned": 1},
            "retrain": {"finished": 0, "planned": 0},
        },
        "best": None,
        "incumbents": [],
        "pareto": None,
        "supernet": None,
        "running": [],
        "verdict": None,
        "waiting": {
            "reason": "no_worker",
            "text": "no worker is alive; start one with `nas worker`, or more with `nas serve --workers N`",
            "position": None,
            "eta_s": None,
        },
        "reasons": {},
        "cached": 0,
        "links": {
            "self": f"/v1/jobs/{job_id}",
            **{
                name: f"/v1/jobs/{job_id}/{name}"
                for name in ("dashboard", "trials", "best", "pareto", "model", "cancel")
            },
        },
    }


def test_a_job_at_work_shows_its_best_and_its_running_trials(api: ApiClient) -> None:
    job_id = api.add_job(budget={"trials": 10, "epochs": 3})
    with api.store.write() as session:
        workers.register(session, "ada", "cpu")
    best = run_trial(api.store, accuracy=0.6)
    running = take(api.store, "ada")
    propose(api.store, running, 50)
    report(api.store, running, 1, accuracy=0.4)
    shown = api.get(f"/v1/jobs/{job_id}/dashboard").json()
    assert shown["best"] == {
        "trial": 0,
        "accuracy": 0.6,
        "params": 1000 + best.trial_id,
        "macs": 5000 + best.trial_id,
        "genotype": candidate(best.trial_id).to_json()["genotype"],
        "candidate": candidate(best.trial_id).to_json(),
    }
    assert [(found["trial"], found["accuracy"]) for found in shown["incumbents"]] == [(0, 0.6)]
    assert shown["incumbents"][0]["at_s"] > 0
    assert shown["running"] == [
        {"trial": 1, "phase": "search", "worker": "ada", "epoch": 1, "epochs": 3, "accuracy": 0.4}
    ]
    assert shown["waiting"] is None
    assert 0 < shown["progress"]["fraction"] < 1
    assert shown["progress"]["eta_s"] > 0
    assert shown["progress"]["elapsed_s"] > 0


def test_a_job_of_two_objectives_shows_its_pareto_set(api: ApiClient) -> None:
    job_id = api.add_job(objectives=["latency_ms", "accuracy"], budget={"trials": 3, "epochs": 1})
    assert api.get(f"/v1/jobs/{job_id}/dashboard").json()["pareto"] == []
    for accuracy, latency_ms in ((0.6, 1.5), (0.9, 2.5), (0.8, 3.5)):
        taken = take(api.store)
        with api.store.write() as session:
            costs = trials.Costs(1, 1, latency_ms=latency_ms)
            trials.set_candidate(session, taken, candidate(taken.number), digest(taken.number), costs)
        report(api.store, taken, 1, accuracy)
        finish(api.store, taken)
    shown = api.get(f"/v1/jobs/{job_id}/dashboard").json()
    assert shown["objectives"] == [
        {"metric": "accuracy", "direction": "maximize"},
        {"metric": "latency_ms", "direction": "minimize"},
    ]
    assert shown["pareto"] == [
        {"trial": 1, "values": {"accuracy": 0.9, "latency_ms": 2.5}},
        {"trial": 0, "values": {"accuracy": 0.6, "latency_ms": 1.5}},
    ]
    assert shown["best"]["trial"] == 1


def test_a_one_shot_job_shows_its_supernet(api: ApiClient) -> None:
    job_id = api.add_job(strategy="darts", options={"epochs": 20})
    shown = api.get(f"/v1/jobs/{job_id}/dashboard").json()
    assert shown["job"]["phase"] == "supernet"
    assert shown["supernet"] == {"trial": 0, "state": "queued", "epoch": 0, "epochs": 20, "stopped": None, "curve": []}
    taken, genotype = take(api.store), candidate(0).to_json()["genotype"]
    result = EpochResult(1, 1.0, 1.0, 0.4, 0.1, 1.0, {"alpha_entropy": 1.9, "skip_share": 0.25}, genotype)
    with api.store.write() as session:
        trials.report(session, taken, result, stored("supernet"), LEASE_S)
    finish(api.store, taken, error="7 of 8 operations are skip connections")
    shown = api.get(f"/v1/jobs/{job_id}/dashboard").json()
    assert shown["supernet"] == {
        "trial": 0,
        "state": "complete",
        "epoch": 1,
        "epochs": 20,
        "stopped": "7 of 8 operations are skip connections",
        "curve": [{"epoch": 1, "accuracy": 0.4, "alpha_entropy": 1.9, "skip_share": 0.25, "genotype": genotype}],
    }
    assert shown["phases"]["supernet"] == {"finished": 1, "planned": 1}
    curve = api.get(f"/v1/jobs/{job_id}/trials/0").json()["curve"]
    assert curve[0]["metrics"] == {"alpha_entropy": 1.9, "skip_share": 0.25, "genotype": genotype}


def test_an_attempt_that_is_tried_again_has_not_stopped_the_supernet(api: ApiClient) -> None:
    job_id = api.add_job(strategy="gdas")
    with api.store.write() as session:
        taken = claim_in(session, "ada", LEASE_S)
        assert taken is not None
        assert trials.retry(session, taken, Reason.ERROR, "Traceback\nOSError: the disk is full")

    def stopped() -> object:
        return api.get(f"/v1/jobs/{job_id}/dashboard").json()["supernet"]["stopped"]

    assert stopped() is None
    finish(api.store, take(api.store), TrialState.FAILED, reason=Reason.ERROR, error="Traceback\nOSError: full again")
    assert stopped() == "OSError: full again"


def test_an_unchanged_dashboard_is_not_sent_again(api: ApiClient) -> None:
    job_id = api.add_job()
    run_trial(api.store)
    known = tag(api, job_id)
    answer = api.get(f"/v1/jobs/{job_id}/dashboard", headers={"If-None-Match": known})
    assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", known)
    assert answer.headers["Cache-Control"] == "no-cache"


def test_the_tag_may_stand_among_others(api: ApiClient) -> None:
    job_id = api.add_job()
    known = tag(api, job_id)
    assert [poll(api, job_id, sent) for sent in (f'"x", {known}', f'{known},W/"y"', "*")] == [304] * 3
    assert [poll(api, job_id, sent) for sent in ('"x"', "", known.strip('W/"'), f"{known}0")] == [200] * 4


def test_every_change_is_seen(api: ApiClient) -> None:
    job_id = api.add_job(budget={"trials": 10, "epochs": 3})
    tags = [tag(api, job_id)]

    def changed() -> None:
        assert poll(api, job_id, tags[-1]) == 200
        tags.append(tag(api, job_id))
        assert poll(api, job_id, tags[-1]) == 304

    taken = take(api.store)
    changed()
    propose(api.store, taken, 0)
    for number in (1, 2, 3):
        report(api.store, taken, number)
        changed()
    finish(api.store, taken)
    changed()
    with api.store.write() as session:
        workers.register(session, "ada", "cpu")
    changed()  # it waits for something else
    finish(api.store, take(api.store), TrialState.PRUNED, reason=Reason.RUNG)
    changed()
    api.post(f"/v1/jobs/{job_id}/cancel")
    changed()
    assert len(set(tags)) == len(tags)


@pytest.mark.parametrize("seconds", [None, 3600])
def test_time_alone_changes_no_tag(api: ApiClient, seconds: float | None) -> None:
    job_id = api.add_job(budget={"trials": 1000, "seconds": seconds})
    with api.store.write() as session:
        workers.register(session, "ada", "cpu")
    report(api.store, take(api.store), 1)
    known, before = tag(api, job_id), api.get(f"/v1/jobs/{job_id}/dashboard").json()["progress"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("nas.store.dashboard.now", later)
        patched.setattr("nas.store.workers.now", later)
        with api.store.write() as session:
            workers.seen(session, ["ada"])
        after = api.get(f"/v1/jobs/{job_id}/dashboard").json()["progress"]
        assert after["elapsed_s"] > before["elapsed_s"] + 1700
        assert poll(api, job_id, known) == 304


def later(session: object) -> datetime:
    """The time in half an hour."""
    return datetime.now(UTC) + timedelta(seconds=1800)


def test_two_jobs_have_two_tags(api: ApiClient) -> None:
    assert tag(api, api.add_job()) != tag(api, api.add_job())


def test_a_job_that_began_earlier_is_another_view(api: ApiClient) -> None:
    job_id = api.add_job()
    take(api.store)
    known = tag(api, job_id)
    age(api.store, job_id, 10)
    assert poll(api, job_id, known) == 200
