import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import InvalidInput
from nas.space import Candidate, Genotype, Layer, LayerNet, ResidualNet, Shape, known
from tests.space.given import genotypes, layer_nets, shapes

values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
recipes = st.dictionaries(st.text(), values, max_size=4).map(lambda found: tuple(sorted(found.items())))


@given(genotypes() | layer_nets() | st.builds(ResidualNet, st.integers(1), st.integers(1)), shapes(), recipes)
def test_a_candidate_comes_back_from_json(
    architecture: Genotype | LayerNet | ResidualNet, shape: Shape, recipe: tuple[tuple[str, Any], ...]
) -> None:
    candidate = Candidate(architecture, shape, recipe)
    again = Candidate.from_json(json.loads(json.dumps(candidate.to_json())))
    assert again == candidate
    assert hash(again) == hash(candidate)
    assert repr(again) == repr(candidate)  # True is not 1, and 1 is not 1.0


def test_a_candidate_is_written_with_its_frame_and_what_it_chose_of_the_recipe() -> None:
    network = LayerNet((Layer("conv", 8),))
    assert Candidate(network, Shape(norm="group"), (("flip", True), ("lr", 0.1))).to_json() == {
        "layers": [["conv", 8, 3, False]],
        "shape": Shape(norm="group").model_dump(),
        "recipe": {"flip": True, "lr": 0.1},
    }
    darts = known("DARTS_V2")
    assert Candidate(darts).to_json() == {"genotype": darts.to_json(), "shape": Shape().model_dump()}


def test_a_residual_network_has_no_frame() -> None:
    candidate = Candidate(ResidualNet(width=8, blocks=2), Shape(channels=3))
    assert candidate == Candidate(ResidualNet(width=8, blocks=2))
    assert candidate.to_json() == {"residual": {"width": 8, "blocks": 2}}
    assert Candidate.from_json(candidate.to_json(), Shape(channels=5)) == candidate


GENOTYPE = known("DARTS_V2").to_json()


def test_what_an_older_version_wrote_has_the_frame_of_its_job() -> None:
    frame = Shape(channels=5, cells=7)
    assert Candidate.from_json({"genotype": GENOTYPE}, frame) == Candidate(known("DARTS_V2"), frame)
    assert Candidate.from_json({"genotype": GENOTYPE}) == Candidate(known("DARTS_V2"))
    own = {"genotype": GENOTYPE, "shape": {"channels": 6}}
    assert Candidate.from_json(own, frame) == Candidate(known("DARTS_V2"), Shape(channels=6))


def test_the_recipe_of_a_candidate_is_in_the_order_of_its_names() -> None:
    candidate = Candidate.from_json({"genotype": GENOTYPE, "recipe": {"lr": 0.1, "flip": False}})
    assert candidate.recipe == (("flip", False), ("lr", 0.1))


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "DARTS_V2",
        {},
        GENOTYPE,
        {"genotype": None},
        {"genotype": GENOTYPE, "name": "a field that to_json never writes"},
        {"genotype": GENOTYPE, "residual": {"width": 8, "blocks": 2}},
        {"genotype": GENOTYPE, "layers": [["conv", 8, 3, False]]},
        {"genotype": GENOTYPE, "shape": None},
        {"genotype": GENOTYPE, "shape": {"channels": 0}},
        {"genotype": GENOTYPE, "shape": {"channels": 8.0}},
        {"genotype": GENOTYPE, "shape": {"width": 8}},
        {"genotype": GENOTYPE, "recipe": None},
        {"genotype": GENOTYPE, "recipe": [["lr", 0.1]]},
        {"genotype": GENOTYPE, "recipe": {"lr": [0.1]}},
        {"genotype": GENOTYPE, "recipe": {"lr": {"low": 0.1}}},
        {"genotype": GENOTYPE, "recipe": {"lr": math.nan}},
        {"layers": []},
        {"layers": [["conv", 8, 3]]},
        {"layers": [["conv", 8, 3, False]], "extra": 1},
        {"residual": None},
        {"residual": {"width": 8}},
        {"residual": {"width": 8, "blocks": 2, "depth": 3}},
        {"residual": {"width": "8", "blocks": 2}},
        {"residual": {"width": 8, "blocks": 2.0}},
        {"residual": {"width": 8, "blocks": True}},
        {"residual": {"width": 0, "blocks": 2}},
        {"residual": {"width": 8, "blocks": 0}},
        {"residual": {"width": 8, "blocks": 2}, "name": "x"},
    ],
)
def test_json_that_is_no_candidate_is_refused(data: Any) -> None:
    with pytest.raises(InvalidInput):
        Candidate.from_json(data)
