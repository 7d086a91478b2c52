"""A network of a search that a user asked for: trained, packaged and proven by a worker, whatever became of its job."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

import nas
import worker.retrain
from nas.store import control, listing, retrains
from nas.store.retrains import FIRST_NUMBER
from nas.store.states import JobState, Phase, TrialState
from nas.store.tables import Trial
from tests.support import open_store
from tests.worker.running import SEARCHING, a_worker, add, few_digits, job_of, run_while, trials_of
from worker.context import Context
from worker.step import step

FINAL: dict[str, Any] = {"finalists": 1, "controls": 1, "epochs": 2, "seeds": 1}
PLAIN: dict[str, Any] = {"pruning": "none", "budget": {"trials": 2, "epochs": 1}, "final": FINAL}


def searched(context: Context, **changes: Any) -> str:
    """A job that was cancelled when its search was done; its id."""
    job_id = add(context, **PLAIN | changes)
    run_while(context, job_id, *SEARCHING)
    with context.store.write() as session:
        control.cancel(session, job_id)
    return job_id


def ask(context: Context, job_id: str, number: int) -> int:
    with context.store.write() as session:
        return retrains.ask(session, job_id, number).number


def trial(context: Context, job_id: str, number: int) -> Trial:
    with context.store.read() as session:
        return listing.row(session, job_id, number)


def test_a_network_of_a_cancelled_job_is_trained_packaged_and_proven(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = searched(context)
        before = job_of(context, job_id)
        number = ask(context, job_id, 1)
        assert step(context)
        found, after = trial(context, job_id, number), job_of(context, job_id)
        assert (found.state, found.phase, found.epoch, found.error) == (TrialState.COMPLETE, Phase.RETRAIN, 2, None)
        assert (after.state, after.final_epochs) == (JobState.CANCELLED, before.final_epochs)
        with store.read() as session:
            sha256 = retrains.package(session, job_id, 1)
        path = tmp_path / "model.zip"
        path.write_bytes(context.artifacts.get(sha256))
        source = trial(context, job_id, 1)
    model, data = nas.load(path), few_digits()
    with torch.no_grad():
        logits = model(torch.from_numpy(data.images[data.test]))
    assert float((logits.argmax(dim=1).numpy() == data.labels[data.test]).mean()) == model.metrics["accuracy"]
    assert model.candidate is not None
    assert model.candidate.to_json() == source.candidate
    assert model.metrics["retraining"]["search_trial"] == 1
    assert model.metrics["retraining"]["trial"] == FIRST_NUMBER
    assert model.metrics["retraining"]["validation_accuracy"] == found.accuracy
    assert model.metrics["recipe"]["epochs"] == 2
    assert model.metrics["job"]["trials"] == 2
    with zipfile.ZipFile(path) as archive:
        assert "there is no verdict" in " ".join(archive.read("model_card.md").decode().split())
        assert json.loads(archive.read("metrics.json"))["verdict"] is None


def test_it_is_trained_as_the_finalist_of_that_network_was(tmp_path: Path) -> None:
    """The same seed and recipe: the same weights, and so the same file."""
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, **PLAIN)
        while not any(t.phase == Phase.FINALIST and t.state == TrialState.COMPLETE for t in trials_of(context, job_id)):
            step(context)
        [finalist] = [t for t in trials_of(context, job_id) if t.phase == Phase.FINALIST]
        [number] = [
            t.number for t in trials_of(context, job_id) if t.phase == Phase.SEARCH and t.digest == finalist.digest
        ]
        with store.write() as session:
            control.cancel(session, job_id)
        again = ask(context, job_id, number)
        step(context)
        assert trial(context, job_id, again).accuracy == finalist.accuracy


def test_with_early_stopping_its_validation_accuracy_is_that_of_its_best_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []

    def note(run: Any, *_: Any, **__: Any) -> bytes:
        seen.append(run.validation_accuracy)
        return b"PK"

    monkeypatch.setattr(worker.retrain, "make_package", note)
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = searched(context, recipe={"early_stop": 2, "lr": 0.5}, final=FINAL | {"epochs": 8})
        number = ask(context, job_id, 0)
        step(context)
        found = trial(context, job_id, number)
        with store.read() as session:
            _, epochs = listing.trial(session, job_id, number)
    assert seen == [found.accuracy] == [max(epoch.validation_accuracy for epoch in epochs)]


def test_one_that_cannot_be_proven_is_tried_three_times_and_leaves_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> bytes:
        raise OSError("the disk is full")

    monkeypatch.setattr(worker.retrain, "make_package", broken)
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = searched(context)
        number = ask(context, job_id, 0)
        for _ in range(4):
            step(context)
        found = trial(context, job_id, number)
        assert (found.state, found.attempt) == (TrialState.FAILED, 3)
        assert "the disk is full" in (found.error or "")
        assert job_of(context, job_id).failures_in_row == 0
