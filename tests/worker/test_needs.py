"""What a trial is given room for, and what workers learn of each other's measurements."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.store import trials
from nas.store.artifacts import Stored
from nas.store.states import Phase, TrialState
from tests.support import open_store
from tests.worker.running import a_worker, add, few_digits, trials_of
from worker.admission import FEW, Learned
from worker.context import Context
from worker.needs import TRAINS, learn, need_of
from worker.orders import Order
from worker.step import look, take

CPU = torch.device("cpu")


def order(context: Context) -> Order:
    """Of a search trial with its candidate."""
    claim = take(context, look(context))
    assert claim is not None
    space = claim.spec.search_space()
    return Order(replace(claim, candidate=space.sample(np.random.default_rng(0))))


def test_a_trial_needs_what_the_formula_says_with_its_recipe_and_its_images(tmp_path: Path) -> None:
    data = few_digits()
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        add(context)
        one = order(context)
        claim = one.claim
        found = need_of(one, data, CPU)
        assert found is not None
        assert found.peak_bytes is not None
        assert found.data_bytes == (216 + 72) * (64 + 8)
        assert not found.alone
        halved = need_of(replace(one, claim=replace(claim, halvings=1, alone=True)), data, CPU)
        assert halved is not None
        assert halved.peak_bytes is not None
        assert halved.peak_bytes <= found.peak_bytes
        assert halved.alone
        recipe = claim.spec.recipe.model_copy(update={"ema": 0.9, "optimizer": "adam"})
        richer = replace(claim, spec=claim.spec.model_copy(update={"recipe": recipe}))
        more = need_of(replace(one, claim=richer), data, CPU)
        assert more is not None
        assert more.peak_bytes is not None
        assert more.peak_bytes > found.peak_bytes
        assert need_of(replace(one, weights=Stored("0" * 64, 1)), data, CPU) is None  # it is not trained


@pytest.mark.parametrize("phase", Phase)
def test_each_phase_is_counted_runs_alone_or_takes_nothing(tmp_path: Path, phase: Phase) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        add(context)
        one = order(context)
        found = need_of(replace(one, claim=replace(one.claim, phase=phase)), few_digits(), CPU)
    if phase in TRAINS:
        assert found is not None
        assert found.peak_bytes is not None
    else:
        assert (found is None) == (phase in (Phase.SCREENING, Phase.REPORT))
        assert found is None or found.peak_bytes is None


def test_a_process_learns_from_what_others_have_measured_on_devices_of_its_kind(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, budget={"trials": FEW, "epochs": 1}, space={"channels": 64, "cells": 8, "nodes": 4})
        held: list[int] = []
        for _ in range(FEW):
            one = order(context)
            need = need_of(one, few_digits(), CPU)
            assert need is not None
            assert need.peak_bytes is not None
            candidate = one.claim.candidate
            assert candidate is not None
            with store.write() as session:
                trials.set_candidate(session, one.claim, candidate, str(one.claim.number), trials.Costs(1, 1))
                trials.finish(session, one.claim, TrialState.COMPLETE, peak_bytes=3 * need.peak_bytes)
            held.append(3 * need.peak_bytes)
        assert [trial.peak_bytes for trial in trials_of(context, job_id)][:FEW] == held
        learned, elsewhere = Learned(), Learned()
        learn(learned, store, CPU)
        learn(elsewhere, store, torch.device("cuda"))
    assert learned.factor == pytest.approx(3.0)
    assert elsewhere.factor == Learned().factor
