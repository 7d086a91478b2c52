"""From shares to genotypes, against the plainest way to choose."""

import math
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from nas.oneshot.discretise import drawn, entropy, skip_mass, skip_share, strongest
from nas.oneshot.mixing import edge_places
from nas.space import Cell, CellSpace, Edge, Genotype
from tests.shapes import unchecked

OPS = ("skip_connect", "none", "conv_1x1", "sep_conv_3x3")


def strengths(nodes: int, seed: int, ops: int = len(OPS)) -> dict[str, npt.NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return {kind: rng.dirichlet(np.ones(ops), len(edge_places(nodes))) for kind in ("normal", "reduce")}


def brute_force(nodes: int, table: npt.NDArray[np.float64]) -> Cell:
    """Of all pairs of sources and operations, none aside, those with the largest sum of strengths, node by node."""
    found = []
    for node in range(2, 2 + nodes):
        best: Any = None
        for a, b in combinations(range(node), 2):
            for op_a in range(len(OPS)):
                for op_b in range(len(OPS)):
                    if "none" in (OPS[op_a], OPS[op_b]):
                        continue
                    places = edge_places(nodes)
                    total = table[places.index((node, a)), op_a] + table[places.index((node, b)), op_b]
                    if best is None or total > best[0]:
                        best = total, (Edge(OPS[op_a], a), Edge(OPS[op_b], b))
        found.append(best[1])
    return Cell(tuple(found), tuple(range(2, 2 + nodes)))


@pytest.mark.parametrize("nodes", [1, 2, 4])
def test_the_strongest_two_edges_into_each_node_are_kept(nodes: int) -> None:
    space = CellSpace(OPS, nodes)
    for seed in range(10):
        table = strengths(nodes, seed)
        found = strongest(space, table)
        expected = Genotype(brute_force(nodes, table["normal"]), brute_force(nodes, table["reduce"]))
        assert found.architecture == expected
        assert space.contains(found)


def test_none_is_not_chosen_however_strong_it_is() -> None:
    space = CellSpace(("none", "conv_1x1"), 2)
    table = {kind: np.tile([0.99, 0.01], (len(edge_places(2)), 1)) for kind in ("normal", "reduce")}
    found = strongest(space, table)
    assert "none" not in str(found)
    assert space.contains(found)


def test_draws_are_of_the_space_and_follow_the_strengths() -> None:
    space = CellSpace(OPS, 2)
    table = strengths(2, 0)
    rng = np.random.default_rng(0)
    found = [drawn(space, table, rng)]
    with unchecked(True):
        found += [drawn(space, table, rng) for _ in range(2999)]
    assert all(space.contains(candidate) for candidate in found)
    # Into the first node lead two edges only, so that nothing but their operations is drawn.
    first = [candidate.architecture.normal.nodes[0][0].op for candidate in found]  # type: ignore[union-attr]
    choosable = table["normal"][0][[0, 2, 3]]
    for share, op in zip(choosable / choosable.sum(), ("skip_connect", "conv_1x1", "sep_conv_3x3"), strict=True):
        assert abs(first.count(op) / 3000 - share) < 4 * math.sqrt(0.25 / 3000)


def test_entropy_is_one_of_equal_shares_and_zero_of_certainty() -> None:
    edges = len(edge_places(2))
    assert entropy({kind: np.full((edges, 4), 0.25) for kind in ("normal", "reduce")}) == pytest.approx(1.0)
    assert entropy({kind: np.tile([1.0, 0, 0, 0], (edges, 1)) for kind in ("normal", "reduce")}) == 0.0
    assert entropy({kind: np.ones((edges, 1)) for kind in ("normal", "reduce")}) == 0.0
    table = {"normal": np.array([[0.5, 0.5], [0.9, 0.1]]), "reduce": np.array([[1.0, 0.0], [0.5, 0.5]])}
    uneven = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1)) / math.log(2)
    assert entropy(table) == pytest.approx((1 + uneven + 0 + 1) / 4)


def test_skip_shares_count_edges_and_mass() -> None:
    normal = Cell(((Edge("skip_connect", 0), Edge("conv_1x1", 1)),), (2,))
    reduce = Cell(((Edge("conv_1x1", 0), Edge("conv_1x1", 1)),), (2,))
    assert skip_share(Genotype(normal, reduce)) == 0.25
    table = {"normal": np.array([[0.5, 0.5], [0.9, 0.1]]), "reduce": np.array([[1.0, 0.0], [0.0, 1.0]])}
    assert skip_mass(("skip_connect", "conv_1x1"), table) == pytest.approx((0.5 + 0.9 + 1.0 + 0.0) / 4)
    assert skip_mass(("conv_3x3", "conv_1x1"), table) == 0.0
