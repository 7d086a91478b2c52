"""Training-free scores in a job."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import worker.screening
from nas.data.images import ImageSet
from nas.errors import LeaseLost, Stopped
from nas.model import cost_of
from nas.search.screening import BATCH, Scored
from nas.space import Candidate
from nas.spec import JobSpec
from nas.store import trials
from nas.store.claims import Claim
from nas.store.states import Phase, TrialState
from nas.store.tables import Artifact, Trial
from tests.processes import TINY
from tests.support import claim_in, open_store
from tests.worker.running import a_worker, add, few_digits, trials_of
from worker.context import Context
from worker.screening import images, prepare, scorer
from worker.step import carry_out_here

DIGITS = few_digits()


def screen(context: Context, claim: Claim) -> None:
    """A screening from its beginning to its end, as worker.step runs it; what it raises is raised."""
    order = prepare(context, claim)
    assert order is not None
    carry_out_here(context, order)


@contextmanager
def screening(folder: Path, **changes: Any) -> Iterator[tuple[Context, Claim]]:
    """A worker that has claimed the first batch of a job."""
    folder.mkdir(exist_ok=True)
    with open_store("sqlite", folder) as store, a_worker(store, folder) as context:
        add(context, strategy="auto", **{"budget": {"trials": 20, "epochs": 1}} | changes)
        with store.write() as session:
            claim = claim_in(session, "w", 30.0)
        assert claim is not None
        assert claim.phase == Phase.SCREENING
        yield context, claim


def result(context: Context, claim: Claim) -> list[Scored]:
    with context.store.read() as session:
        [stored] = session.query(Artifact).filter_by(trial_id=claim.trial_id, kind="candidates")
        content = json.loads(context.artifacts.get(stored.sha256))
    assert content.keys() == {"candidates"}
    return [Scored.from_json(entry) for entry in content["candidates"]]


def screened(folder: Path, batch: int = 0, **changes: Any) -> list[Scored]:
    with screening(folder, **changes) as (context, claim):
        screen(context, replace(claim, seed_index=batch))
        return result(context, claim)


def test_a_batch_is_scored_and_stored_with_the_end_of_its_trial(tmp_path: Path) -> None:
    with screening(tmp_path) as (context, claim):
        screen(context, claim)
        [trial] = [trial for trial in trials_of(context, claim.job_id) if trial.id == claim.trial_id]
        assert trial.state == TrialState.COMPLETE
        found = result(context, claim)
        space = claim.spec.search_space()
    assert len(found) == len({space.digest(scored.candidate) for scored in found}) == BATCH
    for scored in found[:5]:
        cost = cost_of(scored.candidate, image=(1, 8, 8), outputs=10)
        assert space.contains(scored.candidate)
        assert (scored.params, scored.macs) == (cost.params, cost.macs)
        assert scored.nwot == scorer(claim.spec, DIGITS)(scored.candidate)


def test_a_batch_follows_from_the_seed_of_its_job_and_its_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker.screening, "BATCH", 6)
    first, again = (screened(tmp_path / name) for name in "ab")
    second, other = screened(tmp_path / "c", batch=1), screened(tmp_path / "d", seed=1)
    assert first == again
    assert len({scored.candidate for batch in (first, second, other) for scored in batch}) == 18


def test_only_candidates_within_the_limits_are_scored(tmp_path: Path) -> None:
    limit = 3500
    found = screened(tmp_path, limits={"max_params": limit})
    assert 0 < len(found) <= BATCH
    assert all(scored.params <= limit for scored in found)
    everything = screened(tmp_path / "all")
    assert any(scored.params > limit for scored in everything)


def test_a_space_with_few_networks_gives_each_of_them_once(tmp_path: Path) -> None:
    space = {"ops": ["skip_connect", "conv_3x3"], "nodes": 1, "channels": 2, "cells": 2}
    found = screened(tmp_path, space=space)  # two cells are both reduction cells: an operation for each of two inputs
    assert len(found) == 4


def test_what_cannot_be_scored_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Candidate] = []

    def some(candidate: Candidate, *_: Any, **__: Any) -> float:
        seen.append(candidate)
        if len(seen) == 2:
            raise RuntimeError("a user's operation stopped")
        return {3: math.nan, 4: -math.inf}.get(len(seen), 1.0)

    monkeypatch.setattr(worker.screening, "score_candidate", some)
    monkeypatch.setattr(worker.screening, "BATCH", 6)
    found = screened(tmp_path)
    assert [scored.candidate for scored in found] == [seen[0], seen[4], seen[5]]


def test_a_worker_that_is_stopped_writes_nothing(tmp_path: Path) -> None:
    with screening(tmp_path) as (context, claim):
        asked: list[int] = []

        def stopping() -> bool:
            asked.append(1)
            return len(asked) > 3

        context.stopping = stopping
        with pytest.raises(Stopped):
            screen(context, claim)
        with context.store.read() as session:
            assert session.get_one(Trial, claim.trial_id).state == TrialState.RUNNING
            assert session.query(Artifact).filter_by(trial_id=claim.trial_id).count() == 0


def test_a_worker_that_lost_its_lease_writes_nothing(tmp_path: Path) -> None:
    with screening(tmp_path) as (context, claim):
        with pytest.raises(LeaseLost):
            screen(context, replace(claim, attempt=claim.attempt + 1, deadline=datetime.now(UTC)))
        with context.store.read() as session:
            assert session.query(Artifact).filter_by(trial_id=claim.trial_id).count() == 0


def test_the_result_is_stored_with_the_end_of_the_trial_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with screening(tmp_path) as (context, claim):
        late = replace(claim, deadline=datetime.now(UTC))
        monkeypatch.setattr(trials, "finish", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            screen(context, late)
        with context.store.read() as session:
            assert session.query(Artifact).filter_by(trial_id=claim.trial_id).count() == 0


def test_after_its_deadline_a_batch_ends_with_what_it_has(tmp_path: Path) -> None:
    with screening(tmp_path) as (context, claim):
        screen(context, replace(claim, deadline=datetime.now(UTC) - timedelta(seconds=1)))
        assert result(context, claim) == []


def spec(**changes: Any) -> JobSpec:
    return JobSpec.model_validate(TINY | changes)


def test_the_images_are_different_ones_of_the_training_split_and_normalised() -> None:
    twice = replace(DIGITS, images=DIGITS.images.copy())
    twice.images[twice.train] = twice.images[twice.train[np.arange(len(twice.train)) % 40]]
    found = images(spec(), twice)
    assert found.shape == (32, 1, 8, 8)
    assert len(torch.unique(found.flatten(1), dim=0)) == 32
    assert found.mean().item() == pytest.approx(0, abs=1e-5)
    assert found.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    others = replace(DIGITS, train=DIGITS.train[:20])
    pixels = {tuple(row.tolist()) for row in images(spec(), others).argsort(dim=0).flatten(1).unbind()}
    assert len(pixels) == 20  # there are no more
    assert torch.equal(images(spec(seed=1), DIGITS), images(spec(seed=1), DIGITS))
    assert not torch.equal(images(spec(seed=1), DIGITS), images(spec(seed=2), DIGITS))


@pytest.mark.parametrize(
    ("space", "side"),
    [
        ({}, 8),
        ({"stem": "imagenet"}, 64),
        ({"stem": {"choices": ["cifar", "imagenet"]}}, 64),
        ({"channels": {"choices": [4, 8]}}, 8),
        ({"kind": "layers"}, 16),
    ],
    ids=str,
)
def test_images_keep_as_many_pixels_as_the_networks_of_the_space_need(space: dict[str, Any], side: int) -> None:
    large = ImageSet(
        np.random.default_rng(0).integers(0, 256, (40, 3, 64, 64), np.uint8),
        np.zeros(40, np.int64),
        ("a", "b"),
        *(np.arange(40), np.arange(0), np.arange(0)),
    )
    body = {"dataset": "large", "space": space}
    assert images(JobSpec.model_validate(body), large).shape[2:] == (side, side)


def test_a_candidate_that_cannot_be_scored_has_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> float:
        raise RuntimeError("a user's operation stopped")

    candidate = spec().search_space().sample(np.random.default_rng(0))
    assert math.isfinite(scorer(spec(), DIGITS)(candidate))
    monkeypatch.setattr(worker.screening, "score_candidate", stop)
    assert math.isnan(scorer(spec(), DIGITS)(candidate))
