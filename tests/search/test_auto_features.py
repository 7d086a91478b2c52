from typing import Any

import numpy as np
import pytest

from nas.search.features import Encoder
from nas.space import (
    Candidate,
    Categorical,
    CategoricalSpace,
    CellSpace,
    Choices,
    FixedSpace,
    Integer,
    JointSpace,
    LayerSpace,
    Real,
    Space,
    known,
)
from tests.search.histories import draw

CELLS = CellSpace(("skip_connect", "max_pool_3x3", "sep_conv_3x3"), nodes=3)
NUMBERS = (
    ("recipe.ema", Real(0.0, 0.8)),
    ("recipe.flip", Categorical((False, True))),
    ("recipe.lr", Real(1e-4, 1.0, log=True)),
    ("space.channels", Integer(4, 64, log=True)),
    ("space.tail", Integer(-2, 3)),
)
SPACES: dict[str, Space[Any]] = {
    "cells": CELLS,
    "cells of one node": CellSpace(("skip_connect", "sep_conv_3x3"), nodes=1),
    "choices": CategoricalSpace({"a": (1, 2.0, "x", None, False), "b": (0.1, 0.2, 0.4), "c": ("only",)}),
    "choices named like those of cells": CategoricalSpace({"normal.2.op_a": ("a", "b"), "normal.3.sources": (1, 2)}),
    "layers": LayerSpace(most=5),
    "numbers": JointSpace(FixedSpace(Candidate(known("DARTS_V2"))), NUMBERS),
    "cells with numbers": JointSpace(CELLS, NUMBERS),
    "layers with numbers": JointSpace(LayerSpace(most=3, parallel=False), NUMBERS),
}


def distance(space: Space[Any], one: Any, other: Any) -> float:
    """Squared, between the features of two candidates."""
    encoder = Encoder(space)
    first, second = encoder.features(encoder.codes([one, other]))
    return float(((first - second) ** 2).sum())


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_codes_are_decoded_to_the_candidates_that_they_came_of(space: Space[Any]) -> None:
    encoder, candidates = Encoder(space), draw(space, 20)
    assert [encoder.candidate(codes) for codes in encoder.codes(candidates)] == candidates


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_mutations_are_of_the_space_and_coded_as_it_encodes_them(space: Space[Any]) -> None:
    encoder = Encoder(space)
    codes = encoder.mutate(encoder.codes(draw(space, 60)), np.repeat([1, 2, 5], 20), np.random.default_rng(0))
    mutants = [encoder.candidate(row) for row in codes]
    assert all(map(space.contains, mutants))
    np.testing.assert_allclose(encoder.codes(mutants), codes)


def test_a_mutation_changes_as_many_parameters_as_it_has_steps() -> None:
    space = CategoricalSpace({f"edge {index}": ("a", "b", "c") for index in range(40)})
    encoder, steps = Encoder(space), np.array([0, 1, 1, 1, 2, 2, 3, 3])
    before = encoder.codes(draw(space, 8))
    after = encoder.mutate(before, steps, np.random.default_rng(3))
    assert (before != after).sum(1).tolist() == steps.tolist()


@pytest.mark.parametrize(
    "found", [Integer(0, 3), Integer(1, 1000, log=True), Integer(-5, -4), Real(-1.0, 2.0)], ids=str
)
def test_a_mutated_number_is_always_another_one_and_reaches_both_ends_of_its_range(found: Integer | Real) -> None:
    space = JointSpace(FixedSpace(Candidate(known("DARTS_V2"))), (("recipe.warmup", found),))
    encoder, rng = Encoder(space), np.random.default_rng(0)
    walk = [encoder.codes(draw(space, 300))]
    for _ in range(30):
        walk.append(encoder.mutate(walk[-1], np.ones(300, np.intp), rng))
        assert (walk[-1] != walk[-2]).all()
    span = found.high - found.low
    assert found.low <= min(map(np.min, walk)) <= found.low + 0.01 * span
    assert found.high - 0.01 * span <= max(map(np.max, walk)) <= found.high


def test_all_other_choices_are_equally_likely_in_a_mutation() -> None:
    space = CategoricalSpace({"op": ("a", "b", "c", "d")})
    encoder = Encoder(space)
    codes = encoder.codes([Choices((("op", "b"),))] * 3000)
    counts = np.bincount(encoder.mutate(codes, np.ones(3000, np.intp), np.random.default_rng(0))[:, 0].astype(int))
    assert counts[1] == 0
    assert (np.abs(counts[[0, 2, 3]] - 1000) < 120).all()


def test_each_choice_that_differs_makes_candidates_as_different() -> None:
    """Of four parameters with choices of their own each is a quarter; all alike ones are counted beside."""
    space = CategoricalSpace({"a": ("x", "y"), "b": ("u", "v"), "c": ("s", "t"), "d": ("q", "r")})
    base = {"a": "x", "b": "u", "c": "s", "d": "q"}
    others = [base | {"a": "y"}, base | {"a": "y", "b": "v"}, {"a": "y", "b": "v", "c": "t", "d": "r"}]
    found = [distance(space, space.decode(base), space.decode(other)) for other in others]
    np.testing.assert_allclose(found, [0.25, 0.5, 1.0])


def test_an_exchange_of_two_choices_is_a_smaller_change_than_two_new_ones() -> None:
    space = CategoricalSpace(dict.fromkeys("abcd", ("x", "y", "z")))
    base = dict.fromkeys("abcd", "x") | {"b": "y"}
    swapped, changed = base | {"a": "y", "b": "x"}, base | {"a": "z", "b": "z"}
    # Two parameters of four differ; in the second case three of the counts do too, by 1, 1 and 2 halves.
    np.testing.assert_allclose(distance(space, space.decode(base), space.decode(swapped)), 0.5)
    np.testing.assert_allclose(distance(space, space.decode(base), space.decode(changed)), 0.5 + (1 + 1 + 4) / 2 / 4)


def test_an_operation_on_an_edge_is_recognised_beside_another_other_edge() -> None:
    """Node 3 keeps a separable convolution from node 0, wherever its other edge comes from."""
    space = CellSpace(("skip_connect", "max_pool_3x3", "sep_conv_3x3"), nodes=2)
    base = space.encode(draw(space, 1)[0])

    def cell(sources: str, first: str, second: str) -> Candidate:
        return space.decode(base | {"normal.3.sources": sources, "normal.3.op_a": first, "normal.3.op_b": second})

    one = cell("0,1", "sep_conv_3x3", "skip_connect")
    moved = cell("0,2", "sep_conv_3x3", "skip_connect")
    exchanged = cell("0,1", "skip_connect", "sep_conv_3x3")
    # Of the eight edges one differs in the first case, and two in the second; the counts stay as they are.
    np.testing.assert_allclose(distance(space, one, moved), 1 / 8)
    np.testing.assert_allclose(distance(space, one, exchanged), 2 / 8)


def test_numbers_are_as_different_as_they_are_apart_on_their_own_scale() -> None:
    space = JointSpace(
        FixedSpace(Candidate(known("DARTS_V2"))),
        (("recipe.lr", Real(1e-4, 1.0, log=True)), ("recipe.ema", Real(0.0, 0.8))),
    )
    base = {"recipe.lr": 1e-4, "recipe.ema": 0.0}

    def apart(**changes: float) -> float:
        changed = base | {f"recipe.{name}": value for name, value in changes.items()}
        return distance(space, space.decode(base), space.decode(changed))

    np.testing.assert_allclose([apart(lr=1e-2), apart(ema=0.4)], 0.5)
    np.testing.assert_allclose([apart(lr=1e-3), apart(ema=0.2)], 0.125)
    np.testing.assert_allclose(apart(lr=1.0), 2)


def test_choices_that_are_numbers_are_the_more_different_the_farther_they_are_apart_in_order() -> None:
    space = CategoricalSpace({"batch": (512, 32, 64, 128), "act": ("relu", "tanh", "gelu", "silu")})

    def apart(name: str, value: object) -> float:
        base = {"batch": 32, "act": "relu"}
        return distance(space, space.decode(base), space.decode(base | {name: value}))

    assert apart("batch", 64) < apart("batch", 128) < apart("batch", 512)
    assert apart("act", "tanh") == apart("act", "gelu") == apart("act", "silu")


def test_parts_of_the_features_are_told_apart() -> None:
    """Changing a parameter changes its own part, and the counts that it takes part in, and nothing else."""
    space = CategoricalSpace({"a": ("x", "y"), "b": ("x", "y"), "c": (1, 2, 3)})
    encoder = Encoder(space)
    base = {"a": "x", "b": "x", "c": 1}

    def parts(**changes: object) -> set[int]:
        one, other = encoder.features(encoder.codes([space.decode(base), space.decode(base | changes)]))
        return set(encoder.groups[one != other].tolist())

    assert len(encoder.groups) == len(encoder.features(encoder.codes([space.decode(base)]))[0])
    assert parts(a="y") == {0, 3}
    assert parts(b="y") == {1, 3}
    assert parts(c=3) == {2}


def test_a_candidate_of_another_space_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a candidate of"):
        Encoder(CELLS).codes(draw(LayerSpace(), 1))
