from itertools import product
from typing import Any

import pytest

from nas.errors import SpaceExhausted
from nas.search.grid import LARGEST, Grid, refuses
from nas.search.strategy import Observation
from nas.seeds import derive
from nas.space import Candidate, CategoricalSpace, CellSpace, FixedSpace, Integer, JointSpace, Real, Space, known
from tests.search.histories import draw

CHOICES = {"op": ("a", "b", None), "width": (8, 16), "skip": (True, False)}
FIXED = FixedSpace(Candidate(known("DARTS_V2")))


def search(space: Space[Any], job: int) -> list[Any]:
    """What a job with that seed tries until the grid is done."""
    strategy = Grid()
    history: list[Observation[Any]] = []
    while True:
        try:
            candidate = strategy.propose(space, history, derive(job, len(history)))
        except SpaceExhausted:
            return [observation.candidate for observation in history]
        history.append(Observation(len(history), candidate, False, False, 0, None))


def test_every_combination_is_tried_once() -> None:
    tried = search(CategoricalSpace(CHOICES), 0)
    assert len(tried) == 12
    assert {tuple(candidate.values()) for candidate in tried} == set(product(*CHOICES.values()))


def test_numbers_are_counted_out() -> None:
    space = JointSpace(FIXED, (("space.channels", Integer(4, 9)), ("recipe.randaugment", Integer(0, 3, log=False))))
    found = {(candidate.shape.channels, dict(candidate.recipe)["randaugment"]) for candidate in search(space, 0)}
    assert found == set(product(range(4, 10), range(4)))


def test_cells_that_are_the_same_network_are_tried_once() -> None:
    space = CellSpace(("skip_connect", "sep_conv_3x3"), nodes=2)
    tried = search(CellSpace(("skip_connect",), nodes=3), 0)
    digests = [space.digest(candidate) for candidate in tried]
    assert len(digests) == len(set(digests)) < 3**2 * 6**2
    drawn = {space.digest(candidate) for candidate in draw(CellSpace(("skip_connect",), nodes=3), 3_000)}
    assert drawn == set(digests)


def test_the_order_is_the_seeds() -> None:
    space = CategoricalSpace(CHOICES)
    assert search(space, 1) == search(space, 1) != search(space, 2)


def test_each_candidate_comes_first_equally_often() -> None:
    space = CategoricalSpace(CHOICES)
    counts: dict[object, int] = {}
    for seed in range(1_200):
        first = Grid().propose(space, [], seed)
        counts[first] = counts.get(first, 0) + 1
    assert len(counts) == 12
    assert sum((count - 100) ** 2 / 100 for count in counts.values()) < 31.3  # 11 degrees of freedom, 1 in 1,000


def test_what_others_tried_is_left_out() -> None:
    space = CategoricalSpace({"op": ("a", "b", "c")})
    a, b, c = (space.decode({"op": op}) for op in "abc")
    history = [Observation(0, b, True, False, 0, None, infeasible=True), Observation(4, a, False, False, 0, None)]
    assert {Grid().propose(space, history, seed) for seed in range(10)} == {c}


def test_a_grid_that_is_done_says_so() -> None:
    space = CategoricalSpace({"op": ("a",)})
    history = [Observation(0, space.decode({"op": "a"}), False, False, 0, None)]
    with pytest.raises(SpaceExhausted, match="all 1 candidates of the space are tried"):
        Grid().propose(space, history, 0)


def test_ranges_of_real_numbers_are_refused() -> None:
    space = JointSpace(FIXED, (("recipe.lr", Real(0.1, 1.0)), ("recipe.ema", Real(0.0, 0.9))))
    assert refuses(space) == 'a grid cannot try every number of recipe.lr, recipe.ema: give them {"choices": […]}'
    assert refuses(JointSpace(FIXED, (("recipe.lr", Real(0.1, 0.1)),))) is None
    assert len(search(JointSpace(FIXED, (("recipe.lr", Real(0.1, 0.1)),)), 0)) == 1


def test_large_spaces_are_refused() -> None:
    just = CategoricalSpace({f"edge {index}": range(10) for index in range(4)})
    more = JointSpace(FIXED, (("space.channels", Integer(1, LARGEST + 1)),))
    assert refuses(just) is None
    assert refuses(more) == (
        "a grid would have 10,001 candidates, and 10,000 are the most: "
        "open fewer parameters or choices, or take another strategy"
    )
