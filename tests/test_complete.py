"""From what a user said to a whole job."""

import copy
import json
from typing import Any

import numpy as np
import pytest

from nas.complete import complete
from nas.errors import InvalidInput
from nas.objectives import ObjectiveForm
from nas.oneshot.plan import default_epochs
from nas.search.options import AutoOptions, PruningSpec
from nas.space import (
    Candidate,
    FixedSpace,
    Integer,
    JointSpace,
    Layer,
    LayerNet,
    Real,
    ResidualNet,
    Shape,
    known,
    smallest_input,
)
from nas.space.operations import DEFAULT_OPERATIONS
from nas.spec import MAX_TRIALS, BudgetSpec, FinalSpec, JobSpec, RecipeSpec, SpaceSpec
from nas.train.recipe import DEFAULT_LR
from nas.train.tasks import LOSSES

SMALL, LARGE = (1, 8, 8), (3, 32, 32)
CELLS = Candidate(known("DARTS_V2"), Shape(channels=6, cells=5, activation="silu"), (("lr", 0.5),))
LAYERS = Candidate(
    LayerNet((Layer("conv", 8), Layer("conv", 8, parallel=True), Layer("max_pool", 8))), Shape(norm="group")
)


def filled(image: tuple[int, int, int] = SMALL, images: int = 1149, task: str = "single_label", **body: Any) -> JobSpec:
    """As the API does it: validated, then completed from what was set."""
    said = JobSpec.model_validate({"dataset": "squares"} | body).model_dump(mode="json", exclude_unset=True)
    return complete(said, image=image, images=images, outputs=2, task=task)


def transferred(source: Candidate = CELLS, image: tuple[int, int, int] = LARGE, **body: Any) -> JobSpec:
    transfer = {"job": "a1b2", "candidate": source.to_json(), "weights": "c" * 64}
    return filled(image, transfer=transfer, **body)


def refused(field: str, value: object, says: str, call: Any = filled, **body: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        call(**body)
    assert (caught.value.field, caught.value.value) == (field, value)
    assert says in caught.value.mend
    assert len(str(caught.value)) < 600


def test_small_images_get_a_small_network() -> None:
    assert filled() == JobSpec(
        dataset="squares",
        name=None,
        space=SpaceSpec.model_validate({"ops": DEFAULT_OPERATIONS, "nodes": 4, "channels": 8, "cells": 4}),
        recipe=RecipeSpec(),
        strategy="auto",
        options=AutoOptions().model_dump(),
        pruning=PruningSpec(method="halving", eta=3, first=None),
        objectives=(ObjectiveForm(metric="accuracy", direction="maximize"),),
        screening=1,
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
        ((3, 16, 64), 1000, 8, 4, 8),  # the shorter side counts
        ((1, 8, 8), 999, 8, 4, 16),
        ((3, 32, 32), 10_000, 16, 5, 5),
        ((1, 28, 28), 60_000, 16, 5, 5),
    ],
)
def test_defaults_suit_the_size_of_the_data(
    image: tuple[int, int, int], images: int, channels: int, cells: int, epochs: int
) -> None:
    for spec in (filled(image, images), filled(image, images, transfer=None)):
        assert spec.space.shape() == Shape(channels=channels, cells=cells)
        assert spec.budget.epochs == epochs


def test_large_images_get_a_stem_that_makes_them_small_and_few_images_more_epochs() -> None:
    assert filled((3, 64, 80)).space.shape() == Shape(channels=16, cells=5, stem="imagenet")
    assert filled((3, 63, 80)).space.shape() == Shape(channels=16, cells=5)
    assert filled(images=999).final.epochs == 60
    assert filled(images=1000).final.epochs == 30


def test_what_was_said_is_kept_whatever_the_size_of_the_data() -> None:
    said: dict[str, Any] = {
        "space": {"channels": 3, "cells": {"choices": [2, 3]}, "ops": ["skip_connect"]},
        "recipe": {"optimizer": "adam", "lr": {"low": 0.001, "high": 0.01, "log": True}},
        "budget": {"epochs": 99, "trials": 5, "seconds": 1.5},
        "strategy": "tpe",
        "options": {"startup": 3},
        "seed": 7,
    }
    for image, images in ((SMALL, 1000), (LARGE, 50_000)):
        spec = filled(image, images, **said)
        assert spec.model_dump(mode="json", exclude_unset=True, exclude={"dataset"}) == said | {"final": {"epochs": 30}}
        assert spec.space.ops == ("skip_connect",)


@pytest.mark.parametrize("limit", [{"seconds": 60.0}, {"total_epochs": 100}])
def test_time_or_epochs_alone_limit_a_search(limit: dict[str, Any]) -> None:
    assert filled(budget=limit).budget.trials == MAX_TRIALS
    assert filled(budget=limit | {"trials": 7}).budget.trials == 7
    assert filled().budget.trials == 24
    assert filled(budget={"target": 0.9}).budget.trials == 24


def test_a_one_shot_job_tries_what_its_supernet_hands_over() -> None:
    spec = filled(strategy="pc_darts", options={"candidates": 5})
    assert (spec.budget.trials, spec.final.finalists, spec.pruning.method) == (5, 3, "none")
    assert (spec.final.epochs, spec.final.seeds) == (12, 2)
    assert filled(strategy="pc_darts", final={"seeds": 5}).final.seeds == 5
    assert filled(strategy="pc_darts", pruning="halving").pruning.method == "halving"
    assert spec.options["epochs"] == default_epochs("pc_darts", 1149)
    assert filled(strategy="darts", options={"epochs": 7}).options["epochs"] == 7
    assert filled(strategy="darts", options={"candidates": 2}).final.finalists == 2
    assert filled(strategy="darts", final={"finalists": 1}).final.finalists == 1


def test_a_strategy_that_cannot_search_the_space_is_refused_with_the_mend() -> None:
    refused("strategy", "grid", "", strategy="grid")
    refused("strategy", "cmaes", "", strategy="cmaes")
    refused("strategy", "darts", "", strategy="darts", space={"kind": "layers"})
    refused("strategy", "darts", "", strategy="darts", space={"channels": {"low": 4, "high": 8}})


def test_budgets_and_rungs_that_contradict_each_other_are_refused() -> None:
    refused("pruning.first", 8, "below budget.epochs", pruning={"first": 8})
    refused("budget.total_epochs", 7, "at least budget.epochs, which is 8", budget={"total_epochs": 7})
    refused("budget.target", 0.5, "add accuracy", budget={"target": 0.5}, objectives=["params"])


def test_a_part_that_was_said_is_filled_up() -> None:
    spec = filled(LARGE, space={"nodes": 2})
    assert (spec.space.nodes, spec.space.shape()) == (2, Shape(channels=16, cells=5))


def test_layers_have_no_cells_to_suit_the_data() -> None:
    spec = filled(LARGE, space={"kind": "layers", "most": 5})
    assert spec.space == SpaceSpec.model_validate({"kind": "layers", "most": 5})


@pytest.mark.parametrize("transfer", [False, True])
def test_the_body_is_left_as_it_was(transfer: bool) -> None:
    body: dict[str, Any] = {"dataset": "squares", "space": {}, "budget": {}, "recipe": {}}
    if transfer:
        body["transfer"] = {"job": "a1b2", "candidate": CELLS.to_json()}
    before = copy.deepcopy(body)
    complete(body, image=LARGE, images=100, outputs=2)
    assert body == before


@pytest.mark.parametrize("cells", [1, 2, 3, 4, 5, 20, 40])
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_images_have_to_be_as_large_as_the_cells_need(cells: int, stem: str) -> None:
    space = {"cells": cells, "stem": stem}
    side = smallest_input(Shape.model_validate(space))
    assert side == (4 if cells == 1 else 8) * (8 if stem == "imagenet" else 1)
    assert filled((1, side, side), space=space).space.shape().cells == cells
    for image in ((1, side - 1, side), (1, side, side - 1)):
        says = f"at least {side}×{side}, and squares has {image[2]}×{image[1]}"
        refused("space.cells", cells, says, image=image, space=space)


def test_the_mend_for_images_that_are_too_small_is_one_that_helps() -> None:
    refused("space.cells", 4, "use larger images or 1 cell", image=(1, 7, 7))
    refused("space.cells", 4, "use larger images or 1 cell with the cifar stem", space={"stem": "imagenet"})
    with pytest.raises(InvalidInput) as caught:
        filled((1, 3, 3))
    assert caught.value.mend.endswith("use larger images")


@pytest.mark.parametrize(
    ("space", "cells"),
    [
        ({"cells": {"choices": [1, 2]}}, 2),
        ({"cells": {"low": 1, "high": 3}}, 2),
        ({"cells": 1, "stem": {"choices": ["cifar", "imagenet"]}}, 1),
        ({"cells": 4, "tail": {"low": -2, "high": 0}}, 4),
    ],
)
def test_all_networks_that_are_open_have_to_fit(space: dict[str, Any], cells: int) -> None:
    refused("space.cells", cells, "at least", image=(1, 4, 4), space=space)
    assert filled((1, 64, 64), space=space)


def test_cells_that_are_left_out_need_no_pixels() -> None:
    assert filled((1, 4, 4), space={"cells": 4, "tail": -2})
    assert filled((1, 4, 4), space={"kind": "layers", "most": 64})


def test_the_defaults_of_every_size_fit_the_images() -> None:
    for side in range(8, 65):
        assert smallest_input(filled((3, side, side)).space.shape()) <= side


def test_there_are_no_more_finalists_than_trials() -> None:
    assert filled(budget={"trials": 2}, final={"finalists": 2}).final.finalists == 2
    says = "at most budget.trials, which is 2"
    refused("final.finalists", 3, says, budget={"trials": 2}, final={"finalists": 3})


def test_genotypes_to_start_from_need_cells_and_a_trial_each() -> None:
    start = ["DARTS_V1", "NASNet"]
    assert filled(start=start, budget={"trials": 2}).starts() == [known(name) for name in start]
    refused("start", "2 genotypes", 'set space.kind to "cells"', start=start, space={"kind": "layers"})
    refused("start", "2 genotypes", "at most budget.trials, which is 1", start=start, budget={"trials": 1})
    refused("start", "1 genotype", "with transfer the source's network", call=transferred, start=start[:1])


@pytest.mark.parametrize("task", LOSSES)
def test_a_loss_has_to_be_one_of_the_task(task: str) -> None:
    for loss in ("default", *LOSSES[task]):
        assert filled(task=task, recipe={"loss": loss})
    choices = {"choices": ["default", LOSSES[task][0]]}
    assert filled(task=task, recipe={"loss": choices})
    [foreign, *_] = (loss for other in LOSSES if other != task for loss in LOSSES[other])
    refused("recipe.loss", foreign, LOSSES[task][0], task=task, recipe={"loss": foreign})
    refused("recipe.loss", foreign, "default", task=task, recipe={"loss": {"choices": ["default", foreign]}})


def test_images_are_not_shifted_out_of_sight() -> None:
    assert filled(recipe={"shift": 7})
    refused("recipe.shift", 8, "at most 7, or nothing is left of images of 8 px", recipe={"shift": 8})
    refused("recipe.shift", 9, "at most 7", recipe={"shift": {"low": 0, "high": 9}} | {"shift": {"choices": [1, 9]}})
    refused("recipe.shift", 8, "at most 7", recipe={"shift": {"low": 0, "high": 9}})
    refused("recipe.shift", 8, "at most 7", image=(1, 16, 8), recipe={"shift": 8})


@pytest.mark.parametrize(("field", "off"), [("freeze", 0), ("kept_lr", 1.0)])
@pytest.mark.parametrize("form", ["value", "choices", "range"])
def test_what_goes_with_transfer_is_refused_without(field: str, off: float, form: str) -> None:
    other = type(off)(1 - off)
    said = {"value": other, "choices": {"choices": [off, other]}, "range": {"low": 0, "high": 1, "log": False}}[form]
    refused(f"recipe.{field}", said, "goes with transfer only; leave it out", recipe={field: said})
    assert filled(recipe={field: off})
    assert (
        dict(transferred(recipe={field: said}).recipe)[field] == dict(RecipeSpec.model_validate({field: said}))[field]
    )


def test_limits_that_nothing_can_keep_are_refused() -> None:
    assert filled(limits={"max_params": 10**9}).limits.max_params == 10**9
    with pytest.raises(InvalidInput) as caught:
        filled(limits={"max_params": 1})
    assert caught.value.field == "limits.max_params"


def test_a_transfer_searches_how_much_is_kept_and_how_fast_it_learns() -> None:
    spec = transferred()
    space = spec.search_space()
    assert isinstance(space, JointSpace)
    assert space.base == FixedSpace(CELLS)
    peak = DEFAULT_LR["nesterov"]
    assert dict(space.parameters) == {
        "space.tail": Integer(-1, 1),
        "recipe.freeze": Integer(0, 5),
        "recipe.kept_lr": Real(0.01, 1.0, log=True),
        "recipe.lr": Real(peak / 30, peak, log=True),
    }
    rng = np.random.default_rng(0)
    for candidate in [space.sample(rng) for _ in range(20)]:
        assert candidate.architecture == CELLS.architecture
        assert candidate.shape.model_copy(update={"tail": 0}) == CELLS.shape
        assert [name for name, _ in candidate.recipe] == ["freeze", "kept_lr", "lr"]
        assert space.contains(candidate)


def test_the_space_of_a_transfer_shows_the_frame_of_its_source() -> None:
    spec = transferred()
    assert spec.space.fixed().items() >= CELLS.shape.model_dump(exclude={"tail"}).items()
    assert spec.transfer is not None
    assert spec.transfer.job == "a1b2"
    again = JobSpec.model_validate(json.loads(json.dumps(spec.model_dump(mode="json"))))
    assert again == spec
    assert again.search_space() == spec.search_space()


def test_a_transfer_leaves_a_cell_at_least_and_no_more_than_there_can_be() -> None:
    def tails(**shape: Any) -> Any:
        return dict(transferred(Candidate(known("DARTS_V2"), Shape(**shape))).search_space().distributions())[
            "space.tail"
        ]

    assert tails(cells=4, tail=2) == Integer(1, 3)
    assert tails(cells=1) == Integer(0, 1)
    assert tails(cells=4, tail=-3) == Integer(-3, -2)
    assert tails(cells=4, tail=40) == Integer(39, 40)


def test_no_more_cells_are_frozen_than_the_source_has() -> None:
    spec = transferred(Candidate(known("DARTS_V2"), Shape(cells=4, tail=-2)))
    assert dict(spec.search_space().distributions())["recipe.freeze"] == Integer(0, 2)


def test_what_a_transfer_would_search_can_be_said() -> None:
    said = {"freeze": 2, "kept_lr": 0.5, "lr": {"choices": [0.1, 0.2]}}
    spec = transferred(space={"tail": 1}, recipe=said)
    assert [name for name, _ in spec.search_space().distributions().items()] == ["recipe.lr"]
    assert spec.space.shape() == CELLS.shape.model_copy(update={"tail": 1})
    assert (spec.recipe.fixed()["freeze"], spec.recipe.fixed()["kept_lr"]) == (2, 0.5)
    space = transferred(space={"tail": 1}, recipe={"freeze": 2, "kept_lr": 0.5, "lr": 0.1}).search_space()
    assert dict(space.distributions()) == {}
    drawn = space.sample(np.random.default_rng(0))
    assert drawn.shape.tail == 1


def test_the_learning_rate_of_a_transfer_follows_the_optimizer() -> None:
    spec = transferred(recipe={"optimizer": "adamw"})
    assert dict(spec.search_space().distributions())["recipe.lr"] == Real(
        DEFAULT_LR["adamw"] / 30, DEFAULT_LR["adamw"], log=True
    )
    spec = transferred(recipe={"optimizer": {"choices": ["adam", "nesterov"]}})
    assert "recipe.lr" not in spec.search_space().distributions()


def test_a_transfer_of_layers_searches_all_but_the_tail() -> None:
    spec = transferred(LAYERS)
    assert spec.space == SpaceSpec.model_validate({"kind": "layers", "norm": "group"})
    space = spec.search_space()
    assert isinstance(space, JointSpace)
    assert space.base == FixedSpace(LAYERS)
    assert list(space.distributions()) == ["recipe.lr", "recipe.freeze", "recipe.kept_lr"]
    assert dict(space.parameters)["recipe.freeze"] == Integer(0, 2)  # two groups


@pytest.mark.parametrize(
    ("field", "value"),
    [("channels", 16), ("kind", "layers"), ("ops", ["skip_connect"]), ("norm", {"choices": ["batch"]})],
)
def test_the_network_of_a_transfer_is_the_sources(field: str, value: Any) -> None:
    says = "with transfer the source's network is taken over; only space.tail can be said"
    refused(f"space.{field}", value, says, call=transferred, space={field: value})


def test_a_source_that_is_no_found_network_is_refused() -> None:
    refused("transfer.job", "a1b2", "search space", call=transferred, source=Candidate(ResidualNet(8, 2)))


def test_the_images_of_a_transfer_have_to_be_as_large_as_the_source_needs() -> None:
    assert transferred(image=(1, 8, 8))
    says = "its network needs images of at least 8×8, and squares has 7×7"
    refused("transfer.job", "a1b2", says, call=transferred, image=(1, 7, 7))
    assert transferred(LAYERS, image=(1, 2, 2), recipe={"shift": 1})


def test_a_transfer_whose_source_was_not_filled_in_is_refused() -> None:
    with pytest.raises(InvalidInput, match="candidate: None is not possible"):
        filled(transfer={"job": "a1b2"})
