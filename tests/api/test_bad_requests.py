"""Requests for a job that cannot be: always 4xx, never 5xx, and the answer says what is wrong and what is allowed."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import func, select

from nas.store import datasets
from nas.store.tables import Job
from tests.api.client import ApiClient, fault, problem
from tests.support import random_images

HUGE = 10**4000


@pytest.fixture(scope="module")
def api(shared_api: ApiClient) -> Iterator[ApiClient]:
    """One for all tests: no request of this module makes a job."""
    yield shared_api
    with shared_api.store.read() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 0


def nested(path: str, value: object) -> dict[str, Any]:
    """A body that is right but for this value at this dotted path."""
    *parents, last = path.split(".")
    body: dict[str, Any] = {"dataset": "squares"}
    inner = body
    for name in parents:
        inner = inner.setdefault(name, {})
    inner[last] = value
    return body


# --- fields that are not there

FIELDS = {
    "": "dataset, name, space, recipe, limits, start, transfer, strategy, options, pruning, objectives, screening, "
    "engine, resources, scheduler, budget, final, tensorboard, seed",
    "space.": "channels, cells, tail, skeleton, stem, merge, activation, norm, downsample, dropout, drop_path, "
    "auxiliary, kind, ops, nodes, layer_kinds, fewest, most, narrowest, widest, kernels, parallel",
    "recipe.": "batch_size, accumulate, optimizer, lr, momentum, ",
    "limits.": "max_params, max_macs, max_latency_ms, max_memory_mb, batch_size",
    "transfer.": "job, candidate, weights",
    "pruning.": "method, eta, first",
    "budget.": "trials, epochs, total_epochs, seconds, target, parallel",
    "final.": "finalists, controls, epochs, seeds, devices",
    "resources.": "cpus, gpus, custom",
    "scheduler.": "method, eta, first, every, quantile, resample",
    "recipe.lr.": "low, high, log",
}

BESIDE = {"transfer.": {"job": "nope"}, "recipe.lr.": {"low": 0.1, "high": 0.2}}
"""What has to stand beside a field for the object to be read at all."""


@pytest.mark.parametrize("place", FIELDS)
@pytest.mark.parametrize("name", ["epoch", "body", "query", "path", "header", "Space", "", "0", "🎉", "range:", "a:"])
def test_a_field_that_is_not_there_is_answered_with_those_that_are(api: ApiClient, place: str, name: str) -> None:
    body = nested(f"{place}{name}", 7)
    for path, beside in BESIDE.items():
        if path == place:
            *parents, last = place.removesuffix(".").split(".")
            inner = body[parents[0]] if parents else body
            inner[last] |= beside
    said = fault(api.ask(body), f"{place}{name}" or "body", f"there is no such field; allowed: {FIELDS[place]}")
    assert said["value"] == 7


def test_the_data_set_is_required(api: ApiClient) -> None:
    fault(api.ask({}), "dataset", "this field is required")
    fault(api.ask({"name": "mine"}), "dataset", "this field is required")


def test_every_fault_is_named_at_once(api: ApiClient) -> None:
    body = {"dataset": 1, "seed": -1, "space": {"nodes": 0, "cell": 4}, "budget": {"trials": "24"}}
    errors = problem(api.ask(body), 422)["errors"]
    assert {error["field"] for error in errors} == {"dataset", "seed", "space.nodes", "space.cell", "budget.trials"}


# --- values of another type

INTEGERS = {
    "space.nodes": (1, 8),
    "space.channels": (1, 256),
    "space.cells": (1, 40),
    "budget.trials": (1, 100_000),
    "budget.epochs": (1, 1000),
    "budget.total_epochs": (1, 10**8),
    "budget.parallel": (1, 10_000),
    "pruning.eta": (2, 100),
    "pruning.first": (1, 1000),
    "screening": (1, 1000),
    "final.finalists": (1, 20),
    "final.controls": (1, 20),
    "final.epochs": (1, 2000),
    "final.seeds": (1, 20),
    "seed": (0, 2**31 - 1),
}


MAY_BE_NULL = ("budget.total_epochs", "budget.parallel", "pruning.first")
OPEN = ("space.channels", "space.cells")
"""Those of them that the search may choose."""


@pytest.mark.parametrize("path", INTEGERS)
def test_a_whole_number_has_to_be_one(api: ApiClient, path: str) -> None:
    others: tuple[Any, ...] = ("24", "", True, False, 8.5, [], {}, [8])
    for value in others:
        mend = "whole number"
        if path in OPEN and isinstance(value, list | dict):
            mend = "it has to be a single value" if isinstance(value, list) else "it has to be a value, "
        said = fault(api.ask(nested(path, value)), path, mend)
        assert said["value"] == (value if isinstance(value, bool | str | float) else repr(value))
    if path not in MAY_BE_NULL:
        fault(api.ask(nested(path, None)), path, "whole number")
    for raw in ("NaN", "Infinity", "-Infinity", "1e999", "1e2", "1.0"):
        fault(api.ask(json.dumps(nested(path, "RAW")).replace('"RAW"', raw)), path, "whole number")


@pytest.mark.parametrize("path", INTEGERS)
def test_a_whole_number_stays_within_its_bounds(api: ApiClient, path: str) -> None:
    least, most = INTEGERS[path]
    for value in (least - 1, -1, -(2**63), -HUGE):
        fault(api.ask(nested(path, value)), path, f"{least:,} or more")
    for value in (most + 1, 2**31, 2**63, 2**64, HUGE):
        fault(api.ask(nested(path, value)), path, f"{most:,} or less")


@pytest.mark.parametrize("value", ["0.9", True, [], {}, -1e300, 1e300])
def test_a_target_is_a_number(api: ApiClient, value: object) -> None:
    fault(api.ask(nested("budget.target", value)), "budget.target")


@pytest.mark.parametrize(
    ("body", "field", "mend"),
    [
        ({"pruning": "nope"}, "pruning.method", "'halving', 'hyperband', 'median' or 'none'"),
        ({"pruning": {"method": 3}}, "pruning.method", "'halving', 'hyperband', 'median' or 'none'"),
        ({"pruning": 5}, "pruning", "it has to be a JSON object"),
        ({"options": [1]}, "options", "it has to be a JSON object"),
        ({"strategy": "evolution", "options": {"population": "50"}}, "options.population", "whole number"),
        ({"strategy": "evolution", "options": {"population": 1}}, "options.population", "2 or more"),
        ({"strategy": "darts", "options": {"order": "third"}}, "options.order", "'first' or 'second'"),
        ({"strategy": "tpe", "options": {"population": 5}}, "options.population", "there is no such field"),
        ({"objectives": "accuracy"}, "objectives", "it has to be a list"),
        ({"objectives": []}, "objectives", "at least 1 item"),
        ({"objectives": ["accuracy", "params", "accuracy"]}, "objectives", "name each metric once"),
        ({"objectives": ["accuracy", "speed"]}, "objectives.1.metric", "'accuracy', 'params', 'macs', 'latency_ms'"),
        ({"objectives": [7]}, "objectives.0", "it has to be a JSON object"),
        (
            {"objectives": [{"metric": "params", "direction": "up"}]},
            "objectives.0.direction",
            "'maximize' or 'minimize'",
        ),
    ],
)
def test_how_to_search_is_said_in_the_words_that_there_are(
    api: ApiClient, body: dict[str, Any], field: str, mend: str
) -> None:
    fault(api.ask({"dataset": "squares"} | body), field, mend)


@pytest.mark.parametrize("strategy", ["grid", "cmaes"])
def test_a_strategy_that_cannot_search_the_space_is_refused_with_the_mend(api: ApiClient, strategy: str) -> None:
    fault(api.ask({"dataset": "squares", "strategy": strategy}), "strategy", "or take another strategy")


def test_seconds_are_a_positive_number_of_at_most_a_year(api: ApiClient) -> None:
    path = "budget.seconds"
    others: tuple[Any, ...] = ("60", True, [], {})
    for value in others:
        fault(api.ask(nested(path, value)), path, "a number")
    for seconds in (0, -1, -0.0, -1e300):
        fault(api.ask(nested(path, seconds)), path, "above 0")
    for seconds in (31_536_001, 1e300, HUGE):
        fault(api.ask(nested(path, seconds)), path)
    for raw in ("NaN", "Infinity", "-Infinity", "1e999"):
        fault(api.ask(json.dumps(nested(path, "RAW")).replace('"RAW"', raw)), path, "finite number")


@pytest.mark.parametrize("path", ["space", "recipe", "limits", "budget", "final"])
@pytest.mark.parametrize("value", [None, [], "digits", 7, True, [{}]])
def test_an_object_has_to_be_one(api: ApiClient, path: str, value: object) -> None:
    fault(api.ask(nested(path, value)), path, "it has to be a JSON object")


@pytest.mark.parametrize("path", ["dataset", "name", "strategy", "engine"])
def test_a_text_has_to_be_one(api: ApiClient, path: str) -> None:
    others: tuple[Any, ...] = (7, True, [], {}, ["digits"], 8.5)
    for value in others:
        fault(api.ask({"dataset": "squares"} | {path: value}), path, "a text")
    if path != "name":
        fault(api.ask({"dataset": "squares"} | {path: None}), path, "a text")


@pytest.mark.parametrize("path", ["dataset", "name"])
@pytest.mark.parametrize(
    "value",
    ['""', f'"{"a" * 201}"', r'"\u0000"', r'"a\u0000b"', r'"a\nb"', r'"\u007f"', r'"\ud800"', r'"a\udfff"'],
)
def test_a_name_is_a_short_printable_text(api: ApiClient, path: str, value: str) -> None:
    body = json.dumps({"dataset": "squares"} | {path: "RAW"}).replace('"RAW"', value)
    fault(api.ask(body), path, "it " if "ud" not in value else "a text")


def test_a_field_of_no_character_is_refused(api: ApiClient) -> None:
    problem(api.ask(r'{"dataset": "squares", "\ud800": 1}'), 422)
    fault(api.ask(b'{"dataset": "\xed\xa0\x80"}'), "dataset", "a text")
    fault(api.ask(r'{"dataset": "squares", "a\u0000": 1}'), "a\x00", "there is no such field")


# --- values that are not on the list


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("dataset", "there is no such data set; allowed: "),
        ("strategy", "allowed: auto, random, grid, evolution, "),
        ("engine", "allowed: optuna, ray"),
    ],
)
@pytest.mark.parametrize("value", ["nope", "DIGITS", " tpe", "slurm", "../digits", "🎉"])
def test_a_name_that_is_not_on_the_list_is_answered_with_the_list(
    api: ApiClient, path: str, allowed: str, value: str
) -> None:
    said = fault(api.ask({"dataset": "squares"} | {path: value}), path, allowed)
    assert said["value"] == value


@pytest.mark.parametrize(
    ("ops", "field", "mend"),
    [
        ([], "space.ops", "name at least one of none, max_pool_3x3"),
        (["skip_connect", "conv"], "space.ops", "'conv' is no operation; allowed: none, max_pool_3x3, avg_pool_3x3"),
        (["skip_connect", "skip_connect"], "space.ops", "'skip_connect' stands there twice"),
        (["none"], "space.ops", "a network of nothing but 'none' cannot learn"),
        ("skip_connect", "space.ops", "it has to be a list"),
        ({"skip_connect": 1}, "space.ops", "it has to be a list"),
        ({"choices": [["skip_connect"]]}, "space.ops", "it has to be a list"),
        (None, "space.ops", "it has to be a list"),
        (7, "space.ops", "it has to be a list"),
        ([7], "space.ops.0", "a text"),
        (["skip_connect", None], "space.ops.1", "a text"),
        ([["skip_connect"]], "space.ops.0", "a text"),
    ],
)
def test_operations_are_different_names_from_the_list(api: ApiClient, ops: object, field: str, mend: str) -> None:
    fault(api.ask({"dataset": "squares", "space": {"ops": ops}}), field, mend)


def test_a_list_of_many_operations_is_refused(api: ApiClient) -> None:
    fault(api.ask({"dataset": "squares", "space": {"ops": ["skip_connect"] * 20_000}}), "space.ops", "twice")


# --- values that do not fit together


def test_there_are_no_more_finalists_than_trials(api: ApiClient) -> None:
    body = {"dataset": "squares", "budget": {"trials": 3}, "final": {"finalists": 4}}
    said = fault(api.ask(body), "final.finalists", "at most budget.trials, which is 3")
    assert said["value"] == 4


@pytest.mark.parametrize(
    ("side", "cells", "says"),
    [
        (4, 4, "at least 8×8, and {} has 4×4; use larger images or 1 cell"),
        (4, 2, "at least 8×8, and {} has 4×4; use larger images or 1 cell"),
        (4, None, "at least 8×8, and {} has 4×4"),
        (3, 1, "at least 4×4, and {} has 3×3; use larger images"),
        (2, 1, "at least 4×4, and {} has 2×2; use larger images"),
    ],
)
def test_images_that_are_too_small_for_the_cells_are_refused_with_the_smallest_size(
    api: ApiClient, side: int, cells: int | None, says: str
) -> None:
    name = f"{side}-by-{side}"
    datasets.add(api.store, api.artifacts, name, random_images(side))
    body: dict[str, Any] = {"dataset": name} | ({"space": {"cells": cells}} if cells else {})
    fault(api.ask(body), "space.cells", says.format(name))


# --- bodies that are no object at all


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"{", b"{'dataset': 'digits'}", b"dataset", b'{"dataset": "squares"', b"{]", b"\x00", b"[[", b'{"a":}'],
)
def test_a_body_that_is_no_json_is_refused(api: ApiClient, body: bytes) -> None:
    fault(api.ask(body), "body", "required" if not body else "it has to be JSON")


@pytest.mark.parametrize("body", [None, [], "digits", 7, 8.5, True, [{"dataset": "squares"}]])
def test_json_that_is_no_object_is_refused(api: ApiClient, body: object) -> None:
    fault(api.ask(json.dumps(body)), "body", "it has to be a JSON object, sent as application/json")


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/zip",
        "nonsense",
        "",
    ],
)
def test_a_body_of_another_type_is_refused(api: ApiClient, media_type: str) -> None:
    fault(api.ask(b'{"dataset": "squares"}', media_type), "body", "a JSON object, sent as application/json")


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 10_000,
        b'{"dataset": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"dataset": "squares", "seed": ' + b"9" * 5000 + b"}",
        b"\xff\xfe\xfd",
        b'{"dataset": "\xff"}',
    ],
)
def test_a_body_that_is_too_much_for_a_parser_is_refused(api: ApiClient, body: bytes) -> None:
    fault(api.ask(body), "body", "it has to be JSON in UTF-8", status=400)


@pytest.mark.parametrize("depth", [10, 100, 500, *range(880, 1000, 10)])
def test_a_body_that_is_nested_deeply_is_refused_at_every_depth(api: ApiClient, depth: int) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        for place in ("dataset", "space", "unknown"):
            answer = api.ask(f'{{"{place}": {opening * depth}1{closing * depth}}}')
            assert problem(answer, answer.status_code)["errors"]
            assert answer.status_code in (400, 422)


def test_what_was_sent_is_quoted_in_few_words(api: ApiClient) -> None:
    said = fault(api.ask({"dataset": "squares", "name": "x" * 1_000_000}), "name", "at most 200 characters")
    assert len(said["value"]) < 300
    assert len(api.ask({"dataset": "squares", "space": list(range(100_000))}).content) < 2000


# --- other ways and other places


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_jobs_know_no_other_method(api: ApiClient, method: str) -> None:
    problem(api.request(method, "/v1/jobs"), 405, "Method Not Allowed")


@pytest.mark.parametrize("path", ["/nope", "/v1", "/v2/jobs", "/v1/job", "/v1/jobs/a/b/c"])
def test_a_path_that_is_none_is_not_found(api: ApiClient, path: str) -> None:
    problem(api.get(path), 404, path)
