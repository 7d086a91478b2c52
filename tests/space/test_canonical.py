import random

from hypothesis import given
from hypothesis import strategies as st

from nas.space import Cell, Edge
from nas.space.canonical import canonical
from tests.space.given import cells
from tests.space.isomorphism import isomorphic, random_cell, renumbered, slightly_changed

FEW = ("none", "skip_connect", "max_pool_3x3")
"""So few operations that cells are often alike, wholly or in parts."""


@given(cells(), st.randoms(use_true_random=False))
def test_a_renumbered_cell_has_the_same_form(cell: Cell, rng: random.Random) -> None:
    assert canonical(renumbered(cell, rng)) == canonical(cell)


def test_random_cells_have_one_form_exactly_if_a_renumbering_makes_them_equal() -> None:
    rng = random.Random(0)
    same = 0
    for _ in range(4_000):
        size, ops = rng.choice((1, 2, 2, 2, 3)), FEW[: rng.randint(1, 2)]
        one, other = (random_cell(rng, nodes=size, edges=2, ops=ops, first_output=2) for _ in range(2))
        expected = isomorphic(one, other)
        assert (canonical(one) == canonical(other)) == expected, (one, other)
        same += expected
    assert 200 < same < 3_800


def test_a_small_change_changes_the_form_exactly_if_no_renumbering_undoes_it() -> None:
    rng = random.Random(1)
    same = 0
    for _ in range(3_000):
        one = random_cell(rng, nodes=rng.randint(2, 5), ops=FEW)
        other = renumbered(slightly_changed(one, rng), rng)
        expected = isomorphic(one, other)
        assert (canonical(one) == canonical(other)) == expected, (one, other)
        same += expected
    assert 200 < same < 2_800


def test_cells_that_no_colouring_tells_apart_are_told_apart() -> None:
    """Every source is used by two sums, and every sum takes two sources: once in one ring, once in two pairs."""

    def joined(pairs: list[tuple[int, int]]) -> Cell:
        sources = tuple((Edge("skip_connect", 0),) for _ in range(4))
        sums = tuple((Edge("skip_connect", 2 + a), Edge("skip_connect", 2 + b)) for a, b in pairs)
        return Cell(sources + sums, tuple(range(6, 10)))

    ring = joined([(0, 1), (1, 2), (2, 3), (3, 0)])
    assert canonical(ring) != canonical(joined([(0, 1), (0, 1), (2, 3), (2, 3)]))
    assert canonical(ring) == canonical(joined([(3, 1), (0, 2), (0, 1), (2, 3)]))


def test_the_source_of_a_none_edge_does_not_count() -> None:
    def cell(source: int) -> Cell:
        return Cell(((Edge("skip_connect", 0),), (Edge("none", source), Edge("skip_connect", 1))), (2, 3))

    assert canonical(cell(0)) == canonical(cell(1)) == canonical(cell(2))


def test_the_source_of_any_other_edge_counts() -> None:
    def cell(source: int) -> Cell:
        return Cell(((Edge("skip_connect", 0),), (Edge("max_pool_3x3", source), Edge("skip_connect", 1))), (2, 3))

    assert len({canonical(cell(0)), canonical(cell(1)), canonical(cell(2))}) == 3


def test_the_two_inputs_of_a_cell_are_not_alike() -> None:
    assert canonical(Cell(((Edge("skip_connect", 0),),), (2,))) != canonical(Cell(((Edge("skip_connect", 1),),), (2,)))
    nodes = ((Edge("skip_connect", 0), Edge("skip_connect", 1)),)
    assert canonical(Cell(nodes, (2, 0))) != canonical(Cell(nodes, (2, 1)))


def test_how_often_a_node_is_put_out_counts() -> None:
    nodes = ((Edge("skip_connect", 0),),)
    assert canonical(Cell(nodes, (2,))) != canonical(Cell(nodes, (2, 2)))


def test_twins_are_described_quickly_however_many_there_are() -> None:
    twins = tuple((Edge("skip_connect", 0), Edge("skip_connect", 1)) for _ in range(40))
    cell = Cell(twins, tuple(range(2, 42)))
    assert canonical(cell) == canonical(Cell(twins, tuple(reversed(range(2, 42)))))
