"""The life of trials, step by step, in this process."""

from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from sqlalchemy import select

import worker.train
from nas.data.builtin import BUILTIN
from nas.data.images import ImageSet
from nas.estimate import TRIAL_S, estimate
from nas.space import Candidate
from nas.spec import JobSpec
from nas.store import paces
from nas.store.budget import REPORT_S
from nas.store.claims import Claim
from nas.store.session import Store
from nas.store.states import JobState, Phase, Reason, TrialState
from nas.store.tables import Artifact, Epoch, Job, Trial
from nas.train.recipe import Recipe
from tests.processes import TINY
from tests.support import BACKENDS, open_store
from tests.worker.running import ALL, SEARCHING, a_worker, add, job_of, run_until_report, run_while, trials_of
from worker.context import Context
from worker.step import step


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_job_runs_to_its_verified_end(backend: str, tmp_path: Path) -> None:
    final = {"finalists": 2, "controls": 2, "epochs": 2, "seeds": 2}
    with open_store(backend, tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, final=final, strategy="tpe")
        run_while(context, job_id, *ALL)
        job, found = job_of(context, job_id), trials_of(context, job_id)
        assert (job.state, job.reason) == (JobState.SUCCEEDED, None)
        phases = [trial.phase for trial in found]
        assert phases == [Phase.SEARCH] * 3 + [Phase.FINALIST] * 4 + [Phase.CONTROL] * 4 + [Phase.REFERENCE] * 2 + [
            Phase.REPORT
        ]
        assert all(trial.state == TrialState.COMPLETE for trial in found if trial.phase != Phase.SEARCH)
        ended = [t for t in found if t.phase == Phase.SEARCH and t.state == TrialState.COMPLETE]
        best = sorted((-(trial.accuracy or 0), trial.number) for trial in ended)
        expected = {found[number].digest for _, number in best[:2]}
        assert {trial.digest for trial in found if trial.phase == Phase.FINALIST} == expected
        assert job.verdict is not None
        assert job.verdict["winner"]["n"] == 2
        assert job.verdict["controls"]["n"] == 4
        assert job.best_trial is not None
        assert found[job.best_trial].digest in expected
        with store.read() as session:
            kinds = sorted(session.scalars(select(Artifact.kind).join(Trial).where(Trial.job_id == job_id)))
        assert kinds == ["package"] + ["weights"] * 10  # no checkpoint is left
        stored = [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
        assert len(stored) == 1 + 1 + 10  # the data set, the package, the weights
        check_estimate(store, job)


def check_estimate(store: Store, job: Job) -> None:
    """What is expected of such a job by its own epochs is what it took."""
    with store.read() as session:
        same = paces.newest(session, {"cpu"}, job.dataset_id)
    found = estimate(JobSpec.model_validate(job.spec), same[0].facts, same=same)
    assert (found.search_epochs, found.final_epochs) == (job.search_epochs, job.final_epochs)
    epoch_s = median(pace.epoch_s for pace in same)  # the first epochs of a process are far slower than all others
    training_s = found.expected_s - REPORT_S - found.trials * TRIAL_S
    assert 1 / 3 < training_s / (epoch_s * (job.search_epochs + job.final_epochs)) < 3


def test_one_worker_and_one_seed_give_one_search(tmp_path: Path) -> None:
    def search(folder: Path, seed: int) -> list[Any]:
        with open_store("sqlite", folder) as store, a_worker(store, folder) as context:
            job_id = add(context, strategy="tpe", budget={"trials": 12, "epochs": 1}, seed=seed)
            run_while(context, job_id, *SEARCHING)
            with store.read() as session:
                losses = session.scalars(select(Epoch.train_loss).order_by(Epoch.trial_id, Epoch.epoch)).all()
            searched = [trial for trial in trials_of(context, job_id) if trial.phase == Phase.SEARCH]
            return [[(t.number, t.candidate, t.accuracy, t.state) for t in searched], losses]

    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    first, again, other = search(folders[0], 5), search(folders[1], 5), search(folders[2], 6)
    assert first == again
    assert [row[1] for row in first[0]] != [row[1] for row in other[0]]


def test_a_small_space_ends_the_search_early_and_says_so(tmp_path: Path) -> None:
    space = {"ops": ["skip_connect", "max_pool_3x3"], "nodes": 1, "channels": 2, "cells": 2}
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, space=space, budget={"trials": 50, "epochs": 1})
        run_while(context, job_id, *SEARCHING)
        job = job_of(context, job_id)
        searched = [trial for trial in trials_of(context, job_id) if trial.phase == Phase.SEARCH]
        # Two cells are both reduction cells: one node, an operation for each of its two inputs, four networks.
        assert len({trial.digest for trial in searched if trial.digest}) == 4
        assert job.state == JobState.FINALIZING
        assert job.note is not None
        assert "found no further network" in job.note
        assert job.trials_planned == len(searched) == 5
        assert searched[-1].state == TrialState.CANCELLED


def test_a_trial_that_diverges_is_recorded_with_its_reason_and_the_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proper = worker.train.recipe_of

    def wild(claim: Claim, candidate: Candidate, data: ImageSet) -> Recipe:
        recipe = proper(claim, candidate, data)
        return recipe.model_copy(update={"lr": 1e30, "warmup": 0.0}) if claim.number == 1 else recipe

    monkeypatch.setattr(worker.train, "recipe_of", wild)
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, budget={"trials": 3, "epochs": 1})
        run_while(context, job_id, *SEARCHING)
        found = trials_of(context, job_id)
    assert [(trial.state, trial.reason) for trial in found[:3]] == [
        (TrialState.COMPLETE, None),
        (TrialState.FAILED, "diverged"),
        (TrialState.COMPLETE, None),
    ]
    assert "loss became" in (found[1].error or "")


def test_a_trial_that_raises_is_recorded_with_its_traceback_and_the_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proper = worker.train.recipe_of

    def broken(claim: Claim, candidate: Candidate, data: ImageSet) -> Recipe:
        if claim.number == 0:
            raise OSError("no space left on device")
        return proper(claim, candidate, data)

    monkeypatch.setattr(worker.train, "recipe_of", broken)
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, budget={"trials": 2, "epochs": 1})
        run_while(context, job_id, *SEARCHING)
        found = trials_of(context, job_id)
    assert (found[0].state, found[0].reason) == (TrialState.FAILED, "error")
    assert "OSError: no space left on device" in (found[0].error or "")
    assert found[1].state == TrialState.COMPLETE


def test_a_retraining_that_fails_once_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proper = worker.train.recipe_of
    failed: list[int] = []

    def flaky(claim: Claim, candidate: Candidate, data: ImageSet) -> Recipe:
        if claim.phase == Phase.FINALIST and not failed:
            failed.append(claim.number)
            raise OSError("the disk was full for a moment")
        return proper(claim, candidate, data)

    monkeypatch.setattr(worker.train, "recipe_of", flaky)
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, budget={"trials": 1, "epochs": 1}, final=TINY["final"] | {"epochs": 1, "seeds": 1})
        run_until_report(context, job_id)
        job, found = job_of(context, job_id), trials_of(context, job_id)
    assert job.state == JobState.FINALIZING
    assert [(trial.state, trial.attempt) for trial in found if trial.number in failed] == [(TrialState.COMPLETE, 2)]


def test_a_budget_of_seconds_ends_the_search_and_the_job_goes_on_to_its_report(tmp_path: Path) -> None:
    budget = {"trials": 10_000, "epochs": 500, "seconds": 2.0}
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, budget=budget, final=TINY["final"] | {"epochs": 1, "seeds": 1})
        run_until_report(context, job_id)
        job, found = job_of(context, job_id), trials_of(context, job_id)
    assert job.state == JobState.FINALIZING
    assert job.note == "the search ended in time for a job of 2 s, as its budget says"
    assert {(t.state, t.reason) for t in found if t.phase == Phase.SEARCH} == {(TrialState.PRUNED, "budget")}


def test_a_worker_that_is_stopped_in_the_middle_gives_the_trial_back_with_its_checkpoint(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store:
        seen: list[int] = []

        def stopping() -> bool:  # at the 30th step, in the third epoch of eleven steps each
            seen.append(1)
            return len(seen) >= 30

        with a_worker(store, tmp_path, stopping) as context:
            job_id = add(context, BUILTIN["digits"].load(), budget={"trials": 1, "epochs": 5})
            step(context)
            [trial] = trials_of(context, job_id)
            assert (trial.state, trial.epoch, trial.losses, trial.owner) == (TrialState.QUEUED, 2, 0, None)
        with a_worker(store, tmp_path) as context:
            step(context)
            [trial] = trials_of(context, job_id)
        assert (trial.state, trial.epoch, trial.attempt) == (TrialState.COMPLETE, 5, 2)


def test_a_report_that_fails_three_times_fails_the_job_with_the_reason(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        final = TINY["final"] | {"epochs": 1, "seeds": 1}
        job_id = add(context, budget={"trials": 1, "epochs": 1}, final=final)
        run_until_report(context, job_id)
        with store.read() as session:
            sha256 = session.scalars(select(Artifact.sha256).where(Artifact.kind == "weights")).first() or ""
        (tmp_path / "artifacts" / sha256[:2] / sha256).write_bytes(b"not the weights")
        run_while(context, job_id, *ALL)
        job, found = job_of(context, job_id), trials_of(context, job_id)
    assert job.state == JobState.FAILED
    assert sha256 in (job.reason or "")
    assert (found[-1].phase, found[-1].state, found[-1].attempt) == (Phase.REPORT, TrialState.FAILED, 3)
    assert job.verdict is None


def test_a_job_whose_next_phase_cannot_be_planned_fails_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, budget={"trials": 1, "epochs": 1})
        step(context)
        monkeypatch.setattr(Context, "data", lambda *_: 1 / 0)
        run_while(context, job_id, *ALL)
        job = job_of(context, job_id)
    assert job.state == JobState.FAILED
    assert job.reason == "the next phase could not be planned: ZeroDivisionError: division by zero"


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_a_network_too_large_for_the_device_is_tried_again_once_and_is_no_accuracy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def too_large(*_: Any, **__: Any) -> Any:
        raise error

    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, budget={"trials": 5, "epochs": 1})
        with monkeypatch.context() as patch:
            patch.setattr(worker.train, "evaluate", too_large)
            step(context)
            [first] = trials_of(context, job_id)
            assert (first.state, first.attempt) == (TrialState.QUEUED, 1)
            for _ in range(7):
                step(context)
        found = trials_of(context, job_id)
        assert [(trial.state, trial.reason, trial.attempt) for trial in found] == [
            (TrialState.FAILED, Reason.OUT_OF_MEMORY, 2)
        ] * 4
        assert job_of(context, job_id).state == JobState.RUNNING  # four in a row are no fault of the machine
        seen = context.history(job_id, JobSpec.model_validate(job_of(context, job_id).spec))
        assert [(one.finished, one.complete, one.score) for one in seen] == [(True, False, None)] * 4


def test_a_job_whose_plugin_is_not_here_keeps_a_worker_from_no_other_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        elsewhere = add(context, priority=9)
        here = add(context, strategy="random", budget={"trials": 1, "epochs": 1})
        with store.write() as session:
            job = session.get_one(Job, elsewhere)
            job.spec = job.spec | {"strategy": "mine"}
        steps = [step(context) for _ in range(3)]
        assert steps[:2] == [False, True]
        assert trials_of(context, here)[0].state == TrialState.COMPLETE
        assert (job_of(context, elsewhere).state, trials_of(context, elsewhere)) == (JobState.QUEUED, [])
        said = [record.getMessage() for record in caplog.records if elsewhere in record.getMessage()]
        assert len(said) == 1
        assert "NAS_PLUGINS" in said[0]
