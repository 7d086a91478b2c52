import json
from typing import Any

import pytest
from hypothesis import given

from nas.errors import InvalidInput
from nas.space import Candidate, Genotype, ResidualNet, known
from tests.space.given import genotypes


@given(genotypes())
def test_a_candidate_of_cells_comes_back_from_json(genotype: Genotype) -> None:
    candidate = Candidate(genotype)
    assert Candidate.from_json(json.loads(json.dumps(candidate.to_json()))) == candidate


def test_a_residual_network_comes_back_from_json() -> None:
    candidate = Candidate(ResidualNet(width=8, blocks=2))
    assert candidate.to_json() == {"residual": {"width": 8, "blocks": 2}}
    assert Candidate.from_json(json.loads(json.dumps(candidate.to_json()))) == candidate


GENOTYPE = known("DARTS_V2").to_json()


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
        {"residual": None},
        {"residual": {"width": 8}},
        {"residual": {"width": 8, "blocks": 2, "depth": 3}},
        {"residual": {"width": "8", "blocks": 2}},
        {"residual": {"width": 8, "blocks": 2.0}},
        {"residual": {"width": 8, "blocks": True}},
        {"residual": {"width": 8, "blocks": 2}, "name": "x"},
    ],
)
def test_json_that_is_no_candidate_is_refused(data: Any) -> None:
    with pytest.raises(InvalidInput):
        Candidate.from_json(data)
