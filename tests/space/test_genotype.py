import json
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given

from nas.errors import GenotypeError, InvalidInput, UserError
from nas.space import Cell, Edge, Genotype
from nas.space.genotype import MAX_NODES
from tests.space.given import cells, genotypes

SKIP = Edge("skip_connect", 0)
CELL = Cell(((SKIP, Edge("max_pool_3x3", 1)), (Edge("sep_conv_3x3", 2),)), (2, 3))
JSON: dict[str, Any] = {
    "nodes": [[["skip_connect", 0], ["max_pool_3x3", 1]], [["sep_conv_3x3", 2]]],
    "concat": [2, 3],
}


def test_a_cell_is_written_as_lists() -> None:
    assert CELL.to_json() == JSON


@given(cells())
def test_a_cell_comes_back_from_json(cell: Cell) -> None:
    assert Cell.from_json(json.loads(json.dumps(cell.to_json()))) == cell


@given(genotypes())
def test_a_genotype_comes_back_from_json(genotype: Genotype) -> None:
    assert Genotype.from_json(json.loads(json.dumps(genotype.to_json()))) == genotype


@given(genotypes())
def test_equal_genotypes_are_one_key(genotype: Genotype) -> None:
    again = Genotype.from_json(genotype.to_json())
    assert again is not genotype
    assert {genotype: "found"}[again] == "found"


def test_a_cell_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        CELL.concat = (2,)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("nodes", "concat", "field", "value"),
    [
        ((), (2,), "nodes", 0),
        (((SKIP,),) * (MAX_NODES + 1), (2,), "nodes", MAX_NODES + 1),
        (((SKIP,), ()), (2,), "node 3", []),
        (((SKIP,), (Edge("conv_9x9", 0),)), (2,), "node 3", "conv_9x9"),
        (((Edge("skip_connect", -1),),), (2,), "node 2", -1),
        (((Edge("skip_connect", 2),),), (2,), "node 2", 2),
        (((SKIP,), (Edge("skip_connect", 4),), (SKIP,)), (2,), "node 3", 4),
        (((SKIP,),), (), "concat", []),
        (((SKIP,),), (2, -1), "concat", -1),
        (((SKIP,),), (2, 3), "concat", 3),
    ],
)
def test_a_cell_that_describes_no_network_is_refused_by_the_value_at_fault(
    nodes: tuple[tuple[Edge, ...], ...], concat: tuple[int, ...], field: str, value: object
) -> None:
    with pytest.raises(GenotypeError) as caught:
        Cell(nodes, concat)
    assert (caught.value.field, caught.value.value) == (field, value)
    assert str(caught.value).startswith(f"{field}: {value!r} is not possible: ")
    assert isinstance(caught.value, InvalidInput)
    assert isinstance(caught.value, UserError)


def test_an_unknown_operation_is_answered_with_the_known_ones() -> None:
    with pytest.raises(GenotypeError, match=r"sep_conv_3x3.*conv_7x1_1x7"):
        Cell(((Edge("sep_conv_4x4", 0),),), (2,))


def test_a_cell_of_the_largest_size_is_accepted() -> None:
    cell = Cell(tuple((Edge("skip_connect", index + 1),) for index in range(MAX_NODES)), (MAX_NODES + 1,))
    assert Cell.from_json(cell.to_json()) == cell


def test_an_output_may_name_a_node_twice() -> None:
    cell = Cell(((SKIP,),), (2, 2, 0))
    assert Cell.from_json(cell.to_json()).concat == (2, 2, 0)


@pytest.mark.parametrize("index", [0, 1])
def test_a_reduction_cell_may_not_put_out_its_inputs(index: int) -> None:
    cell = Cell(((SKIP,),), (2, index))
    with pytest.raises(GenotypeError) as caught:
        Genotype(CELL, cell)
    assert (caught.value.field, caught.value.value) == ("reduce.concat", index)
    assert Genotype(cell, CELL).normal == cell


@pytest.mark.parametrize(
    "data",
    [
        None,
        3,
        "cell",
        [],
        {},
        [["nodes", []], ["concat", [2]]],
        {"nodes": JSON["nodes"]},
        {"concat": [2]},
        {"nodes": None, "concat": [2]},
        {"nodes": 1, "concat": [2]},
        {"nodes": [[["skip_connect"]]], "concat": [2]},
        {"nodes": [[["skip_connect", 0, 1]]], "concat": [2]},
        {"nodes": [["skip_connect", 0]], "concat": [2]},
        {"nodes": [["ab"]], "concat": [2]},
        {"nodes": [[[0, "skip_connect"]]], "concat": [2]},
        {"nodes": [[[["skip_connect"], 0]]], "concat": [2]},
        {"nodes": [[["skip_connect", "0"]]], "concat": [2]},
        {"nodes": [[["skip_connect", 0.0]]], "concat": [2]},
        {"nodes": [[["skip_connect", False]]], "concat": [2]},
        {"nodes": [[["skip_connect", None]]], "concat": [2]},
        {"nodes": [[["skip_connect", 0]]], "concat": 2},
        {"nodes": [[["skip_connect", 0]]], "concat": "2"},
        {"nodes": [[["skip_connect", 0]]], "concat": [2.0]},
        {"nodes": [[["skip_connect", 0]], [["skip_connect", 0]]], "concat": [2, True]},
        {"nodes": [[["skip_connect", 0]]], "concat": None},
        JSON | {"name": "a field that to_json never writes"},
    ],
)
def test_json_that_is_no_cell_is_refused(data: Any) -> None:
    with pytest.raises(GenotypeError):
        Cell.from_json(data)


def test_json_that_is_nested_too_deeply_is_refused() -> None:
    nodes: list[Any] = []
    for _ in range(5_000):
        nodes = [nodes]
    with pytest.raises(GenotypeError):
        Cell.from_json({"nodes": nodes, "concat": [2]})


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "genotype",
        {},
        {"normal": JSON},
        {"reduce": JSON},
        {"normal": JSON, "reduce": JSON, "extra": JSON},
        {"normal": JSON, "reduce": None},
        {"normal": {}, "reduce": JSON},
        {"normal": JSON, "reduce": JSON | {"concat": [0, 2]}},
    ],
)
def test_json_that_is_no_genotype_is_refused(data: Any) -> None:
    with pytest.raises(GenotypeError):
        Genotype.from_json(data)
