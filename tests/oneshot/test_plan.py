"""What suits where the options leave it open."""

import pytest

from nas.oneshot.plan import Plan, arch_lr, default_epochs, supernet_shape
from nas.search.options import DartsOptions, FirstSecondOptions, PartialOptions, SinglePathOptions
from nas.space import Shape


def test_short_searches_learn_their_architecture_faster_unless_told_otherwise() -> None:
    assert arch_lr(None, 100) == pytest.approx(0.03)
    assert arch_lr(None, 20_000) == 3e-4
    assert arch_lr(0.5, 100) == 0.5


def test_a_plan_has_what_the_options_say() -> None:
    options = FirstSecondOptions(
        order="second", arch_lr=0.02, discretise="alpha", max_skip=0.3, patience=4, candidates=7
    )
    plan = Plan.of("darts", options, epochs=10, steps_an_epoch=5)
    assert (plan.second_order, plan.arch_lr, plan.perturbation, plan.max_skip) == (True, 0.02, False, 0.3)
    assert (plan.patience, plan.candidates, plan.share, plan.samples, plan.warm_up) == (4, 7, 1, 0, 0)
    plan = Plan.of("pc_darts", PartialOptions(share=3), epochs=10, steps_an_epoch=5)
    assert (plan.second_order, plan.perturbation, plan.share, plan.warm_up, plan.patience) == (False, True, 3, 3, 5)
    plan = Plan.of("random_ws", SinglePathOptions(samples=9), epochs=30, steps_an_epoch=5)
    assert (plan.samples, plan.perturbation, plan.patience) == (9, False, 15)


def test_few_images_are_seen_more_often() -> None:
    for method in ("darts", "pc_darts", "gdas", "random_ws"):
        epochs = [default_epochs(method, images) for images in (100, 1_150, 50_000)]
        assert epochs == sorted(epochs, reverse=True)
        assert (epochs[0], epochs[-1]) == (50, 6)
    assert default_epochs("darts", 300, second_order=True) < default_epochs("darts", 300)


def test_a_supernet_is_no_wider_than_published_unless_told_so() -> None:
    shape = Shape(
        channels=64, cells=20, tail=1, norm="group", merge="concat", dropout=0.5, auxiliary=0.4, drop_path=0.2
    )
    found = supernet_shape(shape, DartsOptions())
    assert (found.channels, found.cells, found.tail, found.norm, found.merge) == (16, 8, 1, "batch_fixed", "sum")
    assert (found.dropout, found.drop_path, found.auxiliary) == (0.0, 0.0, 0.0)
    found = supernet_shape(shape, DartsOptions(channels=24, cells=9))
    assert (found.channels, found.cells, found.tail) == (24, 9, 0)
    assert supernet_shape(Shape(), DartsOptions()).channels == Shape().channels
