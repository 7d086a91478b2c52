"""What a user may ask for, and what it is filled in with."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nas.errors import InvalidInput
from nas.search.catalog import STRATEGIES
from nas.space import CellSpace, smallest_input
from nas.space.operations import DEFAULT_OPERATIONS, OPERATIONS
from nas.spec import BudgetSpec, FinalSpec, JobSpec, SpaceSpec, complete

SMALL, LARGE = (1, 8, 8), (3, 32, 32)


def filled(image: tuple[int, int, int] = SMALL, images: int = 1149, **body: Any) -> JobSpec:
    return complete({"dataset": "squares"} | body, image=image, images=images)


def test_small_images_get_a_small_network() -> None:
    assert filled() == JobSpec(
        dataset="squares",
        name=None,
        space=SpaceSpec(ops=DEFAULT_OPERATIONS, nodes=4, channels=8, cells=4),
        strategy="tpe",
        engine="optuna",
        budget=BudgetSpec(trials=24, epochs=8, seconds=None, parallel=None),
        final=FinalSpec(finalists=1, controls=3, epochs=30, seeds=3),
        seed=0,
    )


@pytest.mark.parametrize(
    ("image", "images", "channels", "cells", "epochs"),
    [
        ((1, 8, 8), 1149, 8, 4, 8),
        ((3, 16, 16), 9999, 8, 4, 8),
        ((3, 17, 17), 9999, 16, 5, 8),
        ((3, 16, 64), 100, 8, 4, 8),  # the shorter side counts
        ((3, 32, 32), 10_000, 16, 5, 5),
        ((1, 28, 28), 60_000, 16, 5, 5),
    ],
)
def test_defaults_suit_the_size_of_the_data(
    image: tuple[int, int, int], images: int, channels: int, cells: int, epochs: int
) -> None:
    spec = filled(image, images)
    assert (spec.space.channels, spec.space.cells, spec.budget.epochs) == (channels, cells, epochs)


def test_what_was_said_is_kept_whatever_the_size_of_the_data() -> None:
    said = {
        "space": {"channels": 3, "cells": 2, "ops": ["skip_connect"]},
        "budget": {"epochs": 99, "seconds": 1.5},
        "seed": 7,
    }
    for image, images in ((SMALL, 100), (LARGE, 50_000)):
        spec = filled(image, images, **said)
        assert (spec.space.channels, spec.space.cells, spec.space.ops) == (3, 2, ("skip_connect",))
        assert (spec.budget.epochs, spec.budget.seconds, spec.budget.trials, spec.seed) == (99, 1.5, 24, 7)


def test_a_part_that_was_said_is_filled_up() -> None:
    spec = filled(LARGE, space={"nodes": 2})
    assert (spec.space.nodes, spec.space.channels, spec.space.cells) == (2, 16, 5)


def test_the_body_is_left_as_it_was() -> None:
    body: dict[str, Any] = {"dataset": "squares", "space": {}, "budget": {}}
    complete(body, image=LARGE, images=100)
    assert body == {"dataset": "squares", "space": {}, "budget": {}}


@pytest.mark.parametrize("cells", [1, 2, 3, 4, 5, 20, 40])
def test_images_have_to_be_as_large_as_the_cells_need(cells: int) -> None:
    side = smallest_input(cells)
    assert filled((1, side, side), space={"cells": cells}).space.cells == cells
    for image in ((1, side - 1, side), (1, side, side - 1)):
        with pytest.raises(
            InvalidInput, match=f"at least {side}×{side}, and squares has {image[2]}×{image[1]}"
        ) as caught:
            filled(image, space={"cells": cells})
        assert (caught.value.field, caught.value.value) == ("space.cells", cells)


def test_the_defaults_of_every_size_fit_the_images() -> None:
    for side in range(8, 65):
        assert smallest_input(filled((3, side, side)).space.cells) <= side


def test_there_are_no_more_finalists_than_trials() -> None:
    assert filled(budget={"trials": 2}, final={"finalists": 2}).final.finalists == 2
    with pytest.raises(InvalidInput, match=r"at most budget\.trials, which is 2") as caught:
        filled(budget={"trials": 2}, final={"finalists": 3})
    assert (caught.value.field, caught.value.value) == ("final.finalists", 3)


def test_the_space_is_the_one_that_was_asked_for() -> None:
    spec = SpaceSpec(ops=("none", "skip_connect"), nodes=2, channels=5, cells=7)
    assert spec.space() == CellSpace(("none", "skip_connect"), nodes=2, channels=5, cells=7)


ops = st.lists(st.sampled_from(list(OPERATIONS)), min_size=1, unique=True).filter(lambda found: found != ["none"])
names = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=200)
specs = st.builds(
    JobSpec,
    dataset=names,
    name=st.none() | names,
    space=st.builds(
        SpaceSpec,
        ops=ops.map(tuple),
        nodes=st.integers(1, 8),
        channels=st.integers(1, 256),
        cells=st.integers(1, 40),
    ),
    strategy=st.sampled_from(sorted(STRATEGIES)),
    engine=st.just("optuna"),
    budget=st.builds(
        BudgetSpec,
        trials=st.integers(1, 100_000),
        epochs=st.integers(1, 1000),
        seconds=st.none() | st.floats(0, 31_536_000, exclude_min=True),
        parallel=st.none() | st.integers(1, 10_000),
    ),
    final=st.builds(
        FinalSpec,
        finalists=st.integers(1, 20),
        controls=st.integers(1, 20),
        epochs=st.integers(1, 2000),
        seeds=st.integers(1, 20),
    ),
    seed=st.integers(0, 2**31 - 1),
)


@given(specs)
def test_a_stored_spec_comes_back_as_it_was(spec: JobSpec) -> None:
    """As the job's row keeps it: every field, in JSON."""
    stored = json.loads(json.dumps(spec.model_dump(mode="json")))
    assert JobSpec.model_validate(stored) == spec
    assert set(stored) == set(JobSpec.model_fields)


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        filled().seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "Field required"),
        ({"dataset": "a", "epochs": 3}, "Extra inputs are not permitted"),
        ({"dataset": "a", "budget": {"trials": "24"}}, "valid integer"),
        ({"dataset": "a", "budget": {"trials": True}}, "valid integer"),
        ({"dataset": "a", "budget": {"trials": 24.0}}, "valid integer"),
        ({"dataset": "a", "budget": {"seconds": float("nan")}}, "finite number"),
        ({"dataset": "a", "strategy": "evolution"}, "allowed: random, tpe"),
        ({"dataset": "a", "engine": "ray"}, "allowed: optuna"),
        ({"dataset": "a", "space": {"ops": ["none"]}}, "nothing but 'none'"),
        ({"dataset": "a", "space": {"ops": ["skip_connect"] * 2}}, "stands there twice"),
        ({"dataset": "a", "space": {"ops": ["conv"]}}, "is no operation; allowed: none, max_pool_3x3"),
        ({"dataset": "a\x00"}, "should match pattern"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(body: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        JobSpec.model_validate(body)
