import random
from collections import Counter
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest

from nas.space import (
    Candidate,
    Categorical,
    Cell,
    CellSpace,
    Edge,
    Genotype,
    Layer,
    LayerNet,
    ResidualNet,
    Shape,
    known,
)
from nas.space.distributions import Value
from nas.space.operations import DEFAULT_OPERATIONS, OPERATIONS
from tests.space.isomorphism import isomorphic, random_cell, renumbered

SPACE = CellSpace(DEFAULT_OPERATIONS, nodes=4)
SMALL = CellSpace(("skip_connect", "sep_conv_3x3"), nodes=2, shape=Shape(cells=3))
SINGLE = CellSpace(("sep_conv_3x3",), nodes=1, shape=Shape(cells=3))


def small(genotype: Genotype) -> Candidate:
    return Candidate(genotype, SMALL.shape)


def everything(space: CellSpace) -> Iterator[Candidate]:
    options = choices_of(space)
    for choice in product(*options.values()):
        yield space.decode(dict(zip(options, choice, strict=True)))


def choices_of(space: CellSpace) -> dict[str, tuple[Value, ...]]:
    found = space.distributions()
    return {name: given.choices for name, given in found.items() if isinstance(given, Categorical)}


@pytest.mark.parametrize(
    "space",
    [
        SPACE,
        SMALL,
        SINGLE,
        CellSpace(tuple(OPERATIONS), 8, Shape(channels=8, cells=4, tail=-2, stem="imagenet")),
        CellSpace(("none", "skip_connect"), 1, Shape(channels=1, cells=1)),
    ],
)
def test_what_is_drawn_is_of_the_space_and_comes_back_from_its_choices(space: CellSpace) -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        candidate = space.sample(rng)
        choices = space.encode(candidate)
        assert space.contains(candidate)
        assert space.decode(choices) == candidate
        assert list(choices) == list(choices_of(space)) == list(space.distributions())
        assert all(choice in choices_of(space)[name] for name, choice in choices.items())


def test_every_combination_of_choices_is_another_candidate_of_the_space() -> None:
    # A cell: one pair of sources and 2 × 2 operations for node 2, then three pairs and 2 × 2 operations for node 3.
    candidates = list(everything(SMALL))
    assert len(candidates) == len(set(candidates)) == (4 * 3 * 4) ** 2
    assert all(map(SMALL.contains, candidates))


def test_the_choices_of_a_candidate_are_its_sources_and_operations() -> None:
    normal = Cell(
        ((Edge("skip_connect", 0), Edge("sep_conv_3x3", 1)), (Edge("sep_conv_3x3", 0), Edge("skip_connect", 2))), (2, 3)
    )
    reduce = Cell(
        ((Edge("skip_connect", 0), Edge("skip_connect", 1)), (Edge("sep_conv_3x3", 1), Edge("sep_conv_3x3", 2))), (2, 3)
    )
    assert SMALL.encode(small(Genotype(normal, reduce))) == {
        "normal.2.op_a": "skip_connect",
        "normal.2.op_b": "sep_conv_3x3",
        "normal.3.sources": "0,2",
        "normal.3.op_a": "sep_conv_3x3",
        "normal.3.op_b": "skip_connect",
        "reduce.2.op_a": "skip_connect",
        "reduce.2.op_b": "skip_connect",
        "reduce.3.sources": "1,2",
        "reduce.3.op_a": "sep_conv_3x3",
        "reduce.3.op_b": "sep_conv_3x3",
    }


def test_all_candidates_are_equally_likely() -> None:
    space = CellSpace(("skip_connect", "sep_conv_3x3"), nodes=1)
    rng = np.random.default_rng(0)
    drawn = Counter(space.sample(rng) for _ in range(16_000))
    candidates = list(everything(space))
    assert len(candidates) == 16
    chi_square = sum((drawn[candidate] - 1_000) ** 2 / 1_000 for candidate in candidates)
    assert chi_square < 37.7  # exceeded once in a thousand by a uniform sample: 15 degrees of freedom


def test_all_sources_are_equally_likely() -> None:
    rng = np.random.default_rng(0)
    drawn: Counter[tuple[int, ...]] = Counter()
    for _ in range(5_000):
        genotype = SPACE.sample(rng).architecture
        assert isinstance(genotype, Genotype)
        drawn.update(tuple(edge.source for edge in cell.nodes[3]) for cell in (genotype.normal, genotype.reduce))
    assert set(drawn) == {(a, b) for b in range(5) for a in range(b)}
    assert sum((count - 1_000) ** 2 / 1_000 for count in drawn.values()) < 27.9  # 9 degrees of freedom, as above


def test_the_same_generator_draws_the_same_candidate() -> None:
    assert SPACE.sample(np.random.default_rng(3)) == SPACE.sample(np.random.default_rng(3))
    assert SPACE.sample(np.random.default_rng(3)) != SPACE.sample(np.random.default_rng(4))


def test_a_space_of_one_candidate_draws_it() -> None:
    cell = Cell(((Edge("sep_conv_3x3", 0), Edge("sep_conv_3x3", 1)),), (2,))
    assert SINGLE.sample(np.random.default_rng(0)) == Candidate(Genotype(cell, cell), Shape(cells=3))


GOOD = Cell(
    ((Edge("skip_connect", 0), Edge("sep_conv_3x3", 1)), (Edge("sep_conv_3x3", 0), Edge("skip_connect", 2))), (2, 3)
)
STRANGE = {
    "another operation": Cell(((Edge("max_pool_3x3", 0), Edge("sep_conv_3x3", 1)), GOOD.nodes[1]), (2, 3)),
    "a node less": Cell(GOOD.nodes[:1], (2,)),
    "a node more": Cell((*GOOD.nodes, GOOD.nodes[1]), (2, 3, 4)),
    "an output less": Cell(GOOD.nodes, (2,)),
    "the output in another order": Cell(GOOD.nodes, (3, 2)),
    "edges in another order": Cell((GOOD.nodes[0], GOOD.nodes[1][::-1]), (2, 3)),
    "the same source twice": Cell((GOOD.nodes[0], (Edge("skip_connect", 1), Edge("sep_conv_3x3", 1))), (2, 3)),
    "one edge": Cell((GOOD.nodes[0], GOOD.nodes[1][:1]), (2, 3)),
    "three edges": Cell((GOOD.nodes[0], (GOOD.nodes[1][0], Edge("skip_connect", 1), GOOD.nodes[1][1])), (2, 3)),
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE.keys())
def test_other_cells_are_not_of_the_space(strange: Cell) -> None:
    assert SMALL.contains(small(Genotype(GOOD, GOOD)))
    for genotype in (Genotype(strange, GOOD), Genotype(GOOD, strange)):
        assert not SMALL.contains(small(genotype))
        with pytest.raises(ValueError, match="is not a candidate of"):
            SMALL.encode(small(genotype))


@pytest.mark.parametrize(
    "candidate",
    [
        Candidate(ResidualNet(8, 2)),
        Candidate(LayerNet((Layer("conv", 8),)), SMALL.shape),
        Candidate(Genotype(GOOD, GOOD)),  # of four cells
        Candidate(Genotype(GOOD, GOOD), SMALL.shape.model_copy(update={"activation": "gelu"})),
        Candidate(Genotype(GOOD, GOOD), SMALL.shape, recipe=(("lr", 0.1),)),
    ],
)
def test_other_networks_frames_and_recipes_are_not_of_the_space(candidate: Candidate) -> None:
    assert not SMALL.contains(candidate)
    with pytest.raises(ValueError, match="is not a candidate of"):
        SMALL.encode(candidate)


def test_candidates_have_the_same_digest_exactly_if_their_cells_are_isomorphic() -> None:
    rng = random.Random(0)

    def cell() -> Cell:
        return random_cell(rng, nodes=rng.randint(1, 2), ops=("none", "skip_connect"), first_output=2)

    same = 0
    for _ in range(1_500):
        one = Genotype(cell(), cell())
        other = Genotype(rng.choice((cell(), renumbered(one.normal, rng))), rng.choice((cell(), one.reduce)))
        expected = isomorphic(one.normal, other.normal) and isomorphic(one.reduce, other.reduce)
        assert (SPACE.digest(Candidate(one)) == SPACE.digest(Candidate(other))) == expected, (one, other)
        same += expected
    assert 200 < same < 1_300


def test_no_two_candidates_of_a_small_space_that_are_not_isomorphic_share_a_digest() -> None:
    space = CellSpace(("skip_connect", "sep_conv_3x3"), nodes=2)
    first = GOOD
    cells = {
        genotype.reduce for genotype in (c.architecture for c in everything(space)) if isinstance(genotype, Genotype)
    }
    by_digest: dict[str, list[Cell]] = {}
    for cell in cells:
        by_digest.setdefault(space.digest(Candidate(Genotype(first, cell))), []).append(cell)
    kinds: list[Cell] = []
    for cell in cells:
        if not any(isomorphic(cell, kind) for kind in kinds):
            kinds.append(cell)
    assert len(by_digest) == len(kinds) < len(cells)
    assert all(isomorphic(group[0], cell) for group in by_digest.values() for cell in group)


@pytest.mark.parametrize("cells", [1, 2, 3, 4, 20])
def test_the_normal_cell_counts_where_the_network_has_one(cells: int) -> None:
    shape = Shape(cells=cells)
    other = Cell((GOOD.nodes[0], (Edge("skip_connect", 0), Edge("skip_connect", 2))), (2, 3))
    one, two, three = (Candidate(Genotype(*pair), shape) for pair in ((GOOD, GOOD), (other, GOOD), (GOOD, other)))
    assert (SPACE.digest(one) == SPACE.digest(two)) == (cells < 3)
    assert SPACE.digest(one) != SPACE.digest(three)


def test_the_reduction_cell_counts_where_the_network_has_one() -> None:
    other = Cell((GOOD.nodes[0], (Edge("skip_connect", 0), Edge("skip_connect", 2))), (2, 3))
    for tail, built in ((0, True), (-2, True), (-3, False)):  # of four cells the second and the third reduce
        shape = Shape(cells=4, tail=tail)
        one, two = (Candidate(Genotype(GOOD, cell), shape) for cell in (GOOD, other))
        assert (SPACE.digest(one) != SPACE.digest(two)) == built


def test_the_two_cells_do_not_change_places_in_a_digest() -> None:
    other = Cell((GOOD.nodes[0], (Edge("skip_connect", 0), Edge("skip_connect", 2))), (2, 3))
    assert SPACE.digest(Candidate(Genotype(GOOD, other))) != SPACE.digest(Candidate(Genotype(other, GOOD)))


def test_residual_networks_have_digests_too() -> None:
    candidates = [Candidate(ResidualNet(8, 2)), Candidate(ResidualNet(2, 8)), Candidate(known("DARTS_V2"))]
    assert len({SPACE.digest(candidate) for candidate in candidates}) == 3
    assert SPACE.digest(candidates[0]) == SPACE.digest(Candidate(ResidualNet(8, 2)))


def test_a_digest_is_64_hexadecimal_digits() -> None:
    digest = SPACE.digest(SPACE.sample(np.random.default_rng(0)))
    assert len(digest) == 64
    assert set(digest) <= set("0123456789abcdef")
