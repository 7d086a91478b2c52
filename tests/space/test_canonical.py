import random
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.space import Candidate, Cell, Edge, Genotype, Layer, LayerNet, ResidualNet, Shape, digest, is_reduction, known
from nas.space.canonical import canonical
from nas.space.distributions import Value
from nas.space.layers import LAYER_KINDS
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


def genotype(normal: Cell, reduce: Cell = Cell(((Edge("skip_connect", 0),),), (2,))) -> Genotype:  # noqa: B008
    return Genotype(normal, reduce)


def test_in_a_residual_skeleton_the_order_of_the_output_counts() -> None:
    """A shortcut adds channel to channel: which node stands where in the output makes another network there."""
    nodes = ((Edge("skip_connect", 0), Edge("skip_connect", 1)), (Edge("conv_3x3", 1), Edge("skip_connect", 0)))
    one, two = genotype(Cell(nodes, (2, 3))), genotype(Cell(nodes[::-1], (2, 3)))
    for skeleton, same in (("stacked", True), ("residual", False)):
        shape = Shape.model_validate({"cells": 8, "skeleton": skeleton})
        assert (digest(Candidate(one, shape)) == digest(Candidate(two, shape))) == same
    back = genotype(Cell(nodes[::-1], (3, 2)))
    stacked, residual = Shape(cells=8), Shape(cells=8, skeleton="residual")
    assert digest(Candidate(one, stacked)) == digest(Candidate(back, stacked))
    edges = genotype(Cell((nodes[0][::-1], nodes[1]), (2, 3)))
    assert digest(Candidate(one, residual)) == digest(Candidate(edges, residual))


@pytest.mark.parametrize("auxiliary", [0.0, 0.4])
def test_frames_that_come_to_the_same_cells_are_the_same(auxiliary: float) -> None:
    cells = known("DARTS_V2")
    by_kinds: dict[tuple[bool, ...], set[str]] = {}
    for count in range(1, 7):
        for tail in range(-7, 4):
            shape = Shape(cells=count, tail=tail, auxiliary=auxiliary)
            by_kinds.setdefault(is_reduction(shape), set()).add(digest(Candidate(cells, shape)))
    assert all(len(digests) == 1 for digests in by_kinds.values())
    assert len(set.union(*by_kinds.values())) == len(by_kinds) > 10


@pytest.mark.parametrize("name", sorted(set(Shape.model_fields) - {"cells", "tail"}))
def test_every_other_field_of_the_frame_counts(name: str) -> None:
    other = {
        "channels": 9,
        "skeleton": "residual",
        "stem": "imagenet",
        "merge": "concat",
        "activation": "silu",
        "norm": "group",
        "downsample": "conv",
        "dropout": 0.1,
        "drop_path": 0.1,
        "auxiliary": 0.4,
    }
    changed = Shape.model_validate({name: other[name]})
    cells, layers = known("DARTS_V2"), LayerNet((Layer("conv", 8),))
    assert digest(Candidate(cells, changed)) != digest(Candidate(cells))
    of_layers = {"skeleton", "activation", "norm", "downsample", "dropout"}
    assert (digest(Candidate(layers, changed)) != digest(Candidate(layers))) == (name in of_layers)


def test_the_recipe_of_a_candidate_counts() -> None:
    networks: list[Genotype | LayerNet | ResidualNet] = [
        known("DARTS_V2"),
        LayerNet((Layer("conv", 8),)),
        ResidualNet(8, 2),
    ]
    for network in networks:
        recipes: list[tuple[tuple[str, Value], ...]] = [
            (),
            (("lr", 0.1),),
            (("lr", 0.2),),
            (("flip", True),),
            (("flip", False),),
            (("flip", 1),),
        ]
        assert len({digest(Candidate(network, recipe=recipe)) for recipe in recipes}) == len(recipes)


HALF = ("conv_down", "max_pool", "avg_pool")


def same_network(one: LayerNet, other: LayerNet) -> bool:
    """Whether the groups are the same up to their order: with their stride, and a strided convolution is one."""

    def described(group: tuple[Layer, ...]) -> list[tuple[str, int, int]]:
        return [(layer.kind.removesuffix("_down"), layer.width, layer.kernel) for layer in group]

    pairs = list(zip(one.groups(), other.groups(), strict=False))
    return len(one.groups()) == len(other.groups()) and all(
        (a[0].kind in HALF) == (b[0].kind in HALF)
        and any(list(order) == described(b) for order in permutations(described(a)))
        for a, b in pairs
    )


def test_layers_side_by_side_may_stand_in_any_order() -> None:
    rng = random.Random(0)

    def network() -> LayerNet:
        kinds = rng.choice((("conv", "conv_down"), ("conv", "conv_down", "max_pool")))
        return LayerNet(
            tuple(
                Layer(rng.choice(kinds), rng.choice((4, 5)), parallel=index > 0 and rng.random() < 0.8)
                for index in range(rng.randint(2, 3))
            )
        )

    def shuffled(network: LayerNet) -> LayerNet:
        layers: list[Layer] = []
        for group in network.groups():
            order = rng.sample(group, len(group))
            layers += [replace(layer, parallel=index > 0) for index, layer in enumerate(order)]
        return LayerNet(tuple(layers))

    same = 0
    for _ in range(2_000):
        one = network()
        other = rng.choice((network(), shuffled(one)))
        expected = same_network(one, other)
        assert (digest(Candidate(one)) == digest(Candidate(other))) == expected, (one, other)
        same += expected and one != other
    assert 100 < same < 1_000


@pytest.mark.parametrize("kind", [kind for kind in LAYER_KINDS if kind in HALF])
def test_the_first_of_layers_side_by_side_sets_their_stride(kind: str) -> None:
    conv, pool = Layer("conv", 8), Layer(kind, 8)
    beside = {layer: Layer(layer.kind, 8, parallel=True) for layer in (conv, pool)}
    one, two = LayerNet((conv, beside[pool])), LayerNet((pool, beside[conv]))
    assert digest(Candidate(one)) != digest(Candidate(two))


@pytest.mark.parametrize(
    ("after", "skeleton", "same"),
    [("conv", "stacked", True), ("grouped", "stacked", False), ("conv", "residual", False)],
)
def test_the_order_counts_where_a_shortcut_or_groups_of_channels_see_it(after: str, skeleton: str, same: bool) -> None:
    shape = Shape.model_validate({"skeleton": skeleton})

    def network(*widths: int) -> Candidate:
        layers = [Layer("conv", width, parallel=index > 0) for index, width in enumerate(widths)]
        return Candidate(LayerNet((*layers, Layer(after, 8))), shape)

    assert (digest(network(4, 5, 6)) == digest(network(5, 4, 6))) == same


def test_two_layers_in_the_other_order_only_mirror_the_groups_of_channels() -> None:
    one = LayerNet((Layer("conv", 4), Layer("conv", 5, parallel=True), Layer("grouped", 8)))
    two = LayerNet((Layer("conv", 5), Layer("conv", 4, parallel=True), Layer("grouped", 8)))
    assert digest(Candidate(one)) == digest(Candidate(two))


def test_networks_of_different_kinds_have_different_digests() -> None:
    networks: list[Genotype | LayerNet | ResidualNet] = [
        known("DARTS_V1"),
        known("DARTS_V2"),
        ResidualNet(8, 2),
        ResidualNet(2, 8),
        LayerNet((Layer("conv", 8),)),
    ]
    assert len({digest(Candidate(network)) for network in networks}) == len(networks)
