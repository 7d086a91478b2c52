"""What a search will cost, by hand for small jobs; tests/worker/test_step.py has it beside what a real one took."""

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nas.complete import complete
from nas.data.builtin import BUILTIN
from nas.data.facts import BUILTIN_FACTS, Facts
from nas.data.splits import split
from nas.estimate import Estimate, estimate
from nas.pacing import rule_s
from nas.spec import JobSpec
from nas.store.paces import Pace

DIGITS = BUILTIN_FACTS["digits"]
PLAIN: dict[str, Any] = {
    "dataset": "digits",
    "strategy": "random",
    "pruning": "none",
    "budget": {"trials": 10, "epochs": 4},
    "final": {"finalists": 1, "controls": 2, "epochs": 5, "seeds": 2},
}


def spec_of(facts: Facts = DIGITS, **changes: Any) -> JobSpec:
    body = JobSpec.model_validate(PLAIN | {"dataset": facts.name} | changes).model_dump(mode="json", exclude_unset=True)
    return complete(body, image=facts.shape, images=facts.train, outputs=facts.outputs, task=facts.task)


def measured(spec: JobSpec, seconds: float, facts: Facts = DIGITS, count: int = 5) -> list[Pace]:
    """Epochs of random networks that take so many times as long as by the rule."""
    space, rng = spec.search_space(), np.random.default_rng(3)
    drawn = [space.sample(rng) for _ in range(count)]
    return [Pace(seconds * rule_s(one, spec, facts), 4, one, spec, facts) for one in drawn]


def expected(**more: Any) -> Estimate:
    return estimate(spec_of(**more), DIGITS)


def test_epochs_are_those_of_all_networks() -> None:
    found = expected()
    assert (found.trials, found.search_epochs, found.final_epochs) == (10, 40, (1 + 2 + 1) * 2 * 5)
    assert expected(pruning="median").search_epochs == 24
    assert expected(pruning={"method": "halving", "eta": 2, "first": 1}).search_epochs == pytest.approx(20)
    assert expected(budget={"trials": 10, "epochs": 4, "total_epochs": 18}).search_epochs == 18
    assert expected(budget={"epochs": 4, "total_epochs": 18}).trials == 5
    few = expected(
        space={"nodes": 1, "ops": ["skip_connect"]}, budget={"trials": 100, "epochs": 4}, final={"finalists": 1}
    )
    assert few.trials == 1  # the space has no more


def test_it_takes_as_long_as_was_measured() -> None:
    spec = spec_of()
    once, twice = (estimate(spec, DIGITS, same=measured(spec, times)) for times in (1.0, 2.0))
    fixed = 10 * 0.3 + 12.0  # of trials beside their epochs, and of the report
    assert once.expected_s - fixed == pytest.approx((twice.expected_s - fixed) / 2, rel=0.01)
    assert once.expected_s == pytest.approx(estimate(spec, DIGITS).expected_s)
    assert once.basis == "measured: 20 epochs of digits on this service"
    assert estimate(spec, DIGITS, others=measured(spec, 1.0)).basis.startswith("measured: 20 epochs of other data sets")
    assert estimate(spec, DIGITS).basis.startswith("a rule of thumb")
    paces = measured(spec, 1.0)
    spread = [estimate(spec, DIGITS, same=paces), estimate(spec, DIGITS, others=paces), estimate(spec, DIGITS)]
    widths = [found.high_s / found.low_s for found in spread]
    assert widths == sorted(widths)
    assert all(found.low_s < found.expected_s < found.high_s for found in spread)
    both = estimate(spec, DIGITS, same=measured(spec, 1.0), others=measured(spec, 50.0))
    assert both == spread[0]


def test_larger_images_and_networks_take_longer() -> None:
    spec = spec_of()
    large = replace(DIGITS, name="large", shape=(1, 16, 16))
    many = replace(DIGITS, name="many", train=11_490)
    small_s = estimate(spec, DIGITS).expected_s
    assert estimate(spec_of(large), large).expected_s > small_s
    assert estimate(spec, many).expected_s > 3 * small_s
    assert expected(space={"channels": 32}).expected_s > 1.5 * small_s
    assert expected(space={"kind": "layers"}).expected_s > 0
    assert estimate(spec, DIGITS, gpu=True).expected_s < small_s / 2


def test_workers_share_the_work_as_far_as_the_job_lets_them() -> None:
    spec = spec_of()
    alone, both, many = (estimate(spec, DIGITS, workers=count) for count in (1, 2, 100))
    fixed = 12.0
    assert (alone.expected_s - fixed) / 2 == pytest.approx(both.expected_s - fixed, rel=0.05)
    assert many.expected_s < both.expected_s
    assert (many.workers, many.lanes) == (100, 100)
    bound = spec_of(budget={"trials": 10, "epochs": 4, "parallel": 1})
    assert estimate(bound, DIGITS, workers=9).expected_s == alone.expected_s
    nobody = estimate(spec, DIGITS, workers=0)
    assert (nobody.expected_s, nobody.workers, nobody.lanes) == (alone.expected_s, 0, 1)
    assert "no worker" in nobody.basis


def test_a_budget_of_seconds_bounds_everything() -> None:
    found = expected(budget={"epochs": 4, "seconds": 60})
    assert found.expected_s <= found.high_s == 60
    assert 1 <= found.trials < 1_000
    longer = expected(budget={"epochs": 4, "seconds": 600})
    assert longer.trials > 5 * found.trials
    assert longer.final_epochs >= found.final_epochs
    target = expected(budget={"trials": 10, "epochs": 4, "target": 0.9})
    assert target.low_s < expected().low_s
    assert target.expected_s == expected().expected_s


def test_what_is_prepared_counts() -> None:
    plain = expected()
    screened = expected(strategy="auto", options={"warm_start": 200})
    assert screened.expected_s > plain.expected_s
    supernet = {
        name: expected(strategy=name, budget={}, final={}) for name in ("darts", "pc_darts", "gdas", "random_ws")
    }
    for name, found in supernet.items():
        spec = spec_of(strategy=name, budget={}, final={})
        assert found.search_epochs == spec.options["epochs"] + spec.budget.trials * spec.budget.epochs
        assert found.final_epochs == (3 + spec.final.controls + 1) * spec.final.seeds * spec.final.epochs
    second = expected(strategy="darts", options={"order": "second", "epochs": 6}, budget={}, final={})
    first = expected(strategy="darts", options={"epochs": 6}, budget={}, final={})
    assert second.expected_s > 1.4 * first.expected_s
    assert expected(screening=50).expected_s > plain.expected_s


def test_an_estimate_takes_no_longer_for_a_wide_frame_than_whoever_types_can_wait() -> None:
    spec = spec_of(space={"channels": {"low": 4, "high": 64}, "cells": {"low": 3, "high": 20}, "nodes": 3})
    began = time.perf_counter()
    estimate(spec, DIGITS)
    assert time.perf_counter() - began < 2.0  # on a busy machine; looking through all of it takes far longer


def test_facts_of_builtin_data_sets_are_what_they_are_once_read() -> None:
    data = BUILTIN["digits"].load()
    assert Facts("digits", data.shape, len(data.train), len(data.validation), data.outputs, data.task) == DIGITS
    assert BUILTIN_FACTS.keys() == BUILTIN.keys()
    for name, train, test in (("mnist", 60_000, 10_000), ("cifar100", 50_000, 10_000)):
        facts = BUILTIN_FACTS[name]
        labels = np.arange(train + test) % facts.outputs
        parts = {"train": np.arange(train), "test": np.arange(train, train + test)}
        found = split(labels, "single_label", parts, 0)
        assert (len(found["train"]), len(found["validation"])) == (facts.train, facts.validation)
