"""A search that collapses or comes to rest ends, with the reason."""

from typing import Any

from nas.oneshot.plan import Plan
from nas.oneshot.watch import collapsed, settled
from nas.search.options import DartsOptions
from nas.space import Cell, CellSpace, Edge, Genotype

SPACE = CellSpace(("skip_connect", "conv_1x1", "none"), 1)


def genotype(*ops: str) -> Genotype:
    """With these operations on its four edges."""
    cells = [Cell(((Edge(a, 0), Edge(b, 1)),), (2,)) for a, b in (ops[:2], ops[2:])]
    return Genotype(*cells)


SKIP, CONV = "skip_connect", "conv_1x1"
GOOD, OTHER, HALF, BAD = (
    genotype(CONV, CONV, CONV, CONV),
    genotype(SKIP, CONV, CONV, CONV),
    genotype(SKIP, SKIP, CONV, CONV),
    genotype(SKIP, SKIP, SKIP, CONV),
)


def plan(**options: Any) -> Plan:
    return Plan.of("darts", DartsOptions(**options), epochs=20, steps_an_epoch=3)


def test_too_many_skip_connections_are_a_collapse() -> None:
    reason = collapsed([GOOD, BAD], plan(max_skip=0.5), SPACE)
    assert reason is not None
    assert "epoch 2" in reason
    assert "75%" in reason
    assert "50%" in reason
    assert collapsed([GOOD, HALF], plan(max_skip=0.5), SPACE) is None  # not more than allowed
    assert collapsed([BAD, GOOD], plan(max_skip=0.5), SPACE) is None  # it is the last one that counts


def test_what_has_hardly_learnt_or_has_no_choice_does_not_collapse() -> None:
    assert collapsed([BAD], plan(), SPACE) is None
    assert collapsed([GOOD, BAD], plan(), CellSpace(("skip_connect", "none"), 1)) is None
    warm = Plan.of("pc_darts", DartsOptions(), epochs=10, steps_an_epoch=3)
    assert collapsed([GOOD, GOOD, BAD], warm, SPACE) is None
    assert collapsed([GOOD, GOOD, GOOD, BAD], warm, SPACE) is not None


def test_a_genotype_that_stays_for_long_ends_the_search() -> None:
    assert settled([OTHER, GOOD, GOOD], plan(patience=2)) is None
    reason = settled([OTHER, GOOD, GOOD, GOOD], plan(patience=2))
    assert reason is not None
    assert "epoch 4" in reason
    assert "2 epochs" in reason
    assert settled([GOOD, GOOD, OTHER, GOOD], plan(patience=2)) is None


def test_the_warm_up_does_not_count_as_rest() -> None:
    warm = Plan.of("pc_darts", DartsOptions(patience=2), epochs=10, steps_an_epoch=3)
    assert warm.warm_up == 3
    assert settled([GOOD] * 5, warm) is None
    assert settled([GOOD] * 6, warm) is not None
