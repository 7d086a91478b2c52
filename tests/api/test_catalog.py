"""What can be asked for."""

from typing import Any

import pytest

from nas.data.builtin import BUILTIN, Builtin
from nas.data.fetch import Published
from nas.data.published import IdxSet
from nas.search.catalog import STRATEGIES
from nas.space import Genotype, from_text, known
from nas.space.known import KNOWN
from nas.store import datasets
from tests.api.client import ApiClient, problem
from tests.support import random_images


def test_data_sets_are_listed_before_they_are_stored(api: ApiClient) -> None:
    answer = api.get("/v1/datasets")
    assert answer.status_code == 200
    items = {item["name"]: item for item in answer.json()["items"]}
    assert list(items) == sorted([*BUILTIN, "squares"])
    digits, squares = items["digits"], items["squares"]
    assert "1,797 grey images of 8×8 pixels in 10 classes" in digits["summary"]
    assert {name for name, value in digits.items() if value is not None} == {"name", "summary", "links"}
    assert squares["summary"] == "40 grey images of 8×8 pixels in 2 classes"
    assert (squares["image"], squares["classes"]) == ([1, 8, 8], ["even", "odd"])
    assert sum(squares["splits"].values()) == 40
    assert squares["digest"] == random_images(8).digest


def test_a_built_in_data_set_is_known_with_its_size_once_it_was_asked_for(api: ApiClient) -> None:
    api.add_job(dataset="digits")
    digits = next(item for item in api.get("/v1/datasets").json()["items"] if item["name"] == "digits")
    assert digits["image"] == [1, 8, 8]
    assert digits["splits"] == {"train": 1149, "validation": 288, "test": 360}
    assert digits["classes"] == list("0123456789")
    assert digits["summary"].startswith("scikit-learn's handwritten digits")


def test_a_data_set_that_is_listed_can_be_asked_for(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BUILTIN:
        monkeypatch.setitem(BUILTIN, name, Builtin("squares", lambda _: random_images(8)))  # the network is left alone
    datasets.add(api.store, api.artifacts, "circles", random_images(8, seed=1))
    for item in api.get("/v1/datasets").json()["items"]:
        assert api.ask({"dataset": item["name"]}).status_code == 201


def test_a_data_set_that_cannot_be_fetched_is_answered_with_where_to_put_its_files(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Published("train-images-idx3-ubyte.gz", "0" * 32, ("http://127.0.0.1:9/",))
    monkeypatch.setitem(BUILTIN, "mnist", Builtin("digits", IdxSet("mnist", (file,) * 4, tuple("0123456789")).read))
    problem(api.ask({"dataset": "mnist"}), 409, "could not be fetched", "folder mnist", "NAS_DATA")
    assert api.get("/v1/datasets/mnist").json()["images"] is None


SMALL: dict[str, Any] = {
    "space": {"ops": ["skip_connect", "sep_conv_3x3"], "nodes": 1},
    "recipe": {"lr": {"low": 0.01, "high": 0.1}, "momentum": {"low": 0.8, "high": 0.95}},
}
"""What may be searched by those that take not every space."""

SPACES: dict[str, dict[str, Any]] = {"grid": {"space": SMALL["space"]}, "cmaes": SMALL}


def test_a_strategy_that_is_listed_can_be_asked_for(api: ApiClient) -> None:
    items = api.get("/v1/strategies").json()["items"]
    assert [item["name"] for item in items] == list(STRATEGIES)
    assert [item["name"] for item in items if item["default"]] == ["auto"]
    for item in items:
        assert item["summary"]
        assert item["source"]
        body = {"dataset": "squares", "strategy": item["name"]} | SPACES.get(item["name"], {})
        assert api.ask(body).status_code == 201, item["name"]


def test_a_strategys_options_are_described_with_their_defaults_which_can_be_posted(api: ApiClient) -> None:
    items = {item["name"]: item for item in api.get("/v1/strategies").json()["items"]}
    population = items["evolution"]["options"]["properties"]["population"]
    assert (population["type"], population["minimum"], population["default"]) == ("integer", 2, 25)
    assert items["random"]["options"]["properties"] == {}
    assert {name: item["prepares"] for name, item in items.items() if item["prepares"] != "nothing"} == {
        "auto": "screening",
        **dict.fromkeys(("darts", "pc_darts", "gdas", "random_ws"), "supernet"),
    }
    for name, item in items.items():
        schema = item["options"]
        assert schema["additionalProperties"] is False
        assert all(field["description"] for field in schema["properties"].values())
        options = {field: of["default"] for field, of in schema["properties"].items()}
        body = {"dataset": "squares", "strategy": name, "options": options} | SPACES.get(name, {})
        spec = api.get(api.ask(body).headers["Location"]).json()["spec"]
        assert set(spec["options"]) == set(options)  # what was null is what suits the data
        said = {field: value for field, value in options.items() if value is not None}
        assert spec["options"] == spec["options"] | said


def test_the_operations_that_are_listed_can_be_asked_for(api: ApiClient) -> None:
    items = api.get("/v1/operations").json()["items"]
    names = [item["name"] for item in items]
    assert {"none", "skip_connect", "sep_conv_3x3", "max_pool_3x3"} <= set(names)
    assert all(item["summary"] for item in items)
    assert api.ask({"dataset": "squares", "space": {"ops": names}}).status_code == 201


def test_published_genotypes_are_listed_with_their_source_and_can_be_started_from(api: ApiClient) -> None:
    answer = api.get("/v1/genotypes")
    assert answer.status_code == 200
    items = {item["name"]: item for item in answer.json()["items"]}
    assert list(items) == list(KNOWN)
    for name, item in items.items():
        assert Genotype.from_json(item["genotype"]) == from_text(item["darts"]) == known(name)
        assert item["source"]
        assert "/" in item["file"]
    for form in ("name", "darts", "genotype"):
        body = {"dataset": "squares", "start": [item[form] for item in items.values()]}
        spec = api.get(api.ask(body).headers["Location"]).json()["spec"]
        assert spec["start"] == [item["genotype"] for item in items.values()]
