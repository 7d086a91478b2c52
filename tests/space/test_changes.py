"""What tells two cells from each other."""

from nas.space import Cell, Edge
from nas.space.changes import CellChange


def cell(*nodes: list[tuple[str, int]], concat: tuple[int, ...] = (2, 3)) -> Cell:
    return Cell(tuple(tuple(Edge(op, source) for op, source in edges) for edges in nodes), concat)


SKIP, POOL, CONV = "skip_connect", "max_pool_3x3", "sep_conv_3x3"
BEFORE = cell([(SKIP, 0), (CONV, 1)], [(POOL, 2), (CONV, 0)])


def test_a_cell_does_not_differ_from_itself() -> None:
    assert CellChange.between(BEFORE, BEFORE) == CellChange((), ())


def test_the_order_of_a_nodes_edges_is_no_change() -> None:
    assert CellChange.between(BEFORE, cell([(CONV, 1), (SKIP, 0)], [(CONV, 0), (POOL, 2)])) == CellChange((), ())


def test_another_operation_is_an_edge_less_and_an_edge_more() -> None:
    after = cell([(SKIP, 0), (POOL, 1)], [(POOL, 2), (CONV, 0)])
    added, removed = "max_pool_3x3: node 1 → node 2", "sep_conv_3x3: node 1 → node 2"
    assert CellChange.between(BEFORE, after) == CellChange((added,), (removed,))
    assert CellChange.between(after, BEFORE) == CellChange((removed,), (added,))


def test_an_edge_that_a_node_has_twice_counts_twice() -> None:
    twice = cell([(SKIP, 0), (SKIP, 0)], [(SKIP, 0), (SKIP, 1)])
    once = cell([(SKIP, 0)], [(SKIP, 0), (SKIP, 1)])
    assert CellChange.between(once, twice) == CellChange(("skip_connect: node 0 → node 2",), ())


def test_a_node_more_is_told_by_its_edges_and_the_output_is_no_node() -> None:
    after = cell([(SKIP, 0), (CONV, 1)], [(POOL, 2), (CONV, 0)], [(SKIP, 3), (SKIP, 1)], concat=(3, 4))
    assert CellChange.between(BEFORE, after) == CellChange(
        ("skip_connect: node 1 → node 4", "skip_connect: node 3 → node 4", "concat: node 4 → output"),
        ("concat: node 2 → output",),
    )
