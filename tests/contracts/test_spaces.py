"""What every space promises (nas.space.parameters.Space), run over all of them."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice, product
from typing import Any, TypeAlias

import numpy as np
import pytest

from nas.errors import GenotypeError
from nas.space import (
    Candidate,
    Categorical,
    CategoricalSpace,
    CellSpace,
    Choices,
    Distribution,
    FixedSpace,
    Integer,
    JointSpace,
    Layer,
    LayerNet,
    LayerSpace,
    Real,
    ResidualNet,
    Shape,
    Space,
    Value,
    known,
)
from nas.space.operations import DEFAULT_OPERATIONS

AnySpace: TypeAlias = Space[Any]

OPS = ("skip_connect", "sep_conv_3x3")
LAYERS = LayerSpace(("conv", "max_pool"), 1, 2, 4, 5, (3,), parallel=True)
WHOLE: tuple[tuple[str, Distribution], ...] = (
    ("space.channels", Integer(4, 6, log=True)),
    ("space.skeleton", Categorical(("stacked", "residual"))),
    ("recipe.flip", Categorical((False, True))),
    ("recipe.clip_norm", Categorical((None, 1.0))),
)
NUMBERS: tuple[tuple[str, Distribution], ...] = (
    ("space.channels", Integer(4, 64, log=True)),
    ("space.tail", Integer(-2, 3)),
    ("space.dropout", Real(0.0, 0.5)),
    ("space.norm", Categorical(("batch", "group"))),
    ("recipe.lr", Real(1e-4, 1.0, log=True)),
    ("recipe.batch_size", Integer(16, 1024, log=True)),
    ("recipe.randaugment", Integer(0, 3)),
    ("recipe.flip", Categorical((False, True))),
    ("recipe.clip_norm", Categorical((None, 1.0, 5.0))),
)

FINITE: dict[str, AnySpace] = {
    "a single cell": CellSpace(("sep_conv_3x3",), 1, Shape(cells=3)),
    "small cells": CellSpace(OPS, 2, Shape(cells=3)),
    "few layers": LAYERS,
    "layers without parallel ones": LayerSpace(("conv", "max_pool"), 1, 3, 4, 5, (3,), parallel=False),
    "a fixed network": FixedSpace(Candidate(known("DARTS_V1"), Shape(channels=3), (("lr", 0.1),))),
    "a fixed network and nothing else": JointSpace(FixedSpace(Candidate(known("DARTS_V1"))), ()),
    "a fixed network, open": JointSpace(FixedSpace(Candidate(known("DARTS_V1"), recipe=(("lr", 0.1),))), WHOLE),
    "small cells, open": JointSpace(CellSpace(OPS, 1), WHOLE),
    "few layers, open": JointSpace(LayerSpace(("conv", "max_pool"), 1, 2, 4, 4, (3,)), WHOLE[1:]),
    "named choices": CategoricalSpace({"op": ("a", "b"), "width": (1, 2, 3), "skip": (False, True), "x": (None, 0.5)}),
    "a single choice": CategoricalSpace({"op": ("a",)}),
}
"""Spaces whose candidates can all be looked at. Their whole numbers have a neighbour on each side."""

LARGE: dict[str, AnySpace] = {
    "cells": CellSpace(DEFAULT_OPERATIONS, 4),
    "layers": LayerSpace(),
    "a fixed network with numbers": JointSpace(FixedSpace(Candidate(known("DARTS_V2"))), NUMBERS),
    "cells with numbers": JointSpace(CellSpace(DEFAULT_OPERATIONS, 2), NUMBERS),
    "layers with numbers": JointSpace(LayerSpace(most=4), NUMBERS[2:]),
    "many named choices": CategoricalSpace({f"edge {index}": tuple(DEFAULT_OPERATIONS) for index in range(6)}),
}
ALL = FINITE | LARGE

FOREIGN: list[Candidate | Choices] = [
    Candidate(ResidualNet(8, 2)),
    Candidate(known("NASNet")),
    Candidate(LayerNet((Layer("dilated", 300, 7),))),
    Choices((("operation", "a"),)),
]


def given(spaces: Mapping[str, AnySpace]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("space", list(spaces.values()), ids=list(spaces))


def some(space: AnySpace, count: int = 40, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(count)]


def assignments(space: AnySpace) -> Iterator[dict[str, Value]]:
    """Every way to give each parameter a value."""
    options = [
        found.choices if isinstance(found, Categorical) else range(int(found.low), int(found.high) + 1)
        for found in space.distributions().values()
    ]
    for values in product(*options):
        yield dict(zip(space.distributions(), values, strict=True))


def changed(one: Mapping[str, Value], other: Mapping[str, Value]) -> list[str]:
    assert list(one) == list(other)
    return [name for name in one if repr(one[name]) != repr(other[name])]


def from_json(space: AnySpace, candidate: Any) -> Any:
    written = json.loads(json.dumps(candidate.to_json()))
    return Candidate.from_json(written) if isinstance(candidate, Candidate) else space.decode(written)


@given(ALL)
def test_what_is_drawn_is_of_the_space(space: AnySpace) -> None:
    assert all(map(space.contains, some(space)))


@given(ALL)
def test_the_same_generator_draws_the_same_and_another_seed_something_else(space: AnySpace) -> None:
    assert some(space, seed=3) == some(space, seed=3)
    if len(set(some(space))) > 1:
        assert some(space, seed=3) != some(space, seed=4)


@given(ALL)
def test_a_candidate_comes_back_from_its_values(space: AnySpace) -> None:
    for candidate in some(space):
        values = space.encode(candidate)
        assert list(values) == list(space.distributions())
        assert all(found.contains(values[name]) for name, found in space.distributions().items())
        assert space.decode(values) == candidate
        assert space.encode(space.decode(values)) == values


@given(ALL)
def test_values_come_back_from_json_with_their_candidate(space: AnySpace) -> None:
    for candidate in some(space):
        values = json.loads(json.dumps(space.encode(candidate)))
        assert changed(values, space.encode(candidate)) == []
        assert space.decode(values) == candidate


@given(ALL)
def test_a_candidate_that_comes_back_from_json_is_the_same_candidate_of_the_space(space: AnySpace) -> None:
    for candidate in some(space):
        again = from_json(space, candidate)
        assert again == candidate
        assert hash(again) == hash(candidate)
        assert space.contains(again)
        assert space.digest(again) == space.digest(candidate)


@given(ALL)
def test_a_mutation_differs_in_one_parameter(space: AnySpace) -> None:
    rng = np.random.default_rng(0)
    several = len(set(some(space))) > 1
    names = Counter[str]()
    for candidate in some(space, 150):
        mutated = space.mutate(candidate, rng)
        assert space.contains(mutated)
        assert (mutated != candidate) == several
        names.update(name for name in first_change(space, candidate, mutated))
    # Each parameter's turn comes, unless most of them are of layers that a short network has not.
    if several and "layers" not in space.distributions():
        assert set(names) == {name for name in names if name in space.distributions()}
        assert len(names) > 0.7 * sum(not single(found) for found in space.distributions().values())


def first_change(space: AnySpace, one: Any, other: Any) -> list[str]:
    """The one parameter that makes a candidate another; the parameters of layers that were dropped do not count."""
    before, after = space.encode(one), space.encode(other)
    names = changed(before, after)
    if "layers" in names:
        assert all(name.startswith("layer") for name in names)
        assert space.decode(before | {"layers": after["layers"]}) == other
        return ["layers"]
    assert len(names) <= 1
    return names


def single(found: Distribution) -> bool:
    return len(found.choices) == 1 if isinstance(found, Categorical) else found.low == found.high


@given(FINITE)
def test_neighbours_are_all_candidates_that_one_parameter_makes(space: AnySpace) -> None:
    """Looked for among all ways to give the parameters values."""
    everything = [(values, space.decode(values)) for values in assignments(space)]
    for candidate in some(space, 6):
        values = space.encode(candidate)
        expected = set()
        for others, other in everything:
            match changed(values, others):
                case [name] if beside(space.distributions()[name], values[name], others[name]):
                    expected.add(other)
        found = list(space.neighbours(candidate))
        assert set(found) == expected - {candidate}
        assert len(set(found)) == len(found)


def beside(found: Distribution, value: Any, other: Any) -> bool:
    return isinstance(found, Categorical) or abs(value - other) == 1


@given(LARGE)
def test_neighbours_differ_in_one_parameter_and_every_parameter_has_its_own(space: AnySpace) -> None:
    for candidate in some(space, 10):
        found = list(space.neighbours(candidate))
        assert candidate not in found
        assert len(set(found)) == len(found)
        assert all(map(space.contains, found))
        names = Counter(name for other in found for name in first_change(space, candidate, other))
        present = effective(space, candidate)
        assert set(names) == present
        for name in present:
            distribution = space.distributions()[name]
            if isinstance(distribution, Categorical):
                assert names[name] == len(distribution.choices) - 1
            else:
                assert names[name] in (1, 2)


def effective(space: AnySpace, candidate: Any) -> set[str]:
    """The parameters that can change this candidate."""
    count = len(candidate.architecture.layers) if "layers" in space.distributions() else 0
    return {
        name
        for name, found in space.distributions().items()
        if not single(found) and not (name.startswith("layer.") and int(name.split(".")[1]) >= count)
    }


@given({name: space for name, space in FINITE.items() if "layers" not in space.distributions()})
def test_a_neighbour_has_the_candidate_as_its_neighbour(space: AnySpace) -> None:
    for candidate in some(space, 4):
        for neighbour in islice(space.neighbours(candidate), 12):
            assert candidate in list(space.neighbours(neighbour))


@given(FINITE)
def test_the_candidates_are_what_the_values_make_and_no_others(space: AnySpace) -> None:
    candidates = {space.decode(values) for values in assignments(space)}
    assert all(map(space.contains, candidates))
    assert set(some(space, 200)) <= candidates


@given(FINITE)
def test_all_values_of_a_parameter_are_drawn(space: AnySpace) -> None:
    drawn = [space.encode(candidate) for candidate in some(space, 300)]
    for name, found in space.distributions().items():
        options = found.choices if isinstance(found, Categorical) else range(int(found.low), int(found.high) + 1)
        assert {values[name] for values in drawn} == set(options)


@given(ALL)
def test_what_another_space_holds_is_refused(space: AnySpace) -> None:
    kind = type(some(space, 1)[0])
    others: list[Any] = [candidate for candidate in FOREIGN if isinstance(candidate, kind)]
    for other in ALL.values():
        others += [candidate for candidate in some(other, 3) if other is not space and isinstance(candidate, kind)]
    mine = {space.decode(values) for values in assignments(space)} if space in FINITE.values() else set()
    refused = 0
    for candidate in others:
        if space.contains(candidate):  # spaces overlap: what this one takes has to be its own
            assert space.decode(space.encode(candidate)) == candidate
        else:
            assert candidate not in mine
            refused += 1
            with pytest.raises(ValueError, match="is not a candidate of"):
                space.encode(candidate)
    assert refused > len(others) / 2


@given(ALL)
def test_a_candidate_with_one_value_out_of_range_is_refused(space: AnySpace) -> None:
    for candidate in some(space, 5):
        values = space.encode(candidate)
        for name, found in space.distributions().items():
            for foreign in outside(found):
                try:
                    other = space.decode(values | {name: foreign})
                except (GenotypeError, ValueError, KeyError, TypeError, AttributeError):
                    continue  # there is no such candidate at all
                # A layer that is not there takes anything, and a number of layers is not kept as what it was given as.
                if repr(other) != repr(candidate) and (name, foreign) != ("layers", True):
                    assert not space.contains(other), (name, foreign)


def outside(found: Distribution) -> list[Value]:
    if isinstance(found, Categorical):
        strange: list[Value] = ["strange", 7919, None, 0, 1, True, False]
        return [value for value in strange if not any(repr(value) == repr(choice) for choice in found.choices)]
    return [found.low - 1, found.high + 1, "1", None, True]


@given(ALL)
def test_candidates_and_spaces_are_values(space: AnySpace) -> None:
    for one, two in zip(some(space), some(space), strict=True):
        assert (one == two, hash(one)) == (True, hash(two))
    assert [other is space for other in ALL.values()] == [other == space for other in ALL.values()]
    assert {other: name for name, other in ALL.items()}[space] in ALL


@given(ALL)
def test_a_digest_is_64_hexadecimal_digits_and_the_same_whenever_it_is_asked_for(space: AnySpace) -> None:
    for one, two in zip(some(space, 5), some(space, 5), strict=True):
        assert space.digest(one) == space.digest(two)
        assert len(space.digest(one)) == 64
        assert set(space.digest(one)) <= set("0123456789abcdef")


@given({name: space for name, space in ALL.items() if "cells" not in name and "layers" not in name})
def test_candidates_of_other_values_have_other_digests(space: AnySpace) -> None:
    """Where no two ways to write a network down are the same; of cells and layers see tests/space."""
    candidates = set(some(space, 200))
    assert len({space.digest(candidate) for candidate in candidates}) == len(candidates)


@given({name: space for name, space in LARGE.items() if "numbers" in name})
def test_a_number_on_a_logarithmic_scale_is_drawn_uniformly_there(space: AnySpace) -> None:
    decades = Counter(int(-np.log10(float(str(space.encode(one)["recipe.lr"])))) for one in some(space, 1_200))
    assert set(decades) == {0, 1, 2, 3}
    assert sum((count - 300) ** 2 / 300 for count in decades.values()) < 16.3  # 3 degrees of freedom, one in a thousand
