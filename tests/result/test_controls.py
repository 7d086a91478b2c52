"""Controls and reference: random networks of the winner's size, and a residual one."""

import numpy as np
import pytest

from nas.model import params_of
from nas.result.controls import WINDOW, find_controls, find_reference
from nas.space import Candidate, CellSpace, ResidualNet, Shape
from nas.space.operations import DEFAULT_OPERATIONS

SPACE = CellSpace(DEFAULT_OPERATIONS, nodes=3, shape=Shape(channels=4, cells=3))
SHAPE = {"in_channels": 1, "outputs": 10}
ANY = Candidate(ResidualNet(1, 1))


def test_controls_are_other_networks_of_the_winners_size() -> None:
    winner = SPACE.sample(np.random.default_rng(0))
    params = params_of(winner, **SHAPE)
    found = find_controls(SPACE, winner=winner, params=params, count=5, exclude={SPACE.digest(winner)}, seed=1, **SHAPE)
    assert len(found) == 5
    digests = {SPACE.digest(control.candidate) for control in found}
    assert len(digests | {SPACE.digest(winner)}) == 6
    for control in found:
        assert SPACE.contains(control.candidate)
        assert control.params == params_of(control.candidate, **SHAPE)
        assert abs(control.params - params) <= WINDOW * params


def test_controls_are_the_nearest_ones_where_the_space_holds_none_of_that_size() -> None:
    found = find_controls(SPACE, winner=ANY, params=10**9, count=3, exclude=set(), seed=0, **SHAPE)
    rng = np.random.default_rng(0)
    drawn = {
        SPACE.digest(candidate): params_of(candidate, **SHAPE) for candidate in (SPACE.sample(rng) for _ in range(400))
    }
    assert [control.params for control in found] == sorted(drawn.values(), reverse=True)[:3]


def test_a_space_of_two_networks_gives_one_control() -> None:
    space = CellSpace(("skip_connect", "max_pool_3x3"), nodes=1, shape=Shape(channels=4, cells=2))
    winner = space.sample(np.random.default_rng(0))
    found = find_controls(space, winner=winner, params=1, count=9, exclude={space.digest(winner)}, seed=0, **SHAPE)
    # One node, two inputs, two operations each, reduction cells only: four networks.
    assert len(found) == 3


@pytest.mark.parametrize("params", [3_000, 42_000, 270_000, 3_300_000])
def test_the_reference_has_about_the_winners_parameters(params: int) -> None:
    found = find_reference(winner=ANY, params=params, **SHAPE)
    shape = found.candidate.architecture
    assert isinstance(shape, ResidualNet)
    assert abs(found.params - params) <= 0.2 * params
    for width in (shape.width - 1, shape.width + 1):  # no neighbour of the same depth comes nearer
        if width >= 1:
            other = params_of(Candidate(ResidualNet(width, shape.blocks)), **SHAPE)
            assert abs(other - params) >= abs(found.params - params)
