"""What a user may ask for: validated and stored; and where the search starts."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from nas.errors import InvalidInput
from nas.search.catalog import STRATEGIES
from nas.space import (
    from_text,
    known,
    to_text,
)
from nas.space.known import KNOWN
from nas.space.layers import LAYER_KINDS
from nas.space.operations import OPERATIONS
from nas.spec import BudgetSpec, FinalSpec, JobSpec, SpaceSpec
from nas.train.recipe import DEFAULT_LR
from tests.specs import CANDIDATE, errors, job


@pytest.mark.parametrize("name", KNOWN)
def test_a_start_is_a_published_name_darts_text_or_json(name: str) -> None:
    genotype = known(name)
    spec = job(start=[name, to_text(genotype), genotype.to_json()])
    assert spec.starts() == [genotype] * 3
    assert spec.start == (genotype.to_json(),) * 3
    assert job().starts() == []
    assert from_text(to_text(genotype)) == genotype


@pytest.mark.parametrize(
    ("start", "field", "says"),
    [
        ("DARTS_V1", "start", "it has to be a list"),
        (["DARTS_V9"], "start.0", "no published genotype is called 'DARTS_V9'; there are DARTS_V1, DARTS_V2"),
        (["DARTS_V1", "Genotype("], "start.1", "it has to read Genotype(normal="),
        ([{"normal": 3}], "start.0", '{"normal": cell, "reduce": cell}'),
        ([None], "start.0", '{"normal": cell, "reduce": cell}'),
        ([3], "start.0", '{"normal": cell, "reduce": cell}'),
        (["DARTS_V1"] * 101, "start", "at most 100"),
    ],
)
def test_a_start_that_is_no_genotype_is_refused_by_its_place(start: Any, field: str, says: str) -> None:
    [(where, what)] = errors(start=start)
    assert where == field
    assert says in what


# --- the whole


ops = st.lists(st.sampled_from(list(OPERATIONS)), min_size=1, unique=True).filter(lambda found: found != ["none"])


names = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=200)


cells = st.fixed_dictionaries(
    {},
    optional={
        "ops": ops,
        "nodes": st.integers(1, 8),
        "channels": st.integers(1, 256) | st.just({"low": 4, "high": 64, "log": True}),
        "cells": st.integers(1, 40) | st.just({"choices": [3, 5, 8]}),
        "tail": st.integers(-40, 40) | st.just({"low": -2, "high": 2}),
        "merge": st.sampled_from(["sum", "concat", "weighted"]) | st.just({"choices": ["sum", "weighted"]}),
        "dropout": st.floats(0, 0.9) | st.just({"low": 0.0, "high": 0.5}),
    },
)


layers = st.fixed_dictionaries(
    {"kind": st.just("layers")},
    optional={
        "layer_kinds": st.lists(st.sampled_from(list(LAYER_KINDS)), min_size=1, unique=True),
        "fewest": st.integers(1, 8),
        "most": st.integers(8, 64),
        "kernels": st.lists(st.sampled_from([1, 3, 5, 7]), min_size=1, unique=True),
        "parallel": st.booleans(),
        "norm": st.just({"choices": ["batch", "none"]}),
    },
)


recipes = st.fixed_dictionaries(
    {},
    optional={
        "lr": st.none() | st.floats(1e-6, 100) | st.just({"low": 0.001, "high": 0.1, "log": True}),
        "optimizer": st.sampled_from(list(DEFAULT_LR)) | st.just({"choices": ["adam", "sgd"]}),
        "flip": st.none() | st.booleans() | st.just({"choices": [True, False]}),
        "clip_norm": st.none() | st.floats(0.1, 10) | st.just({"choices": [None, 5.0]}),
        "milestones": st.just([0.1, 0.2]),
        "randaugment": st.integers(0, 10) | st.just({"low": 0, "high": 3}),
    },
)


bodies = st.fixed_dictionaries(
    {"dataset": names},
    optional={
        "name": st.none() | names,
        "space": cells | layers,
        "recipe": recipes,
        "limits": st.fixed_dictionaries({}, optional={"max_params": st.integers(1, 10**9)}),
        "start": st.lists(st.sampled_from(list(KNOWN)), max_size=2),
        "transfer": st.none() | st.just({"job": "abc", "candidate": CANDIDATE.to_json(), "weights": "d" * 64}),
        "strategy": st.sampled_from(sorted(STRATEGIES)),
        "budget": st.fixed_dictionaries(
            {},
            optional={
                "trials": st.integers(1, 100_000),
                "epochs": st.integers(1, 1000),
                "seconds": st.none() | st.floats(0, 31_536_000, exclude_min=True),
                "parallel": st.none() | st.integers(1, 10_000),
            },
        ),
        "final": st.fixed_dictionaries({}, optional={"finalists": st.integers(1, 20), "epochs": st.integers(1, 2000)}),
        "tensorboard": st.booleans(),
        "seed": st.integers(0, 2**31 - 1),
    },
)


@given(bodies)
@settings(max_examples=60)
def test_a_stored_spec_comes_back_as_it_was(body: dict[str, Any]) -> None:
    """As the job's row keeps it: every field, in JSON."""
    spec = JobSpec.model_validate(body)
    stored = json.loads(json.dumps(spec.model_dump(mode="json")))
    again = JobSpec.model_validate(stored)
    assert again == spec
    assert repr(again) == repr(spec)
    assert set(stored) == set(JobSpec.model_fields)
    assert again.search_space() == spec.search_space()
    assert hash(again.search_space()) == hash(spec.search_space())


def test_a_spec_is_the_same_in_python() -> None:
    spec = JobSpec(dataset="squares", budget=BudgetSpec(trials=3), final=FinalSpec(seeds=1), space=SpaceSpec())
    assert spec == job(budget={"trials": 3}, final={"seeds": 1}, space={})


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        job().seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"epochs": 3}, "epochs", "Extra inputs are not permitted"),
        ({"budget": {"trials": "24"}}, "budget.trials", "valid integer"),
        ({"budget": {"trials": True}}, "budget.trials", "valid integer"),
        ({"budget": {"trials": 24.0}}, "budget.trials", "valid integer"),
        ({"budget": {"seconds": float("nan")}}, "budget.seconds", "finite number"),
        ({"strategy": "bayes"}, "strategy", f"allowed: {', '.join(STRATEGIES)}"),
        ({"options": {"startup": 3}}, "options.startup", "allowed: warm_start, exploration"),
        ({"strategy": "tpe", "options": {"startup": 0}}, "options.startup", "greater than or equal to 1"),
        ({"pruning": "luck"}, "pruning.method", "'halving', 'hyperband', 'median' or 'none'"),
        ({"objectives": ["speed"]}, "objectives.0.metric", "'latency_ms'"),
        ({"objectives": ["params", "accuracy", "params"]}, "objectives", "name each metric once"),
        ({"objectives": []}, "objectives", "at least 1 item"),
        ({"budget": {"total_epochs": 0}}, "budget.total_epochs", "greater than or equal to 1"),
        ({"screening": 0}, "screening", "greater than or equal to 1"),
        ({"engine": "slurm"}, "engine", "allowed: optuna"),
        ({"dataset": "a\x00"}, "dataset", "should match pattern"),
        ({"recipe": {"epochs": 3}}, "recipe.epochs", "Extra inputs are not permitted"),
        ({"recipe": {"momentun": 0.9}}, "recipe.momentun", "Extra inputs are not permitted"),
        ({"recipe": {"milestones": [0.5, 0.25]}}, "recipe.milestones", "ascending"),
        ({"recipe": {"milestones": {"choices": [[0.5]]}}}, "recipe.milestones", "it has to be a list"),
        ({"limits": {"max_params": 0}}, "limits.max_params", "greater than or equal to 1"),
        ({"transfer": {}}, "transfer.job", "Field required"),
        ({"transfer": {"job": ""}}, "transfer.job", "at least 1 character"),
        ({"tensorboard": 1}, "tensorboard", "valid boolean"),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"space": "cells"}, "space", "valid dictionary"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(body: dict[str, Any], field: str, says: str) -> None:
    [(where, what)] = errors(**body)
    assert where == field
    assert says in what


def test_a_data_set_has_to_be_named() -> None:
    with pytest.raises(ValidationError, match="Field required"):
        JobSpec.model_validate({})


def test_a_transfer_whose_source_was_not_filled_in_has_no_space() -> None:
    with pytest.raises(InvalidInput):
        job(transfer={"job": "abc"}).search_space()


# --- its description


def test_every_field_is_described_and_the_schema_is_no_longer_than_can_be_read() -> None:
    schema = JobSpec.model_json_schema()
    assert len(json.dumps(schema)) < 30_000
    definitions = schema["$defs"]
    assert {"OneOf", "Between", "SpaceSpec", "RecipeSpec", "BudgetSpec", "FinalSpec", "TransferSpec"} <= set(
        definitions
    )
    assert not [name for name in definitions if "_" in name]
    for part in ("SpaceSpec", "RecipeSpec", "BudgetSpec", "FinalSpec", "TransferSpec", "Between"):
        for name, field in definitions[part]["properties"].items():
            assert field.get("description"), (part, name)
    assert definitions["RecipeSpec"]["properties"]["lr"]["description"].endswith("null: what suits the optimizer")


def test_the_schema_holds_for_what_is_accepted() -> None:
    """Only what the schema itself says of a body: its properties, types and references that lead somewhere."""
    schema = JobSpec.model_json_schema()
    text = json.dumps(schema)
    references = {part.split('"')[0] for part in text.split('"#/$defs/')[1:]}
    assert references == set(schema["$defs"])
    assert schema["required"] == ["dataset"]
    for part in ("SpaceSpec", "RecipeSpec"):
        default = job().model_dump(mode="json")[part.removesuffix("Spec").lower()]
        shown = {name: field["default"] for name, field in schema["$defs"][part]["properties"].items()}
        assert shown == default


def test_a_name_that_nobody_sees_is_none() -> None:
    for name in (" ", "\u00a0 ", "\u200b", "\u202e"):
        assert JobSpec.model_validate({"dataset": "digits", "name": name}).name is None
    for name in ("x", " x", "\u05e9", "\U0001f525"):
        assert JobSpec.model_validate({"dataset": "digits", "name": name}).name == name
