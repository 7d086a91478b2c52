"""What a search would cost, asked over HTTP before it is begun."""

from typing import Any

import pytest
from sqlalchemy import update

from nas.data.builtin import BUILTIN, Builtin
from nas.store import workers
from nas.store.tables import Dataset, Trial
from tests.api.client import ApiClient, fault, problem
from tests.support import everything, run_trial

URL = "/v1/jobs/estimate"
SQUARES = {"dataset": "squares", "strategy": "random", "pruning": "none", "budget": {"trials": 5, "epochs": 3}}


def asked(api: ApiClient, **changes: Any) -> dict[str, Any]:
    answer = api.post(URL, json=SQUARES | changes)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_it_says_how_large_and_how_long_and_writes_nothing(api: ApiClient) -> None:
    before = everything(api.store)
    found = asked(api)
    assert everything(api.store) == before
    assert (found["dataset"], found["strategy"], found["trials"]) == ("squares", "random", 5)
    assert found["space"]["text"] == "10^18"
    assert found["space"]["candidates"] == pytest.approx(1.0767e18, rel=1e-4)
    for cost in ("params", "macs"):
        ends = found["network"][cost]
        assert 0 < ends["smallest"] < ends["typical"] < ends["largest"]
    assert found["network"]["exact"]
    seconds = found["seconds"]
    assert 0 < seconds["low"] < seconds["expected"] < seconds["high"]
    assert (found["workers"], found["parallel"]) == (0, 1)
    assert "no worker is alive" in found["basis"]
    job = api.ask(SQUARES).json()["id"]
    final = api.get(f"/v1/jobs/{job}").json()["spec"]["final"]
    assert found["epochs"] == {"search": 15, "final": (final["controls"] + 2) * final["seeds"] * final["epochs"]}


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "no-such"},
        {"budget": {"trails": 3}},
        {"budget": {"trials": 0}},
        {"final": {"finalists": 9}},
        {"space": {"stem": "imagenet"}},
        {"limits": {"max_params": 3}},
        {"strategy": "cmaes"},
        {"strategy": "random", "options": {"startup": 3}},
        {"transfer": {"job": "none"}},
        {"transfer": {"job": "none", "weights": "x"}},
        {"recipe": {"loss": "mse"}},
        {"scheduler": "asha"},
    ],
)
def test_it_is_refused_as_the_job_would_be(shared_api: ApiClient, changes: dict[str, Any]) -> None:
    body = SQUARES | changes
    asked_, posted = shared_api.post(URL, json=body), shared_api.ask(body)
    assert posted.status_code == 422, posted.text
    ours, theirs = (problem(answer, 422) for answer in (asked_, posted))
    ours.pop("instance", None)
    theirs.pop("instance", None)
    assert ours == theirs
    checked = shared_api.post(f"{URL}?check=true", json=body)
    assert checked.status_code == 200, checked.text
    told = {"valid": False, "estimate": None, "detail": theirs["detail"], "errors": theirs["errors"]}
    assert checked.json() == told


def test_a_check_of_what_is_right_has_the_estimate(shared_api: ApiClient) -> None:
    before = everything(shared_api.store)
    found = shared_api.post(f"{URL}?check=true", json=SQUARES).json()
    assert found == {"valid": True, "estimate": asked(shared_api), "detail": None, "errors": []}
    assert everything(shared_api.store) == before


def test_a_check_that_quotes_what_is_no_text_can_be_read(shared_api: ApiClient) -> None:
    sent = {
        "content": rb'{"dataset": "\ud800", "space": {"cells": NaN}}',
        "headers": {"Content-Type": "application/json"},
    }
    found = shared_api.post(f"{URL}?check=true", **sent).json()
    assert not found["valid"]
    assert {error["field"] for error in found["errors"]} == {"dataset", "space.cells"}


def test_what_is_asked_wrongly_is_refused_though_a_check_was_asked_for(shared_api: ApiClient) -> None:
    fault(shared_api.post(f"{URL}?check=perhaps", json={"dataset": "squares"}), "check", "true or false")
    answer = shared_api.post(f"{URL}?check=true", content=b"{", headers={"Content-Type": "application/json"})
    problem(answer, 422)


def test_it_is_refused_as_any_other_body_is(shared_api: ApiClient) -> None:
    problem(shared_api.post(URL, content=b"{", headers={"Content-Type": "application/json"}), 422)
    problem(shared_api.post(URL), 422)
    fault(shared_api.post(URL, json={}), "dataset")


def test_it_rests_on_what_was_measured_here(api: ApiClient) -> None:
    assert asked(api)["basis"].startswith("a rule of thumb")
    api.add_job(budget={"trials": 5, "epochs": 3})
    for _ in range(3):
        run_trial(api.store)
    with api.store.write() as session:
        session.execute(update(Trial).values(device="cpu"))
        workers.register(session, "ada", "cpu")
        workers.register(session, "bob", "cuda:0")
    found = asked(api)
    assert found["basis"] == "measured: 9 epochs of squares on this service"
    assert found["workers"] == 2
    assert found["seconds"]["expected"] > 5 * 3 * 2.0 / 2  # two seconds an epoch are a lot for squares
    assert asked(api, budget={"trials": 5, "epochs": 3, "parallel": 1})["parallel"] == 1
    on_gpu = asked(api, device="gpu")
    assert (on_gpu["workers"], on_gpu["basis"].split(":")[0]) == (1, "a rule of thumb for a GPU")
    assert asked(api, dataset="digits")["basis"].startswith("measured: 9 epochs of other data sets on this service")
    assert asked(api, engine="ray", pruning="none")["workers"] == 0


def test_a_builtin_data_set_need_not_have_been_fetched(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: object) -> Any:
        raise AssertionError("it was read")

    for name in BUILTIN:
        monkeypatch.setitem(BUILTIN, name, Builtin("never read", never))
        before = everything(api.store)
        found = asked(api, dataset=name)
        assert found["dataset"] == name
        assert everything(api.store) == before


def test_the_numbers_of_a_data_set_that_is_not_yet_there_are_those_it_will_have(api: ApiClient) -> None:
    before = asked(api, dataset="digits")
    assert api.ask({"dataset": "digits"}).status_code == 201
    assert asked(api, dataset="digits") == before


def test_each_sees_the_data_sets_that_are_theirs(api: ApiClient) -> None:
    ada, bob = api.of("ada"), api.of("bob")
    with api.store.write() as session:
        session.execute(update(Dataset).where(Dataset.owner == "bob").values(name="circles"))
    assert bob.post(URL, json=SQUARES | {"dataset": "circles"}).status_code == 200
    fault(ada.post(URL, json=SQUARES | {"dataset": "circles"}), "dataset", "there is no such data set")
    problem(api.post(URL, json=SQUARES), 401)


def test_a_space_too_large_for_a_number_is_told_in_words(api: ApiClient) -> None:
    found = asked(
        api,
        space={"kind": "layers", "most": 64, "narrowest": 1, "widest": 1024, "kernels": [1, 3, 5, 7]},
        recipe={"lr": {"low": 0.01, "high": 0.1}},
    )
    assert found["space"]["candidates"] is None
    assert found["space"]["text"].startswith("10^3")
    assert found["space"]["text"].endswith(" × lr")
