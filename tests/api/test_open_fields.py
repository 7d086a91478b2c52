"""Jobs that leave fields to the search, set limits, or start from something: what is stored, and what is refused."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel
from sqlalchemy import func, select

from nas.complete import complete
from nas.data.images import split_images
from nas.space import Candidate, CellSpace, JointSpace, LayerSpace, ResidualNet, known, to_text
from nas.space.cost import cost
from nas.space.known import KNOWN
from nas.space.limits import Limits
from nas.spec import JobSpec, RecipeSpec, SpaceSpec
from nas.store import datasets, jobs, phases, trials
from nas.store.phases import NewTrial
from nas.store.states import Phase
from nas.store.tables import Job
from tests.api.client import ApiClient, fault, problem
from tests.support import candidate, claim_in, digest, finish, report, run_trial, stored, take

IMAGE, CLASSES = (1, 8, 8), 2


@pytest.fixture
def no_job(shared_api: ApiClient) -> Iterator[ApiClient]:
    """The app, in which no job comes to be."""

    def count() -> int:
        with shared_api.store.read() as session:
            return session.scalar(select(func.count()).select_from(Job)) or 0

    before = count()
    yield shared_api
    assert count() == before


def spec_of(api: ApiClient, **body: Any) -> dict[str, Any]:
    spec: dict[str, Any] = api.get(f"/v1/jobs/{api.add_job(**body)}").json()["spec"]
    return spec


# --- what is stored


def test_open_fields_are_stored_beside_the_defaults_of_all_others(shared_api: ApiClient) -> None:
    plain = spec_of(shared_api)
    space = {"channels": {"low": 8, "high": 32}, "activation": {"choices": ["relu", "silu"]}, "drop_path": 0.1}
    recipe = {
        "optimizer": {"choices": ["nesterov", "adamw"]},
        "lr": {"low": 0.001, "high": 0.2, "log": True},
        "clip_norm": {"choices": [None, 1.0]},
        "flip": True,
    }
    spec = spec_of(shared_api, space=space, recipe=recipe)
    assert spec["space"] == plain["space"] | space | {"channels": {"low": 8, "high": 32, "log": False}}
    assert spec["recipe"] == plain["recipe"] | recipe
    assert {name: value for name, value in spec.items() if name not in ("space", "recipe")} == {
        name: value for name, value in plain.items() if name not in ("space", "recipe")
    }


def test_what_is_stored_is_the_space_that_the_search_goes_through(shared_api: ApiClient) -> None:
    job_id = shared_api.add_job(
        space={"ops": ["skip_connect"], "cells": {"choices": [2, 3]}}, recipe={"mixup": {"low": 0.0, "high": 0.5}}
    )
    with shared_api.store.read() as session:
        space = JobSpec.model_validate(jobs.get(session, job_id).spec).search_space()
    assert isinstance(space, JointSpace)
    assert [name for name, _ in space.parameters] == ["space.cells", "recipe.mixup"]
    assert isinstance(space.base, CellSpace)
    assert space.base.ops == ("skip_connect",)


def test_layers_are_searched_where_they_are_asked_for(shared_api: ApiClient) -> None:
    space = {"kind": "layers", "most": 5, "kernels": [1, 3], "norm": "group"}
    spec = spec_of(shared_api, space=space)
    assert spec["space"] == spec_of(shared_api)["space"] | space
    base = JobSpec.model_validate(spec).search_space()
    assert isinstance(base, LayerSpace)
    assert (base.most, base.kernels, base.shape.norm) == (5, (1, 3), "group")


def test_starts_are_stored_as_genotypes_whatever_they_were_given_as(shared_api: ApiClient) -> None:
    genotype = known("DARTS_V2")
    starts = ["DARTS_V2", to_text(genotype), genotype.to_json(), f"Mine = {KNOWN['NASNet']}"]
    assert spec_of(shared_api, start=starts)["start"] == [genotype.to_json()] * 3 + [known("NASNet").to_json()]


def test_whole_numbers_are_decimals_too(shared_api: ApiClient) -> None:
    recipe = {"lr": {"low": 1, "high": 2}, "dropout": 0}
    assert spec_of(shared_api, recipe={"lr": recipe["lr"]}, space={"dropout": 0})["recipe"]["lr"] == {
        "low": 1.0,
        "high": 2.0,
        "log": False,
    }


def test_limits_that_something_keeps_are_stored(shared_api: ApiClient) -> None:
    limits = {"max_params": 50_000, "max_latency_ms": 1e-9, "batch_size": 16}
    spec = spec_of(shared_api, limits=limits)
    assert spec["limits"] == {"max_macs": None, "max_memory_mb": None} | limits


# --- a start that the DARTS text cannot hold


def test_a_start_whose_nodes_have_other_than_two_edges_is_shown_without_a_text(api: ApiClient) -> None:
    cell = {"nodes": [[["skip_connect", 0]], [["skip_connect", 0], ["sep_conv_3x3", 1], ["skip_connect", 2]]]}
    genotype = {"normal": cell | {"concat": [2, 3]}, "reduce": cell | {"concat": [3]}}
    job_id = api.add_job(start=[genotype], space={"nodes": 2})
    taken = take(api.store)
    ours = Candidate(taken.spec.starts()[0])
    with api.store.write() as session:
        trials.set_candidate(session, taken, ours, "e" * 64, trials.Costs(1, 1))
    report(api.store, taken, 1)
    finish(api.store, taken)
    for url in (f"/v1/jobs/{job_id}/trials/0", f"/v1/jobs/{job_id}/best"):
        shown = api.get(url)
        assert shown.status_code == 200
        assert (shown.json()["darts"], shown.json()["candidate"]["genotype"]) == (None, genotype)


# --- what is refused

BROKEN: list[tuple[dict[str, Any], str, object, str]] = [
    ({"recipe": {"lr": {"low": 0.1, "high": 0.01}}}, "recipe.lr", "{'low': 0.1, 'high': 0.01}", "low has to be the"),
    ({"recipe": {"lr": {"low": 0.1, "high": 0.1}}}, "recipe.lr", "{'low': 0.1, 'high': 0.1}", "low has to be the"),
    ({"recipe": {"lr": {"low": 0, "high": 0.1}}}, "recipe.lr.low", 0, "above 0"),
    ({"recipe": {"lr": {"low": 0.1, "high": 101}}}, "recipe.lr.high", 101, "100 or less"),
    ({"recipe": {"lr": {"low": "a", "high": 1}}}, "recipe.lr.low", "a", "a number"),
    ({"recipe": {"lr": {"low": True, "high": 1}}}, "recipe.lr.low", True, "a number"),
    ({"recipe": {"lr": {"low": None, "high": 1}}}, "recipe.lr.low", None, "a number"),
    ({"recipe": {"lr": {"low": 0.1}}}, "recipe.lr.high", None, "this field is required"),
    ({"recipe": {"lr": {"high": 1, "log": True}}}, "recipe.lr.low", None, "this field is required"),
    ({"recipe": {"lr": {"low": 0.1, "high": 1, "log": 1}}}, "recipe.lr.log", 1, "true or false"),
    ({"recipe": {"lr": {"low": 0.1, "high": 1, "step": 2}}}, "recipe.lr.step", 2, "allowed: low, high, log"),
    ({"recipe": {"lr": {"choices": [1], "low": 2}}}, "recipe.lr.low", 2, "allowed: choices"),
    ({"recipe": {"lr": {}}}, "recipe.lr", "{}", 'it has to be a value, {"choices": [value, …]} or {"low": …, "high"'),
    ({"recipe": {"lr": [0.1]}}, "recipe.lr", "[0.1]", '{"choices": […]} lets the search choose'),
    ({"recipe": {"lr": "fast"}}, "recipe.lr", "fast", "a number"),
    ({"recipe": {"lr": {"choices": []}}}, "recipe.lr", "{'choices': []}", "there are 0 choices; name 1 to 100"),
    ({"recipe": {"lr": {"choices": [0.1, 0.1]}}}, "recipe.lr", "{'choices': [0.1, 0.1]}", "stands there twice"),
    ({"recipe": {"lr": {"choices": [0.1, "x"]}}}, "recipe.lr.choices.1", "x", "a number"),
    ({"recipe": {"lr": {"choices": 0.1}}}, "recipe.lr.choices", 0.1, "it has to be a list"),
    (
        {"recipe": {"l1": {"low": 0, "high": 1, "log": True}}},
        "recipe.l1",
        "{'low': 0, 'high': 1, 'log': True}",
        "above 0",
    ),
    ({"recipe": {"optimizer": "lion"}}, "recipe.optimizer", "lion", "'sgd', 'momentum', 'nesterov', 'adagrad'"),
    ({"recipe": {"optimizer": {"choices": ["adam", "lion"]}}}, "recipe.optimizer.choices.1", "lion", "'sgd', 'mom"),
    (
        {"recipe": {"optimizer": {"low": 1, "high": 2}}},
        "recipe.optimizer",
        "{'low': 1, 'high': 2}",
        'it has to be a value or {"choices": [value, …]}',
    ),
    ({"space": {"activation": {"low": 1}}}, "space.activation", "{'low': 1}", 'a value or {"choices": [value, …]}'),
    ({"recipe": {"flip": {"low": 0, "high": 1}}}, "recipe.flip", "{'low': 0, 'high': 1}", "a value or"),
    ({"recipe": {"learning_rate": 0.1}}, "recipe.learning_rate", 0.1, "allowed: batch_size, accumulate, optimizer, lr"),
    ({"recipe": {"epochs": 3}}, "recipe.epochs", 3, "there is no such field"),
    ({"recipe": {"milestones": [0.5, 0.2]}}, "recipe.milestones", "(0.5, 0.2)", "have to be ascending"),
    ({"recipe": {"milestones": {"choices": [[0.5]]}}}, "recipe.milestones", "{'choices': [[0.5]]}", "to be a list"),
    ({"recipe": {"loss": "mse"}}, "recipe.loss", "mse", "for single_label it can be default, cross_entropy"),
    ({"recipe": {"loss": {"choices": ["default", "bce"]}}}, "recipe.loss", "bce", "it can be default, cross_entropy"),
    ({"recipe": {"freeze": 2}}, "recipe.freeze", 2, "goes with transfer only; leave it out"),
    ({"recipe": {"kept_lr": 0.5}}, "recipe.kept_lr", 0.5, "goes with transfer only; leave it out"),
    ({"recipe": {"shift": 8}}, "recipe.shift", 8, "at most 7, or nothing is left of images of 8 px"),
    ({"recipe": {"shift": {"low": 0, "high": 9}}}, "recipe.shift", 8, "at most 7"),
    ({"limits": {"max_parameters": 1}}, "limits.max_parameters", 1, "allowed: max_params, max_macs, max_latency_ms"),
    ({"limits": {"max_params": 0}}, "limits.max_params", 0, "1 or more"),
    ({"limits": {"max_latency_ms": {"low": 1, "high": 2}}}, "limits.max_latency_ms", "{'low': 1, 'high': 2}", "number"),
    ({"start": ["DARTS_V9"]}, "start.0", "DARTS_V9", "there are DARTS_V1, DARTS_V2, NASNet"),
    ({"start": ["DARTS_V1", ""]}, "start.1", "", "there are DARTS_V1, DARTS_V2, NASNet"),
    (
        {"start": ["Genotype(normal=["]},
        "start.0",
        "Genotype(normal=[",
        "it has to read Genotype(normal=[('op', source)",
    ),
    ({"start": [{"normal": {}}]}, "start.0", "{'normal': {}}", '{"normal": cell, "reduce": cell}'),
    ({"start": [7]}, "start.0", 7, '{"normal": cell, "reduce": cell}'),
    ({"start": "DARTS_V2"}, "start", "DARTS_V2", "it has to be a list"),
    ({"start": ["DARTS_V2"] * 2, "budget": {"trials": 1}}, "start", "2 genotypes", "at most budget.trials, which is 1"),
    ({"start": ["DARTS_V2"], "space": {"kind": "layers"}}, "start", "1 genotype", "genotypes are pairs of cells"),
    ({"space": {"kind": "layers", "ops": ["skip_connect"]}}, "space.ops", "['skip_connect']", "nothing about layers"),
    ({"space": {"kind": "layers", "cells": {"low": 2, "high": 4}}}, "space.cells", None, "nothing about layers"),
    ({"space": {"fewest": 4}}, "space.fewest", 4, "it says nothing about cells; leave it out, or set space.kind"),
    ({"space": {"kind": "layers", "fewest": 9}}, "space.fewest", 9, "at most space.most, which is 8"),
    ({"space": {"kind": "layers", "kernels": [2]}}, "space.kernels.0", 2, "1, 3, 5 or 7"),
    ({"space": {"kind": "layers", "kernels": [3, 3]}}, "space.kernels", "[3, 3]", "each of them once"),
    ({"space": {"kind": "trees"}}, "space.kind", "trees", "'cells' or 'layers'"),
    ({"space": {"channels": {"low": 4.5, "high": 8}}}, "space.channels.low", 4.5, "whole number"),
    ({"space": {"channels": {"low": 0, "high": 8}}}, "space.channels.low", 0, "1 or more"),
    ({"space": {"nodes": {"low": 2, "high": 4}}}, "space.nodes", "{'low': 2, 'high': 4}", "whole number"),
    ({"tensorboard": "yes"}, "tensorboard", "yes", "true or false"),
    ({"transfer": "abc"}, "transfer", "abc", "it has to be a JSON object"),
    ({"transfer": {}}, "transfer.job", None, "this field is required"),
    ({"transfer": {"job": "nope"}}, "transfer.job", "nope", "there is no job 'nope'; GET /v1/jobs lists them"),
    ({"transfer": {"job": "nope", "weights": "a" * 64}}, "transfer.weights", "…", "the service fills it in; leave it"),
    ({"transfer": {"job": "nope", "candidate": {}}}, "transfer.candidate", "…", "the service fills it in; leave it"),
]


@pytest.mark.parametrize(("body", "field", "value", "mend"), BROKEN, ids=lambda part: json.dumps(part)[:60])
def test_what_cannot_be_names_the_field_the_value_and_the_mend(
    no_job: ApiClient, body: dict[str, Any], field: str, value: object, mend: str
) -> None:
    answer = no_job.ask({"dataset": "squares"} | body)
    said = fault(answer, field, mend)
    if value is not None:
        assert said["value"] == value
    assert len(problem(answer, 422)["errors"]) == 1  # one fault, one sentence
    quoted = answer.json()["detail"].removeprefix(f"{field}: ")
    assert not quoted.startswith(('"{', '"[', "'{", "'["))  # what was sent, not a text of it


def test_what_is_missing_is_not_quoted(no_job: ApiClient) -> None:
    assert problem(no_job.ask({"dataset": "squares", "transfer": {}}), 422)["detail"] == (
        "transfer.job: this field is required"
    )


@pytest.mark.parametrize(
    ("limit", "measure"), [("max_params", "parameters"), ("max_macs", "multiply-accumulates an image")]
)
def test_limits_that_nothing_keeps_are_answered_with_what_the_smallest_network_costs(
    api: ApiClient, limit: str, measure: str
) -> None:
    ops = {"ops": ["skip_connect", "max_pool_3x3", "sep_conv_3x3"], "nodes": 2}
    body: dict[str, Any] = {"dataset": "squares", "space": ops, "limits": {limit: 10}}
    said = fault(api.ask(body), f"limits.{limit}", measure, "allow that, or lower space.channels")
    assert said["value"] == 10
    [least] = [int(word.replace(",", "")) for word in said["mend"].split() if word.replace(",", "").isdigit()]
    body["limits"][limit] = least - 1
    fault(api.ask(body), f"limits.{limit}", f"{least:,} {measure}")
    body["limits"][limit] = least
    assert api.ask(body).status_code == 201
    # none of a hundred networks costs less
    space = complete({"dataset": "squares", "space": ops}, image=IMAGE, images=26, outputs=CLASSES).search_space()
    rng = np.random.default_rng(0)
    costs = [cost(space.sample(rng), image=IMAGE, outputs=CLASSES) for _ in range(100)]
    assert min(getattr(each, limit.removeprefix("max_")) for each in costs) >= least


def test_a_memory_that_not_even_the_weights_fit_into_is_refused(no_job: ApiClient) -> None:
    body = {"dataset": "squares", "limits": {"max_memory_mb": 0.001, "batch_size": 8}}
    fault(no_job.ask(body), "limits.max_memory_mb", "a batch of 8 alone", "or lower limits.batch_size")


def test_a_loss_has_to_suit_the_task(api: ApiClient) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
    labels = np.linspace(0, 1, 40, dtype=np.float32)[:, None]
    datasets.add(api.store, api.artifacts, "heights", split_images(images, labels, ("m",), seed=0, task="regression"))
    said = fault(
        api.ask({"dataset": "heights", "recipe": {"loss": "cross_entropy"}}),
        "recipe.loss",
        "for regression it can be default, mse, l1, huber",
    )
    assert said["value"] == "cross_entropy"
    assert api.ask({"dataset": "heights", "recipe": {"loss": {"choices": ["l1", "huber"]}}}).status_code == 201


# --- long lists, huge numbers

HUGE = 10**4000
FIELDS: dict[str, type[BaseModel]] = {"space": SpaceSpec, "recipe": RecipeSpec, "limits": Limits}


@pytest.mark.parametrize("part", FIELDS)
def test_huge_numbers_are_refused_or_stored_as_they_are(shared_api: ApiClient, part: str) -> None:
    for name in FIELDS[part].model_fields:
        for value in (HUGE, -HUGE, 1e308, 5e-324, 2**63):
            forms = (value, {"low": 1, "high": value}, {"low": value, "high": 1e308, "log": True}, {"choices": [value]})
            for form in forms:
                answer = shared_api.ask({"dataset": "squares", part: {name: form}})
                if answer.status_code == 201:
                    stored = shared_api.get(answer.headers["Location"]).json()["spec"]
                    assert JobSpec.model_validate(stored).model_dump(mode="json") == stored
                else:
                    assert problem(answer, 422)["errors"]


@pytest.mark.parametrize(
    ("body", "field", "mend"),
    [
        ({"space": {"activation": {"choices": ["relu"] * 20_000}}}, "space.activation", "name 1 to 100"),
        ({"recipe": {"lr": {"choices": [1 / n for n in range(1, 20_000)]}}}, "recipe.lr", "name 1 to 100"),
        ({"recipe": {"milestones": [n / 20_000 for n in range(1, 20_000)]}}, "recipe.milestones", "at most 100 items"),
        ({"space": {"kind": "layers", "kernels": [3] * 100_000}}, "space.kernels", "each of them once"),
        ({"space": {"kind": "layers", "layer_kinds": ["conv"] * 50_000}}, "space.layer_kinds", "each of them once"),
        ({"start": ["DARTS_V2"] * 101}, "start", "at most 100 items"),
        ({"start": [f"Genotype({'[' * 50_000}"]}, "start.0", "it has to read Genotype"),
        ({"start": [KNOWN["DARTS_V2"].replace("[2, 3, 4, 5]", "range(10**9)")]}, "start.0", "it has to read Genotype"),
    ],
)
def test_long_lists_are_refused_in_few_words(no_job: ApiClient, body: dict[str, Any], field: str, mend: str) -> None:
    answer = no_job.ask({"dataset": "squares"} | body)
    fault(answer, field, mend)
    assert len(answer.content) < 4000


# --- transfer


def succeed(api: ApiClient, shipped: Candidate | None = None) -> str:
    """A job that has succeeded with the candidate of its first trial, or another one; its id."""
    job_id = api.add_job(budget={"trials": 1, "epochs": 3})
    first = run_trial(api.store)
    with api.store.read() as session:
        seen = phases.standstill(session)
    assert seen is not None
    ours = shipped or candidate(first.trial_id)
    rows = [NewTrial(Phase.FINALIST, 1, ours, digest(first.trial_id)), NewTrial(Phase.REPORT, 0)]
    with api.store.write() as session:
        phases.go_on(session, seen, rows)
    finalist = take(api.store)
    finish(api.store, finalist, weights=stored("weights"))
    verdict = {"shipped": {"trial": finalist.number, "accuracy": 0.75}}
    with api.store.write() as session:
        claim = claim_in(session, "worker", 30.0)
        assert claim is not None
        phases.succeed(session, claim, verdict, stored("package"), digest(first.trial_id))
    return job_id


def test_a_transfer_is_stored_with_the_network_that_it_starts_from(api: ApiClient) -> None:
    source = succeed(api)
    spec = spec_of(api, transfer={"job": source}, recipe={"freeze": 1})
    with api.store.read() as session:
        model = jobs.model(session, source)
    assert spec["transfer"] == {"job": source, "candidate": model.candidate.to_json(), "weights": model.weights}
    assert model.weights == stored("weights").sha256
    assert spec["space"]["tail"] == {"low": -1, "high": 1, "log": False}
    assert spec["recipe"]["freeze"] == 1
    assert spec["recipe"]["kept_lr"] == {"low": 0.01, "high": 1.0, "log": True}
    assert spec["space"]["channels"] == model.candidate.shape.channels


@pytest.mark.parametrize(
    ("more", "field", "value", "mend"),
    [
        ({"space": {"channels": 4}}, "space.channels", 4, "only space.tail can be said"),
        ({"space": {"ops": ["skip_connect"]}}, "space.ops", "['skip_connect']", "only space.tail can be said"),
        ({"start": ["DARTS_V2"]}, "start", "1 genotype", "the source's network is taken over; leave it out"),
        ({"limits": {"max_params": 10}}, "limits.max_params", 10, "allow that, or lower space.tail"),
    ],
)
def test_what_does_not_go_with_a_transfer_is_refused(
    api: ApiClient, more: dict[str, Any], field: str, value: object, mend: str
) -> None:
    said = fault(api.ask({"dataset": "squares", "transfer": {"job": succeed(api)}} | more), field, mend)
    assert said["value"] == value


def test_a_transfer_from_a_job_that_has_not_succeeded_is_refused(api: ApiClient) -> None:
    job_id = api.add_job()
    body = {"dataset": "squares", "transfer": {"job": job_id}}
    said = fault(api.ask(body), "transfer.job", f"job {job_id} is queued; only the model of a job that has succeeded")
    assert said["value"] == job_id
    api.post(f"/v1/jobs/{job_id}/cancel")
    fault(api.ask(body), "transfer.job", f"job {job_id} is cancelled")


def test_a_transfer_from_the_hand_designed_network_is_refused(api: ApiClient) -> None:
    source = succeed(api, Candidate(ResidualNet(8, 1)))
    body = {"dataset": "squares", "transfer": {"job": source}}
    fault(api.ask(body), "transfer.job", "its model has to come from its search space")


# --- a data set that goes


def test_a_data_set_that_is_deleted_while_the_job_is_made_is_no_error_of_the_service(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deleted_then_completed(*args: Any, **kwargs: Any) -> JobSpec:
        datasets.delete(api.store, api.artifacts, "squares")
        return complete(*args, **kwargs)

    monkeypatch.setattr("api.asking.complete", deleted_then_completed)
    problem(api.ask({"dataset": "squares"}), 409, "the data set 'squares' was deleted meanwhile; add it and post")
    assert api.get("/v1/jobs").json()["items"] == []
