import time
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Literal

import numpy as np
import pytest
from torch import nn

from nas import plugins
from nas.space import (
    Candidate,
    Categorical,
    Cell,
    CellSpace,
    Distribution,
    Edge,
    FixedSpace,
    Genotype,
    Integer,
    JointSpace,
    LayerSpace,
    Real,
    Shape,
    known,
)
from nas.space.cost import cost
from nas.space.layers import LAYER_KINDS
from nas.space.operations import OPERATIONS
from nas.space.smallest import SearchSpace, smallest

By = Literal["params", "macs"]
BOTH: tuple[By, By] = ("params", "macs")


def candidates(space: SearchSpace) -> Iterator[Candidate]:
    """All of them."""
    distributions = space.distributions()
    for values in product(*map(values_of, distributions.values())):
        chosen = dict(zip(distributions, values, strict=True))
        if not chosen.get("layer.0.parallel"):
            yield space.decode(chosen)


def values_of(distribution: Distribution) -> Iterable[object]:
    if isinstance(distribution, Categorical):
        return distribution.choices
    assert isinstance(distribution, Integer)
    return range(distribution.low, distribution.high + 1)


def check(space: SearchSpace, *, image: tuple[int, int, int] = (3, 9, 8), outputs: int = 10) -> None:
    """The smallest is in the space and costs what it says, and nothing in the space costs less."""
    costs = [cost(candidate, image=image, outputs=outputs) for candidate in candidates(space)]
    for by in BOTH:
        candidate, found = smallest(space, by, image=image, outputs=outputs)
        assert space.contains(candidate)
        assert found == cost(candidate, image=image, outputs=outputs)
        assert getattr(found, by) == min(getattr(other, by) for other in costs), by


@pytest.mark.parametrize("downsample", ["factorized", "max_pool"])
@pytest.mark.parametrize(
    "ops",
    [
        ("skip_connect", "conv_1x1"),  # at stride 2 both cost the same
        ("skip_connect", "max_pool_3x3"),  # at stride 2 only one is free
        ("sep_conv_3x3", "skip_connect"),
        ("conv_3x3", "group_conv_3x3"),
    ],
)
def test_no_pair_of_cells_is_smaller(ops: tuple[str, ...], downsample: Literal["factorized", "max_pool"]) -> None:
    check(CellSpace(ops, nodes=2, shape=Shape(channels=3, cells=4, downsample=downsample)))


@pytest.mark.parametrize("merge", ["sum", "concat", "weighted"])
def test_the_sources_of_a_node_are_those_that_make_it_cheap(merge: Literal["sum", "concat", "weighted"]) -> None:
    # At stride 2 a skip connection has parameters: the third node takes what comes without a stride.
    shape = Shape(channels=4, cells=3, merge=merge)
    space = CellSpace(("skip_connect",), nodes=3, shape=shape)
    check(space)
    candidate, _ = smallest(space, "params", image=(3, 8, 8), outputs=10)
    last = candidate.architecture.reduce.nodes[-1]  # type: ignore[union-attr]
    assert {edge.source for edge in last} == {2, 3}


def test_a_network_without_normal_cells_has_a_smallest_one_too() -> None:
    check(CellSpace(("conv_3x3", "sep_conv_3x3", "skip_connect"), nodes=1, shape=Shape(channels=2, cells=2)))


OPEN: dict[str, tuple[tuple[str, Distribution], ...]] = {
    "depth": (("space.cells", Integer(1, 6)), ("space.tail", Integer(-2, 1))),
    "width": (("space.channels", Integer(3, 18)),),
    "some widths": (("space.channels", Categorical((20, 8, 32, 5))),),
    "frame": (
        ("space.skeleton", Categorical(("residual", "stacked"))),
        ("space.stem", Categorical(("cifar", "imagenet"))),
        ("space.merge", Categorical(("concat", "weighted"))),
        ("space.norm", Categorical(("batch", "none", "group"))),
        ("space.downsample", Categorical(("conv", "factorized", "avg_pool"))),
    ),
    "all but the cost": (
        ("recipe.lr", Real(0.01, 0.1)),
        ("recipe.optimizer", Categorical(("adam", "sgd"))),
        ("space.activation", Categorical(("gelu", "relu"))),
    ),
}


@pytest.mark.parametrize("what", OPEN)
def test_no_frame_makes_a_smaller_network(what: str) -> None:
    parameters = OPEN[what]
    ops = ("skip_connect", "group_conv_3x3") if "width" in what else ("skip_connect", "conv_1x1")
    for nodes, chosen in ((1, ops), (1, ops[:1]), (2, ops[1:])):
        base = CellSpace(chosen, nodes=nodes, shape=Shape(channels=3, cells=3))
        real = JointSpace(base, tuple((name, found) for name, found in parameters))
        if what == "all but the cost":
            candidate, _ = smallest(real, "params", image=(1, 16, 16), outputs=4)
            assert real.contains(candidate)
            assert dict(candidate.recipe).keys() == {"lr", "optimizer"}
        else:
            check(real, image=(1, 16, 16), outputs=4)


def test_one_more_cell_may_make_a_network_smaller() -> None:
    """The case that forbids to look at the fewest cells only: the first cell narrows what the stem made wide."""
    base = CellSpace(("max_pool_3x3",), nodes=1, shape=Shape(channels=8))
    two, three = (
        cost(smallest(space, "params", image=(3, 16, 16), outputs=10)[0], image=(3, 16, 16), outputs=10)
        for space in (CellSpace(base.ops, 1, Shape(channels=8, cells=cells)) for cells in (2, 3))
    )
    assert three.params < two.params
    _, found = smallest(JointSpace(base, (("space.cells", Integer(2, 4)),)), "params", image=(3, 16, 16), outputs=10)
    assert found == three


def test_a_single_network_is_its_own_smallest() -> None:
    fixed = FixedSpace(Candidate(known("NASNet"), Shape(cells=5)))
    check(fixed)
    check(JointSpace(fixed, (("space.tail", Integer(-3, 2)), ("recipe.freeze", Integer(0, 2)))))


def test_a_last_cell_with_fewer_outputs_may_make_a_network_smaller() -> None:
    nodes = ((Edge("max_pool_3x3", 0),),) * 2
    fixed = FixedSpace(Candidate(Genotype(Cell(nodes, (2, 3, 2, 3)), Cell(nodes, (2,))), Shape(channels=4, cells=3)))
    space = JointSpace(fixed, (("space.tail", Integer(-2, -1)),))
    check(space, outputs=1000)
    assert smallest(space, "params", image=(3, 8, 8), outputs=1000)[0].shape.tail == -1


@pytest.mark.parametrize("seed", range(24))
def test_no_chain_of_layers_is_smaller(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = tuple(map(str, rng.choice(list(LAYER_KINDS), size=1 + seed % 3, replace=False)))
    fewest, narrowest = int(rng.integers(1, 3)), int(rng.integers(1, 7))
    most = fewest + int(rng.integers(0, 2)) if len(kinds) < 3 else 2
    space = LayerSpace(
        kinds,
        min(fewest, most),
        most,
        narrowest,
        narrowest + int(rng.integers(0, 3)),
        kernels=((3,), (5, 3), (3, 1))[int(rng.integers(3))],
        parallel=bool(rng.integers(2)),
        shape=Shape(
            skeleton=("stacked", "residual")[int(rng.integers(2))],
            downsample=("factorized", "max_pool", "conv")[int(rng.integers(3))],
            norm=("batch", "none")[int(rng.integers(2))],
        ),
    )
    check(space, image=(int(rng.integers(1, narrowest + 1)), 5, 8), outputs=int(rng.choice([1, 3, 20])))


@pytest.mark.parametrize("kinds", [("grouped",), ("grouped", "conv")])
def test_grouped_layers_may_be_cheaper_when_they_are_wider(kinds: tuple[str, ...]) -> None:
    space = LayerSpace(kinds, 3, 3, 5, 8, kernels=(3,), parallel=False)
    check(space, image=(1, 6, 6), outputs=2)
    candidate, _ = smallest(space, "params", image=(1, 6, 6), outputs=2)
    assert max(layer.width for layer in candidate.architecture.layers) > 5  # type: ignore[union-attr]


def test_grouped_operations_may_be_cheaper_in_a_wider_network() -> None:
    base = CellSpace(("group_conv_5x5",), 2, Shape(cells=9, tail=-6))  # 15 channels make three groups, 11 only one
    space = JointSpace(base, (("space.channels", Categorical((11, 15))),))
    check(space)
    assert smallest(space, "params", image=(3, 8, 8), outputs=10)[0].shape.channels == 15


def test_layers_stand_side_by_side_where_the_image_has_few_channels() -> None:
    space = LayerSpace(("conv",), 2, 2, 8, 9, kernels=(3,))
    check(space, image=(1, 4, 4), outputs=1)
    candidate, _ = smallest(space, "params", image=(1, 4, 4), outputs=1)
    assert candidate.architecture.layers[1].parallel  # type: ignore[union-attr]


@pytest.mark.parametrize("kinds", [("conv",), ("grouped", "conv_down"), ("separable", "grouped")])
def test_of_images_with_many_channels_a_bound_is_known(kinds: tuple[str, ...]) -> None:
    space = LayerSpace(kinds, 1, 2, 3, 9, kernels=(3,), shape=Shape(skeleton="residual"))
    image = (9, 4, 4)
    costs = [cost(candidate, image=image, outputs=2) for candidate in candidates(space)]
    for by in BOTH:
        candidate, found = smallest(space, by, image=image, outputs=2)
        assert space.contains(candidate)
        assert 0 < getattr(found, by) <= min(getattr(other, by) for other in costs)
        assert not found.exact


def test_layers_are_open_together_with_their_frame() -> None:
    base = LayerSpace(("conv", "max_pool"), 1, 2, 2, 3, kernels=(3,))
    frame: tuple[tuple[str, Distribution], ...] = (
        ("space.skeleton", Categorical(("residual", "stacked"))),
        ("space.norm", Categorical(("group", "batch_fixed"))),
        ("space.downsample", Categorical(("conv", "max_pool"))),
        ("recipe.ema", Categorical((0.0, 0.99))),
    )
    check(JointSpace(base, frame), image=(1, 5, 5), outputs=3)


def test_a_users_operation_leaves_a_lower_bound_unless_one_of_ours_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    own = plugins.Plugin("a test", lambda: lambda channels, stride: nn.Conv2d(channels, channels, 3, stride, 1))
    monkeypatch.setattr(plugins, "operations", lambda: {"my_op": own})
    shape = Shape(cells=3)
    for ops, exact in ((("conv_3x3", "my_op"), False), (("my_op", "max_pool_3x3"), True)):
        candidate, found = smallest(CellSpace(ops, 2, shape), "params", image=(3, 8, 8), outputs=10)
        assert found.exact is exact
        assert found == cost(candidate, image=(3, 8, 8), outputs=10)


def test_the_smallest_of_a_large_space_is_found_in_little_time() -> None:
    cells = JointSpace(
        CellSpace(tuple(OPERATIONS), 8, Shape()),
        (
            ("space.channels", Integer(1, 256)),
            ("space.cells", Integer(1, 40)),
            ("space.tail", Integer(-40, 40)),
            ("space.stem", Categorical(("cifar", "imagenet"))),
            ("space.skeleton", Categorical(("stacked", "residual"))),
            ("space.dropout", Real(0.0, 0.5)),
        ),
    )
    layers = LayerSpace(fewest=64, most=64)
    start = time.process_time()
    for space in (cells, layers):
        smallest(space, "macs", image=(3, 224, 224), outputs=1000)
    assert time.process_time() - start < 10
