"""Searches whose trials wait at rungs, and go on from their checkpoints."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

import worker.train
from nas.data.builtin import BUILTIN
from nas.model import Network
from nas.store import trials
from nas.store.states import JobState, Phase, Reason, TrialState
from nas.store.tables import Artifact, Epoch, Trial
from nas.train.recipe import Recipe
from tests.support import expire, open_store
from tests.worker.running import SEARCHING, a_worker, add, job_of, run_until_report, run_while, trials_of
from worker.context import Context
from worker.evaluate import evaluate
from worker.step import look, step, take

HALVING = {"method": "halving", "eta": 2, "first": 1}
"""With four epochs: rungs after 1 and 2."""

FINAL = {"finalists": 1, "controls": 1, "epochs": 1, "seeds": 1}


def searched(context: Context, job_id: str) -> list[Trial]:
    return [trial for trial in trials_of(context, job_id) if trial.phase == Phase.SEARCH]


def epochs_of(context: Context, trial: Trial) -> list[int]:
    with context.store.read() as session:
        return list(session.scalars(select(Epoch.epoch).where(Epoch.trial_id == trial.id).order_by(Epoch.epoch)))


def test_one_in_eta_goes_on_at_each_rung_and_none_trains_an_epoch_twice(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        budget = {"trials": 8, "epochs": 4}
        job_id = add(context, budget=budget, pruning=HALVING, final=FINAL)
        run_until_report(context, job_id)
        job, found = job_of(context, job_id), searched(context, job_id)
        assert (job.state, job.reason) == (JobState.FINALIZING, None)
        # 8 reach the first rung, 4 the second, 2 the end; asynchronously one more may have gone on at a rung.
        reached = [sum(trial.epoch >= epoch for trial in found) for epoch in (1, 2, 4)]
        assert reached[0] == 8
        assert 4 <= reached[1] <= 6
        assert 2 <= reached[2] <= 4
        assert {trial.epoch for trial in found} <= {1, 2, 4}
        for trial in found:
            assert epochs_of(context, trial) == list(range(1, trial.epoch + 1))
            assert [epoch for epoch, _ in trial.rungs or []] == [rung for rung in (1, 2, 4) if rung <= trial.epoch]
            complete = trial.epoch == 4
            assert (trial.state, trial.reason) == (
                (TrialState.COMPLETE, None) if complete else (TrialState.PRUNED, Reason.RUNG)
            )
        assert job.search_epochs == sum(trial.epoch for trial in found)
        with store.read() as session:
            assert session.scalars(select(Artifact).where(Artifact.kind == "checkpoint")).all() == []


def test_those_that_go_on_are_the_best_of_their_rung(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, budget={"trials": 6, "epochs": 2}, pruning=HALVING)
        run_while(context, job_id, *SEARCHING)
        found = searched(context, job_id)
    at_the_rung = {trial.number: (trial.rungs or [])[0][1] for trial in found}
    best = max(at_the_rung.values())
    assert any(trial.state == TrialState.COMPLETE and at_the_rung[trial.number] == best for trial in found)
    worst = min(at_the_rung, key=lambda number: at_the_rung[number])
    assert found[worst].state == TrialState.PRUNED


def test_a_search_of_few_trials_trains_its_best_to_the_end(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        pruning = {"method": "halving", "eta": 4, "first": 1}
        job_id = add(context, budget={"trials": 3, "epochs": 2}, pruning=pruning)
        run_while(context, job_id, *SEARCHING)
        found = searched(context, job_id)
    assert [trial.state for trial in found].count(TrialState.COMPLETE) == 1
    best = max(found, key=lambda trial: (trial.rungs or [])[0][1])
    assert best.state == TrialState.COMPLETE


def test_each_rung_ends_annealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipes: list[Recipe] = []

    def noted(*args: Any, **kwargs: Any) -> Network:
        recipes.append(args[2])
        return evaluate(*args, **kwargs)

    monkeypatch.setattr(worker.train, "evaluate", noted)
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        recipe = {"batch_size": 18}  # twelve steps an epoch
        job_id = add(context, budget={"trials": 2, "epochs": 4}, pruning=HALVING, final=FINAL, recipe=recipe)
        run_until_report(context, job_id)
        with store.read() as session:
            lrs = session.execute(
                select(Epoch.epoch, Epoch.lr, Epoch.trial_id).join(Trial).where(Trial.phase == Phase.SEARCH)
            ).all()
    assert {recipe.rungs for recipe in recipes} == {(1, 2), ()}  # the retrainings have none
    peak = recipes[0].lr
    ends = [lr for epoch, lr, _ in lrs if epoch in (1, 2, 4)]
    assert max(ends) < 0.25 * peak  # the last step of an epoch that a rung ends with
    assert any(lr > 0.5 * peak for epoch, lr, _ in lrs if epoch == 3)


def test_a_trial_whose_worker_dies_after_the_rung_is_paused_by_the_next_one(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, budget={"trials": 2, "epochs": 4}, pruning=HALVING)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trials, "pause", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                step(context)
        [trial] = searched(context, job_id)
        assert (trial.state, trial.epoch) == (TrialState.RUNNING, 1)
        expire(store)
        step(context)
        [trial] = searched(context, job_id)
        assert (trial.state, trial.epoch, trial.attempt) == (TrialState.PAUSED, 1, 2)
        assert epochs_of(context, trial) == [1]


def test_a_promoted_trial_that_is_lost_resumes_towards_its_next_rung(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store:
        with a_worker(store, tmp_path) as context:
            job_id = add(context, budget={"trials": 2, "epochs": 4}, pruning=HALVING)
            step(context)
            step(context)
            claim = take(
                context, look(context)
            )  # the better of the two, taken on, and then nothing more is heard of its worker
            assert claim is not None
            assert (claim.epoch, claim.stage) == (1, 2)
        expire(store)
        with a_worker(store, tmp_path) as context:
            step(context)
            trial = next(trial for trial in searched(context, job_id) if trial.number == claim.number)
            assert (trial.state, trial.epoch, trial.attempt) == (TrialState.PAUSED, 2, 3)


@pytest.mark.parametrize("method", ["hyperband", "median", "none"])
def test_other_pruners_run_to_the_end_of_the_job(tmp_path: Path, method: str) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, budget={"trials": 9, "epochs": 4}, pruning=method, final=FINAL)
        run_while(context, job_id, *SEARCHING)
        assert job_of(context, job_id).state == JobState.FINALIZING
        states = [trial.state for trial in searched(context, job_id)]
    assert set(states) <= {TrialState.COMPLETE, TrialState.PRUNED, TrialState.PAUSED}
    assert TrialState.COMPLETE in states
    assert method != "none" or set(states) == {TrialState.COMPLETE}


def test_a_stop_in_the_middle_of_a_stage_gives_the_trial_back(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store:
        seen: list[int] = []

        def stopping() -> bool:
            seen.append(1)
            return len(seen) >= 15

        with a_worker(store, tmp_path, stopping) as context:
            data, pruning = BUILTIN["digits"].load(), {"method": "halving", "first": 2}
            job_id = add(context, data, budget={"trials": 1, "epochs": 6}, pruning=pruning)
            step(context)
            [trial] = searched(context, job_id)
            assert (trial.state, trial.epoch, trial.stage) == (TrialState.QUEUED, 1, 2)
        with a_worker(store, tmp_path) as context:
            step(context)
            [trial] = searched(context, job_id)
        assert (trial.state, trial.epoch) == (TrialState.PAUSED, 2)
