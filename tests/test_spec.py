"""What a user may ask for: validated, stored, and turned into a space and a recipe."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from nas.errors import InvalidInput
from nas.search.catalog import STRATEGIES
from nas.searchable import Choices, Range
from nas.space import (
    Candidate,
    Categorical,
    CellSpace,
    FixedSpace,
    Integer,
    JointSpace,
    LayerSpace,
    Real,
    Shape,
    from_text,
    known,
    to_text,
)
from nas.space.known import KNOWN
from nas.space.layers import LAYER_KINDS
from nas.space.operations import DEFAULT_OPERATIONS, OPERATIONS
from nas.spec import AUTOMATIC, BudgetSpec, FinalSpec, JobSpec, SpaceSpec
from nas.train.recipe import DEFAULT_LR, DEFAULT_WEIGHT_DECAY, Recipe

CANDIDATE = Candidate(known("DARTS_V2"))


def job(**body: Any) -> JobSpec:
    return JobSpec.model_validate({"dataset": "squares"} | body)


def errors(**body: Any) -> list[tuple[str, str]]:
    """Where each error is, as the API tells it: without the tags of the forms; and what it says."""
    with pytest.raises(ValidationError) as caught:
        job(**body)
    return [
        (".".join(str(part) for part in error["loc"] if not str(part).endswith(":")), error["msg"])
        for error in caught.value.errors()
    ]


# --- the space


def test_the_space_is_the_one_that_was_asked_for() -> None:
    spec = job(space={"ops": ["none", "skip_connect"], "nodes": 2, "channels": 5, "cells": 7, "norm": "group"})
    assert spec.search_space() == CellSpace(("none", "skip_connect"), 2, Shape(channels=5, cells=7, norm="group"))
    assert job().search_space() == CellSpace(DEFAULT_OPERATIONS, 4, Shape())


def test_the_space_of_layers_is_the_one_that_was_asked_for() -> None:
    said = {
        "kind": "layers",
        "layer_kinds": ["conv", "max_pool"],
        "fewest": 2,
        "most": 5,
        "narrowest": 4,
        "widest": 32,
        "kernels": [1, 7],
        "parallel": False,
        "skeleton": "residual",
        "downsample": "conv",
    }
    shape = Shape(skeleton="residual", downsample="conv")
    space = LayerSpace(("conv", "max_pool"), 2, 5, 4, 32, (1, 7), parallel=False, shape=shape)
    assert job(space=said).search_space() == space
    assert job(space={"kind": "layers"}).search_space() == LayerSpace()
    assert LayerSpace().kinds == tuple(LAYER_KINDS)


def test_fields_that_are_open_are_searched_with_the_architecture() -> None:
    space = job(
        space={"channels": {"low": 4, "high": 64, "log": True}, "merge": {"choices": ["sum", "concat"]}, "nodes": 2},
        recipe={"lr": {"low": 0.01, "high": 1, "log": True}, "flip": {"choices": [False, True]}, "ema": 0.9},
    ).search_space()
    assert space == JointSpace(
        CellSpace(DEFAULT_OPERATIONS, 2, Shape()),
        (
            ("space.channels", Integer(4, 64, log=True)),
            ("space.merge", Categorical(("sum", "concat"))),
            ("recipe.lr", Real(0.01, 1.0, log=True)),
            ("recipe.flip", Categorical((False, True))),
        ),
    )


def test_a_transfer_is_searched_around_the_network_of_its_source() -> None:
    source = Candidate(known("DARTS_V1"), Shape(channels=3, cells=2), (("lr", 0.5),))
    transfer = {"job": "abc", "candidate": source.to_json()}
    space = job(transfer=transfer, space={"tail": {"low": 0, "high": 2}}).search_space()
    assert space == JointSpace(FixedSpace(source), (("space.tail", Integer(0, 2)),))


VALUES: dict[str, dict[str, Any]] = {
    "space": {
        "channels": 16,
        "cells": 7,
        "tail": -2,
        "skeleton": "residual",
        "stem": "imagenet",
        "merge": "weighted",
        "activation": "gelu",
        "norm": "batch_fixed",
        "downsample": "max_pool",
        "dropout": 0.25,
        "drop_path": 0.125,
        "auxiliary": 0.5,
    },
    "recipe": {
        "optimizer": "adamw",
        "schedule": "one_cycle",
        "initialisation": "he_normal",
        "loss": "bce",
        "class_weights": "balanced",
        "precision": "float32",
        "flip": True,
    },
}
FIELDS = [
    (part, name, field.default)
    for part, model, left_out in (("space", Shape, ()), ("recipe", Recipe, ("epochs", "rungs", "milestones")))
    for name, field in model.model_fields.items()
    if name not in left_out
]


@pytest.mark.parametrize(("part", "name", "default"), FIELDS, ids=[f"{part}.{name}" for part, name, _ in FIELDS])
def test_every_field_takes_a_value_or_choices_and_every_number_a_range(part: str, name: str, default: Any) -> None:
    value = VALUES[part].get(name, 0.5 if default is None or isinstance(default, float) else 3)
    if name == "early_stop":
        value = 3
    if default is not None and name not in VALUES[part]:
        assert value != default or name in ("swa_lr",)
    spec = job(**{part: {name: value}})
    assert getattr(getattr(spec, part), name) == value
    plain = default if name not in AUTOMATIC else value
    choices = {"choices": list(dict.fromkeys([plain, value]))}
    opened = job(**{part: {name: choices}})
    assert isinstance(getattr(getattr(opened, part), name), Choices)
    assert list(opened.search_space().distributions())[-1] == f"{part}.{name}"
    if isinstance(value, bool | str):
        [(where, says)] = errors(**{part: {name: {"low": 0, "high": 1}}})
        assert (where, says) == (f"{part}.{name}", 'it has to be a value or {"choices": [value, …]}')
    else:
        half = value // 2 if isinstance(value, int) else value / 2
        opened = job(**{part: {name: {"low": min(half, value), "high": max(half, value)}}})
        assert isinstance(getattr(getattr(opened, part), name), Range)
        assert type(opened.search_space().distributions()[f"{part}.{name}"]) is (
            Integer if isinstance(value, int) else Real
        )
        [(where, _)] = errors(**{part: {name: {"low": -1e6 if isinstance(value, float) else -(10**6), "high": value}}})
        assert where == f"{part}.{name}.low"
    for wrong in ([value], {"value": value}, object()):
        [(where, _)] = errors(**{part: {name: wrong}})
        assert where == f"{part}.{name}"
    [(where, _)] = errors(**{part: {name: {"choices": [value, object()]}}})
    assert where == f"{part}.{name}.choices.1"


@pytest.mark.parametrize(
    ("space", "field", "says"),
    [
        ({"ops": []}, "ops", "name at least one of none, max_pool_3x3"),
        ({"ops": "skip_connect"}, "ops", "it has to be a list"),
        ({"ops": ["none"]}, "ops", "nothing but 'none'"),
        ({"ops": ["skip_connect"] * 2}, "ops", "'skip_connect' stands there twice"),
        ({"ops": ["conv"]}, "ops", "'conv' is no operation; allowed: none, max_pool_3x3"),
        ({"ops": [3]}, "ops.0", "valid string"),
        ({"nodes": {"low": 2, "high": 4}}, "nodes", "valid integer"),
        ({"kind": "cell"}, "kind", "'cells' or 'layers'"),
        ({"chanels": 3}, "chanels", "Extra inputs"),
        ({"fewest": 2}, "fewest", "it says nothing about cells; leave it out, or set space.kind"),
        ({"kernels": [7]}, "kernels", "it says nothing about cells"),
        ({"parallel": False}, "parallel", "it says nothing about cells"),
        ({"kind": "layers", "nodes": 3}, "nodes", "it says nothing about layers; leave it out, or set space.kind"),
        ({"kind": "layers", "ops": ["skip_connect"]}, "ops", "it says nothing about layers"),
        ({"kind": "layers", "channels": 16}, "channels", "it says nothing about layers"),
        ({"kind": "layers", "auxiliary": 0.4}, "auxiliary", "it says nothing about layers"),
        ({"kind": "layers", "tail": {"low": 0, "high": 1}}, "tail", "it says nothing about layers"),
        ({"kind": "layers", "merge": {"choices": ["sum"]}}, "merge", "it says nothing about layers"),
        ({"kind": "layers", "fewest": 9}, "fewest", "at most space.most, which is 8"),
        ({"kind": "layers", "narrowest": 512}, "narrowest", "at most space.widest, which is 256"),
        ({"kind": "layers", "kernels": [2]}, "kernels.0", "1, 3, 5 or 7"),
        ({"kind": "layers", "kernels": []}, "kernels", "name at least one, and each of them once"),
        ({"kind": "layers", "kernels": [3, 3]}, "kernels", "name at least one, and each of them once"),
        ({"kind": "layers", "layer_kinds": ["conv", "pool"]}, "layer_kinds.1", "'conv', 'separable'"),
        ({"kind": "layers", "layer_kinds": "conv"}, "layer_kinds", "it has to be a list"),
        ({"kind": "layers", "parallel": 1}, "parallel", "valid boolean"),
    ],
)
def test_a_space_that_cannot_be_is_refused_by_the_field_at_fault(space: dict[str, Any], field: str, says: str) -> None:
    [(where, what)] = errors(space=space)
    assert where == f"space.{field}"
    assert says in what


def test_fields_of_the_other_kind_may_be_said_as_they_are_by_default() -> None:
    """A spec that was stored says every field."""
    for kind in ("cells", "layers"):
        whole = job(space={"kind": kind}).space.model_dump(mode="json")
        assert job(space=whole).space == job(space={"kind": kind}).space


def test_narrowest_and_widest_may_be_the_same() -> None:
    assert job(space={"kind": "layers", "fewest": 4, "most": 4, "narrowest": 8, "widest": 8}).search_space()


# --- the recipe


def recipe(candidate: Candidate = CANDIDATE, image: tuple[int, int, int] = (3, 32, 32), **said: Any) -> Recipe:
    return job(recipe=said).recipe_for(candidate, image, epochs=10, images=5000)


@pytest.mark.parametrize("optimizer", DEFAULT_LR)
def test_learning_rate_and_decay_suit_the_optimizer(optimizer: str) -> None:
    found = recipe(optimizer=optimizer)
    assert (found.optimizer, found.lr) == (optimizer, DEFAULT_LR[optimizer])
    assert found.weight_decay == DEFAULT_WEIGHT_DECAY.get(optimizer, 5e-4)
    by_candidate = recipe(Candidate(known("DARTS_V2"), recipe=(("optimizer", optimizer),)), optimizer="momentum")
    assert by_candidate == found


def test_images_are_shifted_by_an_eighth_of_their_side() -> None:
    sides = {(1, 8, 8): 1, (3, 32, 32): 4, (3, 32, 64): 4, (1, 4, 4): 1, (3, 224, 224): 28, (3, 1024, 1024): 64}
    assert {image: recipe(image=image).shift for image in sides} == sides


def test_what_was_not_said_is_as_for_the_images_and_all_else_as_in_the_recipe() -> None:
    assert recipe() == Recipe.for_images((3, 32, 32), epochs=10)
    assert recipe(schedule="one_cycle") == Recipe.for_images((3, 32, 32), epochs=10, schedule="one_cycle")
    assert recipe(schedule="exponential") == Recipe.for_images((3, 32, 32), epochs=10, schedule="exponential")
    unsaid: dict[str, Any] = dict.fromkeys(AUTOMATIC)
    assert recipe(**unsaid) == recipe()


def test_what_was_said_is_what_a_network_is_trained_with() -> None:
    said: dict[str, Any] = {
        "lr": 0.3,
        "weight_decay": 0.0,
        "shift": 0,
        "flip": True,
        "warmup": 0.5,
        "gamma": 0.9,
        "milestones": [0.25],
        "clip_norm": None,
        "ema": 0.5,
    }
    found = recipe(**said).model_dump(mode="json")
    assert {name: found[name] for name in said} == said
    assert found["epochs"] == 10


def test_what_a_candidate_chose_comes_before_what_the_job_says() -> None:
    chosen = Candidate(known("DARTS_V2"), recipe=(("clip_norm", None), ("lr", 0.25), ("shift", 3)))
    found = recipe(chosen, lr={"choices": [0.25, 0.5]}, shift={"low": 0, "high": 4}, clip_norm=1.0)
    assert (found.lr, found.shift, found.clip_norm) == (0.25, 3, None)


def test_a_candidate_may_choose_what_suits() -> None:
    choices = {"choices": [None, 0.5]}
    chosen = Candidate(known("DARTS_V2"), recipe=(("lr", None), ("optimizer", "adam")))
    assert recipe(chosen, lr=choices, optimizer={"choices": ["adam", "sgd"]}).lr == DEFAULT_LR["adam"]


def test_every_candidate_of_an_open_recipe_can_be_trained() -> None:
    spec = job(
        recipe={
            "optimizer": {"choices": list(DEFAULT_LR)},
            "lr": {"choices": [None, 0.1]},
            "gamma": {"choices": [None, 1]},
            "batch_size": {"low": 1, "high": 65_536, "log": True},
            "momentum": {"low": 0, "high": 0.99},
            "clip_norm": {"choices": [None, 1]},
            "kept_lr": {"low": 1e-3, "high": 1, "log": True},
        }
    )
    space, rng = spec.search_space(), np.random.default_rng(0)
    for _ in range(100):
        candidate = space.sample(rng)
        found = spec.recipe_for(candidate, (1, 8, 8), epochs=3, images=5000)
        chosen = dict(candidate.recipe)
        assert all(getattr(found, name) == value for name, value in chosen.items() if value is not None)


# --- the start


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
