"""Why a trial ended, and what becomes of it then: every policy on real trials."""

import errno
import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

import worker.ending
import worker.evaluate
import worker.train
from nas.data.images import ImageSet
from nas.errors import ArtifactsAway, DiskFull, Diverged
from nas.store import datasets, moves, trials
from nas.store.setbacks import POLICIES
from nas.store.states import JobState, Phase, TrialState
from nas.store.tables import Artifact, Dataset, Epoch, Setback, Trial
from nas.train.recipe import Recipe
from tests.support import LEASE_S, LONG_AGO, epoch, open_store, random_images, take
from tests.worker.running import SEARCHING, a_worker, add, job_of, run_while, trials_of
from worker.context import Context
from worker.step import step
from worker.train import halved

ONE: dict[str, Any] = {"budget": {"trials": 1, "epochs": 3}}


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.ending, "REST_S", 0.0)


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as opened:
        yield opened


def small() -> ImageSet:
    return random_images(8, count=60)


def only(context: Context, job_id: str) -> Trial:
    [trial] = trials_of(context, job_id)
    return trial


def epochs_of(context: Context, trial: Trial) -> list[tuple[int, float, float]]:
    with context.store.read() as session:
        rows = session.scalars(select(Epoch).where(Epoch.trial_id == trial.id).order_by(Epoch.epoch))
        return [(row.epoch, row.train_loss, row.validation_accuracy) for row in rows]


def setbacks_of(context: Context, trial: Trial) -> list[tuple[str, bool]]:
    with context.store.read() as session:
        rows = session.scalars(select(Setback).where(Setback.trial_id == trial.id).order_by(Setback.id))
        return [(row.reason, row.again) for row in rows]


def dataset_of(context: Context) -> Dataset:
    with context.store.read() as session:
        return session.scalars(select(Dataset)).one()


def file_of(folder: Path, sha256: str) -> Path:
    return folder / "artifacts" / sha256[:2] / sha256


def failing(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, error: Exception, times: int = 1) -> None:
    """Lets the first calls of a function raise, and the later ones through."""
    proper: Callable[..., Any] = getattr(where, name)
    left = [error] * times

    def flaky(*args: Any, **more: Any) -> Any:
        if left:
            raise left.pop()
        return proper(*args, **more)

    monkeypatch.setattr(where, name, flaky)


def test_every_reason_that_counts_has_a_policy() -> None:
    assert POLICIES.keys() == moves.SETBACKS


# --- memory


def test_what_is_too_large_is_trained_with_half_the_batch_and_the_same_step(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    proper = worker.evaluate.evaluate
    tried: list[tuple[int, int]] = []

    def little_memory(candidate: Any, data: Any, recipe: Recipe, **how: Any) -> Any:
        tried.append((recipe.batch_size, recipe.accumulate))
        if recipe.batch_size > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return proper(candidate, data, recipe, **how)

    monkeypatch.setattr(worker.train, "evaluate", little_memory)
    job_id = add(context, small(), recipe={"batch_size": 16}, **ONE)
    step(context)
    step(context)
    trial, job = only(context, job_id), job_of(context, job_id)
    assert tried == [(16, 1), (8, 2)]
    assert (trial.state, trial.attempt, trial.halvings, trial.reason) == (TrialState.COMPLETE, 2, 1, None)
    assert [number for number, _, _ in epochs_of(context, trial)] == [1, 2, 3]
    assert (job.reasons, setbacks_of(context, trial)) == ({"out_of_memory": [0, 1]}, [("out_of_memory", True)])


def test_half_a_batch_that_is_too_large_fails_the_trial_also_after_a_new_epoch(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    proper = worker.evaluate.evaluate

    def growing(*args: Any, on_epoch: Any, **how: Any) -> Any:
        def once(*result: Any) -> bool:
            on_epoch(*result)
            raise torch.OutOfMemoryError("CUDA out of memory")

        return proper(*args, on_epoch=once, **how)

    monkeypatch.setattr(worker.train, "evaluate", growing)
    job_id = add(context, small(), **ONE)
    step(context)
    step(context)
    trial, job = only(context, job_id), job_of(context, job_id)
    assert (trial.state, trial.reason, trial.attempt, trial.epoch) == (TrialState.FAILED, "out_of_memory", 2, 2)
    assert trial.cache_key is None, "it did not train alike all the way"
    assert (job.reasons, job.failures_in_row) == ({"out_of_memory": [1, 1]}, 0)
    with context.store.read() as session:
        assert not session.scalars(select(Artifact)).all(), "nobody needs its checkpoint"


def test_a_batch_is_halved_as_long_as_batch_norms_can_do_with_it() -> None:
    recipe = Recipe(epochs=1, batch_size=10, accumulate=3)
    assert [(halved(recipe, n).batch_size, halved(recipe, n).accumulate) for n in range(4)] == [
        (10, 3),
        (5, 6),
        (2, 12),
        (2, 12),
    ]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_what_a_failed_trial_held_in_memory_is_given_back(
    context: Context, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def too_large(*_: Any, **__: Any) -> Any:
        network = torch.zeros(10)
        held.append(weakref.ref(network))
        raise error  # this very error keeps the frame, and the frame the network

    monkeypatch.setattr(worker.train, "evaluate", too_large)
    add(context, small(), **ONE)
    gc.disable()
    try:
        step(context)
    finally:
        gc.enable()
    assert [one() for one in held] == [None]


# --- diverged


def test_a_retraining_that_diverges_is_not_tried_again(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = add(context, small(), budget={"trials": 1, "epochs": 1})
    run_while(context, job_id, *SEARCHING)
    failing(monkeypatch, worker.train, "evaluate", Diverged(1, float("nan")))
    step(context)
    [first] = [trial for trial in trials_of(context, job_id) if trial.state == TrialState.FAILED]
    assert (first.phase, first.reason, first.attempt) == (Phase.FINALIST, "diverged", 1)
    assert job_of(context, job_id).reasons == {"diverged": [1, 0]}


# --- a full disk


@pytest.mark.parametrize("error", [DiskFull("no room for 12 bytes"), OSError(errno.ENOSPC, "No space left on device")])
def test_a_full_disk_fails_the_trial_with_that_reason_and_three_in_a_row_the_job(
    context: Context, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    failing(monkeypatch, type(context.artifacts), "put", error, times=3)
    job_id = add(context, small(), budget={"trials": 9, "epochs": 2})  # the last epoch of a search leaves no file
    run_while(context, job_id, *SEARCHING)
    job, found = job_of(context, job_id), trials_of(context, job_id)
    assert [(t.state, t.reason, t.epoch) for t in found] == [(TrialState.FAILED, "disk_full", 0)] * 3
    assert (job.state, job.reasons) == (JobState.FAILED, {"disk_full": [3, 0]})
    assert "3 trials in a row failed" in (job.reason or "")
    assert str(error) in (job.reason or "")


def test_a_retraining_that_finds_the_disk_full_is_tried_again(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = add(context, small(), budget={"trials": 1, "epochs": 1})
    run_while(context, job_id, *SEARCHING)
    failing(monkeypatch, type(context.artifacts), "put", DiskFull("no room"), times=2)
    for _ in range(3):
        step(context)
    first = trials_of(context, job_id)[1]
    assert (first.phase, first.state, first.attempt) == (Phase.FINALIST, TrialState.COMPLETE, 3)
    assert [number for number, _, _ in epochs_of(context, first)] == [1, 2]
    assert job_of(context, job_id).reasons == {"disk_full": [0, 2]}


# --- errors


def test_three_errors_in_a_row_fail_the_job(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, worker.train, "evaluate", ValueError("this operation is broken"), times=3)
    job_id = add(context, small(), budget={"trials": 9, "epochs": 1})
    run_while(context, job_id, *SEARCHING)
    job, found = job_of(context, job_id), trials_of(context, job_id)
    assert [(trial.state, trial.reason, trial.attempt) for trial in found] == [(TrialState.FAILED, "error", 1)] * 3
    assert all("Traceback" in (trial.error or "") and "test_policies.py" in (trial.error or "") for trial in found)
    assert (job.state, job.reasons) == (JobState.FAILED, {"error": [3, 0]})
    assert job.reason == "3 trials in a row failed, the last one with: ValueError: this operation is broken"


# --- what is away


def test_a_trial_is_handed_back_while_the_artifact_store_is_away(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = add(context, small(), **ONE)
    failing(monkeypatch, type(context.artifacts), "put", ArtifactsAway("s3 does not answer"), times=4)
    for _ in range(5):
        step(context)
    trial = only(context, job_id)
    assert (trial.state, trial.attempt, trial.losses) == (TrialState.COMPLETE, 5, 0)
    assert job_of(context, job_id).reasons == {"preempted": [0, 4]}


def test_a_trial_is_handed_back_when_the_database_answers_again(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = add(context, small(), **ONE)
    away = OperationalError("UPDATE", {}, Exception("the connection was closed"))
    failing(monkeypatch, trials, "report", away)
    failing(monkeypatch, trials, "hand_back", away, times=2)
    step(context)
    trial = only(context, job_id)
    assert (trial.state, trial.owner, trial.losses) == (TrialState.QUEUED, None, 0)
    step(context)
    assert only(context, job_id).state == TrialState.COMPLETE


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_job_whose_data_cannot_be_read_waits_for_them_and_says_so(
    context: Context, tmp_path: Path, damage: str
) -> None:
    job_id = add(context, small(), **ONE)
    file = file_of(tmp_path, dataset_of(context).sha256)
    content = file.read_bytes()
    file.unlink() if damage == "missing" else file.write_bytes(b"other images")
    step(context)
    trial, row = only(context, job_id), dataset_of(context)
    assert (trial.state, trial.losses, trial.reason) == (TrialState.QUEUED, 0, None)
    assert (job_of(context, job_id).reasons, setbacks_of(context, trial)) == (None, [])
    assert row.unready is not None
    assert "'others'" in row.unready
    assert row.sha256 in row.unready
    assert str(tmp_path) not in row.unready
    assert row.unready_until is not None
    file.write_bytes(content)
    step(context)
    assert only(context, job_id).state == TrialState.QUEUED, "it is looked at again after a while"
    with context.store.write() as session:
        session.get_one(Dataset, row.id).unready_until = LONG_AGO
    step(context)
    assert only(context, job_id).state == TrialState.COMPLETE
    assert (dataset_of(context).unready, dataset_of(context).unready_until) == (None, None)


def test_no_room_for_a_copy_of_the_data_is_a_full_disk(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = add(context, small(), **ONE)
    failing(monkeypatch, type(context.artifacts), "fetch", OSError(errno.ENOSPC, "No space left on device"))
    step(context)
    assert only(context, job_id).reason == "disk_full"
    assert dataset_of(context).unready is None


# --- checkpoints


@pytest.mark.parametrize("damage", ["missing", "changed", "unknown", "older"])
def test_a_trial_whose_checkpoint_is_lost_trains_its_epochs_again_to_the_same_numbers(
    tmp_path: Path, damage: str
) -> None:
    for name in ("whole", "lost"):
        (tmp_path / name).mkdir()
    with open_store("sqlite", tmp_path / "whole") as store, a_worker(store, tmp_path / "whole") as context:
        job_id = add(context, small(), **ONE)
        step(context)
        expected = epochs_of(context, only(context, job_id))
    folder = tmp_path / "lost"
    with open_store("sqlite", folder) as store:
        seen: list[int] = []

        def stopping() -> bool:
            with store.read() as session:
                seen.append(1)
                return bool(session.scalars(select(Epoch).where(Epoch.epoch == 2)).all())

        with a_worker(store, folder, stopping) as context:
            job_id = add(context, small(), **ONE)
            step(context)
            trial = only(context, job_id)
            assert (trial.state, trial.epoch) == (TrialState.QUEUED, 2)
            assert setbacks_of(context, trial) == [("preempted", True)]
        with store.write() as session:
            row = session.scalars(select(Artifact).where(Artifact.kind == "checkpoint")).one()
            if damage == "unknown":
                session.delete(row)
        if damage == "missing":
            file_of(folder, row.sha256).unlink()
        elif damage == "changed":
            file_of(folder, row.sha256).write_bytes(b"no checkpoint")
        if damage == "older":  # an epoch was taken over, and what it was taken from is gone
            taken = take(store)
            with store.write() as session:
                trials.report(session, taken, epoch(3), None, LEASE_S)
                trials.hand_back(session, taken)
        with a_worker(store, folder) as context:
            step(context)
            trial, job = only(context, job_id), job_of(context, job_id)
            assert (trial.state, trial.epoch) == (TrialState.COMPLETE, 3)
            assert epochs_of(context, trial) == expected
            assert job.search_epochs == 3


def test_a_search_goes_through_bad_days_of_all_kinds(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = add(context, small(), budget={"trials": 3, "epochs": 2})
    for error in (ArtifactsAway("away"), DiskFull("full"), MemoryError()):
        with monkeypatch.context() as patch:
            failing(patch, type(context.artifacts), "put", error)
            step(context)
    run_while(context, job_id, *SEARCHING)
    job, found = job_of(context, job_id), trials_of(context, job_id)
    assert job.state == JobState.FINALIZING
    assert job.reasons == {"preempted": [0, 1], "disk_full": [1, 0], "out_of_memory": [0, 1]}
    searched = [trial.state for trial in found if trial.phase == Phase.SEARCH]
    assert searched == [TrialState.FAILED, TrialState.COMPLETE, TrialState.COMPLETE]


def test_a_data_set_that_can_be_read_again_is_noted(context: Context) -> None:
    add(context, small())
    row = dataset_of(context)
    with context.store.write() as session:
        datasets.note_content(session, row.id, "gone")
    assert dataset_of(context).unready == "gone"
    context.data(row.id)
    assert dataset_of(context).unready is None
