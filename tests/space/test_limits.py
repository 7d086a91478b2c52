import pytest
from pydantic import ValidationError
from torch import nn

from nas import plugins
from nas.errors import InvalidInput
from nas.space import Candidate, CellSpace, FixedSpace, Integer, JointSpace, LayerSpace, Shape, known
from nas.space.cost import Cost
from nas.space.limits import Limits, broken, check_limits
from nas.space.smallest import SearchSpace, smallest

IMAGE, OUTPUTS = (3, 8, 8), 10
CELLS = CellSpace(("conv_3x3", "sep_conv_3x3"), 2, Shape(channels=4, cells=3))
COST = Cost(12_345, 678_900)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(), None),
        (Limits(max_params=12_345, max_macs=678_900), None),
        (Limits(max_params=12_344), "max_params is 12,344; this network has 12,345"),
        (Limits(max_macs=678_899), "max_macs is 678,899; this network takes 678,900"),
        (Limits(max_latency_ms=2.5, max_memory_mb=1.25), None),
        (Limits(max_latency_ms=2.0), "max_latency_ms is 2.0; this network takes 2.5"),
        (Limits(max_latency_ms=2.4999), "max_latency_ms is 2.4999; this network takes 2.5"),
        (Limits(max_memory_mb=1.0), "max_memory_mb is 1.0; this network takes 1.25"),
    ],
)
def test_a_broken_limit_is_named_with_what_the_network_takes(limits: Limits, said: str | None) -> None:
    assert broken(limits, COST, latency_ms=2.5, memory_mb=1.25) == said


def test_what_is_above_a_limit_also_reads_so() -> None:
    limits = Limits(max_latency_ms=10.0)
    assert broken(limits, COST, latency_ms=10.00001) == "max_latency_ms is 10.0; this network takes 10.001"


def test_what_was_not_measured_breaks_no_limit() -> None:
    assert broken(Limits(max_latency_ms=0.001, max_memory_mb=0.001), COST) is None


def test_a_lower_bound_says_that_it_is_one() -> None:
    bound = Cost(COST.params, COST.macs, exact=False)
    assert broken(Limits(max_params=1), bound) == "max_params is 1; this network has at least 12,345"
    assert broken(Limits(max_macs=1), bound) == "max_macs is 1; this network takes at least 678,900"


@pytest.mark.parametrize(
    "body",
    [{"max_params": 0}, {"max_params": "9"}, {"max_macs": 1.5}, {"max_latency_ms": 0}, {"batch_size": 0}, {"x": 1}],
)
def test_impossible_limits_are_not_taken(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Limits.model_validate(body)


SPACES: dict[str, tuple[SearchSpace, str]] = {
    "cells": (CELLS, "space.channels, space.cells or space.nodes"),
    "layers": (LayerSpace(fewest=2, most=3), "space.fewest, space.narrowest or space.kernels"),
    "joint": (JointSpace(CELLS, (("space.cells", Integer(1, 3)),)), "space.channels, space.cells or space.nodes"),
    "transfer": (
        JointSpace(FixedSpace(Candidate(known("DARTS_V1"))), (("space.tail", Integer(-1, 1)),)),
        "space.tail",
    ),
}


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("limit", ["params", "macs"])
def test_a_limit_below_the_smallest_network_is_refused_and_one_at_it_is_not(limit: str, name: str) -> None:
    space, lower = SPACES[name]
    least = getattr(smallest(space, limit, image=IMAGE, outputs=OUTPUTS)[1], limit)  # type: ignore[arg-type]
    check_limits(space, Limits.model_validate({f"max_{limit}": least}), image=IMAGE, outputs=OUTPUTS)
    with pytest.raises(InvalidInput) as refused:
        check_limits(space, Limits.model_validate({f"max_{limit}": least - 1}), image=IMAGE, outputs=OUTPUTS)
    assert (refused.value.field, refused.value.value) == (f"limits.max_{limit}", least - 1)
    assert f"the smallest network of this space has {least:,} " in refused.value.mend
    assert f"allow that, or lower {lower}" in refused.value.mend


def test_memory_is_refused_where_the_weights_and_the_input_alone_take_more() -> None:
    params = smallest(CELLS, "params", image=IMAGE, outputs=OUTPUTS)[1].params
    needed_mb = 4 * (params + 2 * 3 * 8 * 8) / 10**6
    check_limits(CELLS, Limits(max_memory_mb=needed_mb, batch_size=2), image=IMAGE, outputs=OUTPUTS)
    with pytest.raises(InvalidInput, match=r"limits\.batch_size") as refused:
        check_limits(CELLS, Limits(max_memory_mb=needed_mb, batch_size=3), image=IMAGE, outputs=OUTPUTS)
    assert refused.value.field == "limits.max_memory_mb"


def test_latency_and_no_limits_at_all_refuse_nothing() -> None:
    check_limits(CELLS, Limits(), image=IMAGE, outputs=OUTPUTS)
    check_limits(CELLS, Limits(max_latency_ms=1e-6), image=IMAGE, outputs=OUTPUTS)


def test_a_space_with_a_users_operation_is_held_to_what_is_known_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    own = plugins.Plugin("a test", lambda: lambda channels, stride: nn.Identity())
    monkeypatch.setattr(plugins, "operations", lambda: {"my_op": own})
    space = CellSpace(("my_op",), 1, Shape(channels=4, cells=1))
    stem, before, classifier = 3 * 12 * 9 + 24, 2 * (12 * 8 + 16), 8 * 10 + 10
    check_limits(space, Limits(max_params=stem + before + classifier), image=IMAGE, outputs=OUTPUTS)
    with pytest.raises(InvalidInput, match="has at least 662 parameters"):
        check_limits(space, Limits(max_params=stem + before + classifier - 1), image=IMAGE, outputs=OUTPUTS)


def test_cheap_operations_are_advised_only_where_they_are_missing() -> None:
    def advice(*ops: str) -> str:
        with pytest.raises(InvalidInput) as caught:
            check_limits(CellSpace(ops, 2), Limits(max_params=1), image=(1, 8, 8), outputs=2)
        return caught.value.mend

    assert advice("sep_conv_3x3", "skip_connect").endswith("or add max_pool_3x3 and skip_connect to space.ops")
    assert advice("sep_conv_3x3", "skip_connect", "max_pool_3x3").endswith(
        "or lower space.channels, space.cells or space.nodes"
    )
