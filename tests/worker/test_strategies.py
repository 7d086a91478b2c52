"""Strategies in jobs: what is prepared, what is screened, several objectives, spaces that come to their end."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.search.screening import BATCH, Scored, batches, combine
from nas.seeds import derive
from nas.space import Candidate, known
from nas.spec import JobSpec
from nas.store import files
from nas.store.states import JobState, Phase, TrialState
from nas.store.tables import Trial
from tests.support import open_store
from tests.worker.running import ALL, SEARCHING, a_worker, add, job_of, run_while, trials_of
from worker.context import Context
from worker.screening import scorer
from worker.step import step

FINAL = {"finalists": 1, "controls": 1, "epochs": 1, "seeds": 1}
SHORT: dict[str, Any] = {"budget": {"trials": 5, "epochs": 1}, "final": FINAL}


def of_phase(context: Context, job_id: str, phase: Phase) -> list[Trial]:
    return [trial for trial in trials_of(context, job_id) if trial.phase == phase]


def spec_of(context: Context, job_id: str) -> JobSpec:
    return JobSpec.model_validate(job_of(context, job_id).spec)


def test_a_default_job_screens_first_and_begins_with_the_best_of_that(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, strategy="auto", options={"warm_start": 100}, **SHORT)
        run_while(context, job_id, *SEARCHING)
        job = job_of(context, job_id)
        assert (job.state, job.reason) == (JobState.FINALIZING, None)
        screened, searched = of_phase(context, job_id, Phase.SCREENING), of_phase(context, job_id, Phase.SEARCH)
        assert [trial.state for trial in screened] == [TrialState.COMPLETE] * batches(100)
        assert len(searched) == 5
        assert job.trials_planned == 5 + len(screened)
        with store.read() as session:
            found = files.of_kind(session, job_id, "candidates")
        scored = [
            Scored.from_json(entry)
            for _, sha256 in found
            for entry in json.loads(context.artifacts.get(sha256))["candidates"]
        ]
        assert BATCH < len(scored) <= BATCH * batches(100)
        ranks = combine(scored)
        best = scored[max(range(len(scored)), key=lambda index: ranks[index])].candidate
        assert Candidate.from_json(searched[0].candidate) == best


def test_two_workers_share_the_screening_and_the_search_waits_for_both(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, strategy="auto", options={"warm_start": 100}, **SHORT)
        step(context)
        assert of_phase(context, job_id, Phase.SEARCH) == []
        assert [trial.state for trial in of_phase(context, job_id, Phase.SCREENING)] == [
            TrialState.COMPLETE,
            TrialState.QUEUED,
        ]
        step(context)
        step(context)
        assert len(of_phase(context, job_id, Phase.SEARCH)) == 1


def test_a_users_start_comes_before_what_was_screened(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, strategy="auto", options={"warm_start": 20}, start=["DARTS_V2"], **SHORT)
        run_while(context, job_id, *SEARCHING)
        first = of_phase(context, job_id, Phase.SEARCH)[0]
    candidate = Candidate.from_json(first.candidate)
    sets = [
        sorted((edge.op, edge.source) for edges in cell.nodes for edge in edges)
        for genotype in (candidate.architecture, known("DARTS_V2"))
        for cell in (genotype.normal, genotype.reduce)  # type: ignore[union-attr]
    ]
    assert sets[:2] == sets[2:]


def test_without_a_warm_start_nothing_is_screened(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, strategy="auto", options={"warm_start": 0}, **SHORT)
        run_while(context, job_id, *SEARCHING)
        assert of_phase(context, job_id, Phase.SCREENING) == []
        assert len(of_phase(context, job_id, Phase.SEARCH)) == 5


def test_screening_trains_the_best_of_several_proposals(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, strategy="random", screening=12, budget={"trials": 2, "epochs": 1}, seed=3)
        run_while(context, job_id, *SEARCHING)
        [first, _] = of_phase(context, job_id, Phase.SEARCH)
        spec = spec_of(context, job_id)
        space, data = spec.search_space(), context.data(job_of(context, job_id).dataset_id)
        score = scorer(spec, data)
        proposed = [space.sample(np.random.default_rng(derive(3, "propose", 0, attempt))) for attempt in range(12)]
        best = max(proposed, key=score)
    assert Candidate.from_json(first.candidate) == best


def test_a_grid_tries_everything_once_and_ends(tmp_path: Path) -> None:
    space = {"ops": ["skip_connect", "max_pool_3x3"], "nodes": 1, "channels": 2, "cells": 2}
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, strategy="grid", space=space, budget={"trials": 50, "epochs": 1}, final=FINAL)
        run_while(context, job_id, *SEARCHING)
        job, searched = job_of(context, job_id), of_phase(context, job_id, Phase.SEARCH)
    assert job.state == JobState.FINALIZING
    assert len({trial.digest for trial in searched if trial.digest}) == 4


def test_a_job_with_two_objectives_and_a_limit_ends_with_its_pareto_set(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(
            context,
            strategy="auto",
            options={"warm_start": 20},
            objectives=["accuracy", "latency_ms"],
            limits={"max_latency_ms": 1000.0},
            budget={"trials": 6, "epochs": 2},
            pruning={"method": "halving", "eta": 2, "first": 1},
            final=FINAL,
        )
        run_while(context, job_id, *SEARCHING)
        job, searched = job_of(context, job_id), of_phase(context, job_id, Phase.SEARCH)
    assert job.state == JobState.FINALIZING
    assert all(trial.latency_ms is not None for trial in searched)
    done = [trial for trial in searched if trial.state == TrialState.COMPLETE]
    front = [trial for trial in done if trial.front]
    assert front
    for trial in done:
        better = [
            other
            for other in done
            if (other.accuracy or 0) >= (trial.accuracy or 0)
            and (other.latency_ms or 0) <= (trial.latency_ms or 0)
            and ((other.accuracy, other.latency_ms) != (trial.accuracy, trial.latency_ms))
        ]
        assert trial.front == (not better)
    assert job.best_trial in {trial.number for trial in front}


@pytest.mark.parametrize("strategy", ["auto", "evolution"])
def test_one_worker_and_one_seed_give_one_search_of_every_strategy(tmp_path: Path, strategy: str) -> None:
    def search(folder: Path) -> list[Any]:
        folder.mkdir()
        with open_store("sqlite", folder) as store, a_worker(store, folder) as context:
            options = {"warm_start": 10} if strategy == "auto" else {}
            job_id = add(
                context, strategy=strategy, options=options, budget={"trials": 10, "epochs": 2}, pruning={"first": 1}
            )
            run_while(context, job_id, *SEARCHING)
            return [(t.number, t.candidate, t.rungs, t.accuracy) for t in of_phase(context, job_id, Phase.SEARCH)]

    assert search(tmp_path / "a") == search(tmp_path / "b")


def test_a_one_shot_job_trains_a_supernet_and_then_what_it_hands_over(tmp_path: Path) -> None:
    options = {"epochs": 2, "candidates": 3}
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        final = FINAL | {"finalists": 2}
        job_id = add(context, strategy="gdas", options=options, budget={"trials": 3, "epochs": 1}, final=final)
        run_while(context, job_id, *ALL)
        job = job_of(context, job_id)
        assert (job.state, job.reason) == (JobState.SUCCEEDED, None)
        [supernet] = of_phase(context, job_id, Phase.SUPERNET)
        searched = of_phase(context, job_id, Phase.SEARCH)
        handed_over = context.prepared(job_id)
    assert (supernet.state, supernet.epoch) == (TrialState.COMPLETE, 2)
    assert [trial.candidate for trial in searched] == [entry["candidate"] for entry in handed_over]
    assert job.verdict is not None
    assert job.verdict["supernet"]["n"] == 2
    assert "upernet" in job.verdict["text"]
