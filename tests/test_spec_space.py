"""The space that a job's fields make, and what of it is searched."""

from typing import Any

import pytest

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
    known,
)
from nas.space.layers import LAYER_KINDS
from nas.space.operations import DEFAULT_OPERATIONS
from nas.spec import AUTOMATIC
from nas.train.recipe import Recipe
from tests.specs import errors, job


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
