"""What a search has taught, over HTTP: its trials as Optuna knows them, importances, parallel coordinates."""

import json
from datetime import datetime
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import json_to_distribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState as Theirs
from optuna.trial import create_trial
from sqlalchemy import update

from api import studies as lessons
from nas.spec import JobSpec
from nas.store import studies, trials
from nas.store.states import TrialState
from nas.store.tables import Job, Trial
from tests.api.client import ApiClient, fault, problem
from tests.support import epoch, finish, stored, take

LR: dict[str, Any] = {"recipe": {"lr": {"low": 0.001, "high": 0.1, "log": True}}, "budget": {"trials": 60, "epochs": 3}}


def searched(api: ApiClient, count: int, states: tuple[TrialState, ...] = (TrialState.COMPLETE,), **more: Any) -> str:
    """A job with so many trials, whose accuracy follows from their learning rate, if that is open."""
    job_id = api.add_job(**more)
    spec = JobSpec.model_validate(api.get(f"/v1/jobs/{job_id}").json()["spec"])
    space, rng = spec.search_space(), np.random.default_rng(0)
    for index in range(count):
        taken, found = take(api.store), space.sample(rng)
        with api.store.write() as session:
            trials.set_candidate(session, taken, found, space.digest(found), trials.Costs(1000 + index, 5000))
        accuracy = 1 - abs(np.log(float(dict(found.recipe).get("lr") or 1)) - np.log(0.01)) / 9
        state = states[index % len(states)]
        for number in range(1, 4 if state == TrialState.COMPLETE else 2):
            with api.store.write() as session:
                shown = epoch(number, float(accuracy) - 0.1 * (3 - number))
                trials.report(session, taken, shown, stored(f"{taken.trial_id}.{number}"), 30.0)
        finish(api.store, taken, state)
    return job_id


def study_of(api: ApiClient, job_id: str, limit: int) -> optuna.Study:
    """The study that a client makes of all pages, knowing nothing of our spaces."""
    url, cursor = f"/v1/jobs/{job_id}/study", None
    study = None
    while True:
        page = api.get(url, params={"limit": limit} | ({"cursor": cursor} if cursor else {})).json()
        if study is None:
            study = optuna.create_study(directions=page["directions"])
        coded = {name: json_to_distribution(json.dumps(one)) for name, one in page["distributions"].items()}
        for item in page["items"]:
            trial = create_trial(
                state=Theirs[item["state"]],
                values=item["values"],
                params=item["params"],
                distributions={name: coded[name] for name in item["params"]},
                user_attrs=item["user_attrs"],
                intermediate_values={int(step): value for step, value in item["intermediate_values"].items()},
            )
            for name in ("datetime_start", "datetime_complete"):
                setattr(trial, name, item[name] and datetime.fromisoformat(item[name]))
            assert item["number"] == len(study.trials)
            study.add_trial(trial)
        cursor = page["next_cursor"]
        if cursor is None:
            return study


def test_its_pages_make_a_study_with_all_trials(api: ApiClient) -> None:
    job_id = searched(api, 12, (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED), **LR)
    study = study_of(api, job_id, 5)
    listed = api.get(f"/v1/jobs/{job_id}/trials").json()["items"]
    assert len(study.trials) == 12
    assert [trial.user_attrs["number"] for trial in study.trials] == [trial["number"] for trial in listed]
    assert [trial.value for trial in study.get_trials(states=(Theirs.COMPLETE,))] == [
        trial["accuracy"] for trial in listed if trial["state"] == "complete"
    ]
    assert [trial.state.name for trial in study.trials[:3]] == ["COMPLETE", "PRUNED", "FAIL"]
    best = api.get(f"/v1/jobs/{job_id}/best").json()
    assert study.best_trial.user_attrs["number"] == best["trial"]
    assert study.best_trial.params["recipe.lr"] == best["candidate"]["recipe"]["lr"]


def test_several_objectives_are_those_of_the_job_in_its_order(api: ApiClient) -> None:
    job_id = searched(api, 2, objectives=["params", "accuracy"])
    page = api.get(f"/v1/jobs/{job_id}/study").json()
    assert (page["directions"], page["metric_names"]) == (["minimize", "maximize"], ["params", "accuracy"])
    taken = pytest.approx(1 - np.log(100) / 9)
    assert [item["values"] for item in page["items"]] == [[1000, taken], [1001, taken]]


def test_importances_are_those_that_optuna_finds_in_the_same_study(api: ApiClient) -> None:
    job_id = searched(api, 30, **LR)
    shown = api.get(f"/v1/jobs/{job_id}/importances").json()
    evaluator = PedAnovaImportanceEvaluator(target_quantile=5 / 30)
    expected = get_param_importances(study_of(api, job_id, 500), evaluator=evaluator)
    assert {item["parameter"]: item["importance"] for item in shown["items"]} == pytest.approx(expected, rel=1e-6)
    assert (shown["metric"], shown["trials"], shown["note"]) == ("accuracy", 30, None)
    assert shown["items"][0]["name"] == "lr"
    assert {"normal 2←0", "normal 3: inputs"} < {item["name"] for item in shown["items"]}


def test_what_was_stopped_early_counts_by_its_score_carried_forward(api: ApiClient) -> None:
    """The later epochs bring 0.2 to each trial: those stopped after the first are no worse for that."""
    job_id = searched(api, 30, (TrialState.COMPLETE, TrialState.PRUNED), **LR)
    shown = api.get(f"/v1/jobs/{job_id}/importances").json()
    assert shown["trials"] == 30
    assert shown["items"][0]["parameter"] == "recipe.lr"


def test_too_few_trials_are_told_of(api: ApiClient) -> None:
    job_id = searched(api, 9, **LR)
    shown = api.get(f"/v1/jobs/{job_id}/importances").json()
    note = "it takes 10 trials with a score, and there are 9 so far"
    assert shown == {"metric": "accuracy", "trials": 9, "note": note, "items": []}
    lines = api.get(f"/v1/jobs/{job_id}/parallel").json()
    assert len(lines["items"]) == 9
    assert len(lines["dimensions"]) == 12
    assert {axis["importance"] for axis in lines["dimensions"]} == {None}
    nothing = api.get(f"/v1/jobs/{api.add_job()}/parallel").json()
    assert (nothing["items"], nothing["total"]) == ([], 0)


def test_parallel_coordinates_have_what_matters_first_and_the_best_trials(api: ApiClient) -> None:
    job_id = searched(api, 40, (TrialState.COMPLETE, TrialState.PRUNED), **LR)
    found = api.get(f"/v1/jobs/{job_id}/parallel?limit=8").json()
    shares = {one["parameter"]: one["importance"] for one in api.get(f"/v1/jobs/{job_id}/importances").json()["items"]}
    axes = found["dimensions"]
    assert [axis["importance"] for axis in axes] == sorted(shares.values(), reverse=True)[:12]
    assert axes[0] == {
        "name": "lr", "parameter": "recipe.lr", "kind": "number", "choices": None, "low": 0.001, "high": 0.1,
        "log": True, "importance": shares["recipe.lr"],
    }  # fmt: skip
    assert (found["total"], found["shown"], len(found["items"]), found["direction"]) == (40, 8, 8, "maximize")
    rows = {trial["number"]: trial for trial in api.get(f"/v1/jobs/{job_id}/trials").json()["items"]}
    assert max(rows, key=lambda number: rows[number]["accuracy"]) in [item["trial"] for item in found["items"]]
    study = {trial.user_attrs["number"]: trial for trial in study_of(api, job_id, 500).trials}
    for item in found["items"]:
        assert (item["score"], item["state"]) == (rows[item["trial"]]["accuracy"], rows[item["trial"]]["state"])
        assert item["values"] == [study[item["trial"]].params[axis["parameter"]] for axis in axes]
        for axis, value in zip(axes[1:], item["values"][1:], strict=True):
            assert value in axis["choices"]
    numbers = [item["trial"] for item in found["items"]]
    assert numbers == sorted(numbers)


def test_a_cost_is_shown_as_it_is_and_less_of_it_is_better(api: ApiClient) -> None:
    job_id = searched(api, 12, objectives=["params"])
    found = api.get(f"/v1/jobs/{job_id}/parallel?limit=4").json()
    assert (found["metric"], found["direction"]) == ("params", "minimize")
    assert (found["items"][0]["trial"], found["items"][0]["score"]) == (0, 1000)


def test_many_trials_are_sampled_and_it_says_so(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessons, "SAMPLE", 12)
    job_id = searched(api, 40, **LR)
    found = api.get(f"/v1/jobs/{job_id}/importances").json()
    assert found["trials"] == 10
    assert found["note"] == "from 10 of the 40 trials with a score, spread evenly"


def test_a_poll_that_finds_nothing_new_is_answered_from_what_is_kept(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = searched(api, 12, **LR)
    made, learn = [], lessons._learn

    def counted(*given: Any) -> lessons.Lesson:
        made.append(given)
        return learn(*given)

    monkeypatch.setattr(lessons, "_learn", counted)
    for name in ("importances", "parallel"):
        url = f"/v1/jobs/{job_id}/{name}"
        first = api.get(url)
        again = api.get(url, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert len(made) == 1
    taken = take(api.store)
    finish(api.store, taken, TrialState.FAILED)
    assert api.get(f"/v1/jobs/{job_id}/importances").json()["trials"] == 12
    assert len(made) == 2


def test_new_trials_are_learnt_from_and_kept_ones_are_not_read_again(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = searched(api, 12, **LR)
    asked: list[int] = []
    read = studies.candidates

    def counted(session: Any, of: str, spec: JobSpec, numbers: list[int]) -> Any:
        asked.extend(numbers)
        return read(session, of, spec, numbers)

    monkeypatch.setattr(studies, "candidates", counted)
    assert api.get(f"/v1/jobs/{job_id}/parallel").json()["shown"] == 12
    spec = JobSpec.model_validate(api.get(f"/v1/jobs/{job_id}").json()["spec"])
    taken, found = take(api.store), spec.search_space().sample(np.random.default_rng(99))
    with api.store.write() as session:
        trials.set_candidate(session, taken, found, "e" * 64, trials.Costs(1, 1))
    with api.store.write() as session:
        trials.report(session, taken, epoch(1, 0.5), stored("x"), 30.0)
    finish(api.store, taken)
    assert api.get(f"/v1/jobs/{job_id}/parallel").json()["shown"] == 13
    assert asked == list(range(13))


def test_a_database_that_was_restored_is_learnt_from_anew(api: ApiClient) -> None:
    job_id = searched(api, 12, **LR)
    url = f"/v1/jobs/{job_id}/importances"
    assert api.get(url).json()["trials"] == 12
    with api.store.write() as session:  # as it was before the last two trials
        session.execute(update(Trial).where(Trial.number >= 10).values(accuracy=None))
        session.get_one(Job, job_id).version -= 4
    assert api.get(url).json()["trials"] == 10


def test_jobs_that_are_not_there_or_not_ones_own_are_not_found(api: ApiClient) -> None:
    mine = api.of("ada").add_job()
    for name in ("study", "importances", "parallel"):
        problem(api.of("bob").get(f"/v1/jobs/{mine}/{name}"), 404)
        problem(api.of("bob").get(f"/v1/jobs/none/{name}"), 404)
    fault(api.of("ada").get(f"/v1/jobs/{mine}/study?cursor=x"), "cursor", "next_cursor")
