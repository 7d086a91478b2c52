"""How many candidates a space has and how far they reach, beside all of them tried one by one."""

from itertools import product

import numpy as np
import pytest

from nas.space import Candidate, Categorical, CellSpace, FixedSpace, Integer, JointSpace, LayerSpace, Real, Shape
from nas.space.cost import cost
from nas.space.extent import BOTH, extent
from nas.space.largest import amount, largest
from nas.space.limits import Limits
from nas.space.size import size
from nas.space.smallest import SearchSpace, smallest
from tests.space.test_smallest import candidates, values_of

IMAGE, OUTPUTS = (3, 9, 8), 10
CELLS = CellSpace(("skip_connect", "sep_conv_3x3"), 2, Shape(channels=4, cells=3))
TINY_CELLS = CellSpace(("skip_connect", "group_conv_3x3"), 1, Shape(channels=4, cells=3))
LAYERS = LayerSpace(("conv", "max_pool"), 1, 3, 16, 17, (3,))
FRAMES = JointSpace(
    TINY_CELLS,
    (
        ("space.channels", Integer(4, 7)),
        ("space.cells", Integer(2, 4)),
        ("space.norm", Categorical(("batch", "none"))),
        ("space.skeleton", Categorical(("stacked", "residual"))),
        ("space.downsample", Categorical(("conv", "max_pool"))),
    ),
)

FEW_CELLS = JointSpace(  # with three cells the first reduction comes later, and what follows is narrower
    CellSpace(("skip_connect", "conv_3x3"), 1, Shape(channels=4, skeleton="residual", downsample="conv")),
    (("space.cells", Integer(2, 3)),),
)
POOLS = CellSpace(("max_pool_3x3", "conv_7x1_1x7"), 2, Shape(channels=4, cells=3))


@pytest.mark.parametrize("space", [CELLS, TINY_CELLS, LAYERS, FRAMES])
def test_size_is_that_of_all_candidates(space: SearchSpace) -> None:
    every = {space.decode(dict(zip(space.distributions(), values, strict=True))) for values in product(
        *map(values_of, space.distributions().values())
    )}  # fmt: skip
    assert size(space).candidates == len(every)
    assert size(space).real == ()


def test_size_is_told_in_a_way_that_people_read() -> None:
    assert str(size(FixedSpace(Candidate.from_json({"residual": {"width": 4, "blocks": 1}})))) == "1"
    assert str(size(TINY_CELLS)) == "16"
    assert str(size(CellSpace(("skip_connect", "sep_conv_3x3", "conv_1x1"), 4))) == "10^12"
    lr = JointSpace(
        TINY_CELLS, (("recipe.lr", Real(0.01, 0.1)), ("recipe.l1", Real(0.5, 0.5)), ("space.cells", Integer(2, 4)))
    )
    assert size(lr).real == ("recipe.lr",)
    assert str(size(lr)) == "48 × lr"


@pytest.mark.parametrize("space", [CELLS, TINY_CELLS, FRAMES, FEW_CELLS, POOLS])
def test_of_cells_nothing_costs_more_than_the_largest(space: SearchSpace) -> None:
    costs = [cost(candidate, image=IMAGE, outputs=OUTPUTS) for candidate in candidates(space)]
    for by in BOTH:
        assert amount(largest(space, by, image=IMAGE, outputs=OUTPUTS), by) == max(amount(one, by) for one in costs)


def test_of_layers_the_largest_is_about_that() -> None:
    costs = [cost(candidate, image=IMAGE, outputs=OUTPUTS) for candidate in candidates(LAYERS)]
    for by in BOTH:
        found, highest = (
            amount(largest(LAYERS, by, image=IMAGE, outputs=OUTPUTS), by),
            max(amount(c, by) for c in costs),
        )
        assert 0.9 * highest <= found <= highest
    chain = LayerSpace(("separable", "grouped"), 3, 5, 16, 64, (3,), parallel=False)
    rng = np.random.default_rng(0)
    drawn = [cost(chain.sample(rng), image=IMAGE, outputs=OUTPUTS).params for _ in range(200)]
    assert largest(chain, "params", image=IMAGE, outputs=OUTPUTS).params >= max(drawn)


def test_an_extent_has_both_ends_and_what_is_typical() -> None:
    found = extent(CELLS, Limits(), IMAGE, OUTPUTS)
    assert len(found.candidates) == 32
    for by in BOTH:
        values = sorted(amount(cost(one, image=IMAGE, outputs=OUTPUTS), by) for one in found.candidates)
        shown = getattr(found, by)
        assert shown.typical == int(np.median(values))
        assert shown.smallest == amount(smallest(CELLS, by, image=IMAGE, outputs=OUTPUTS)[1], by)
        assert shown.largest == amount(largest(CELLS, by, image=IMAGE, outputs=OUTPUTS), by)
    assert extent(CELLS, Limits(), IMAGE, OUTPUTS) == found
    assert found.exact


def test_limits_leave_what_keeps_them() -> None:
    whole = extent(CELLS, Limits(), IMAGE, OUTPUTS)
    limit = whole.params.smallest + (whole.params.typical - whole.params.smallest) // 2
    found = extent(CELLS, Limits(max_params=limit), IMAGE, OUTPUTS)
    assert found.params.smallest == whole.params.smallest
    assert found.params.typical <= found.params.largest == limit
    assert all(cost(one, image=IMAGE, outputs=OUTPUTS).params <= limit for one in found.candidates)
    only = extent(CELLS, Limits(max_params=whole.params.smallest), IMAGE, OUTPUTS)
    assert only.params.smallest == only.params.typical == only.params.largest


def test_a_wide_frame_is_told_of_in_time() -> None:
    """All frames of it take two seconds to look through."""
    parameters = (("space.channels", Integer(4, 64)), ("space.cells", Integer(3, 40)))
    wide = JointSpace(CELLS, (*parameters, ("space.merge", Categorical(("sum", "concat", "weighted")))))
    found = extent(wide, Limits(), (3, 32, 32), OUTPUTS)
    least = JointSpace(CELLS, (("space.channels", Integer(4, 5)), ("space.cells", Integer(3, 4))))
    for by in BOTH:
        low = amount(smallest(least, by, image=(3, 32, 32), outputs=OUTPUTS)[1], by)
        assert getattr(found, by).smallest <= low
        assert getattr(found, by).smallest < getattr(found, by).typical < getattr(found, by).largest
