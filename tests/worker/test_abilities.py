"""What a job may ask for besides cells: other tasks, other spaces, limits, starts, transfer, logs, own code."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load
from sqlalchemy import select
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import nas
from nas import plugins
from nas.data.images import ImageSet, split_images
from nas.errors import Infeasible, Stopped
from nas.model import cost_of
from nas.result.package import network_of
from nas.space import Candidate, Genotype, LayerNet, known
from nas.store import files, jobs
from nas.store.states import JobState, Phase, TrialState
from nas.store.tables import Epoch, Trial
from tests.processes import TINY
from tests.support import open_store
from tests.worker.running import ALL, SEARCHING, a_worker, add, job_of, run_while, trials_of
from worker.context import Context
from worker.propose import propose
from worker.step import look, take

SHORT: dict[str, Any] = {
    "budget": {"trials": 2, "epochs": 1},
    "final": {"finalists": 1, "controls": 1, "epochs": 1, "seeds": 1},
}


def bars(task: str, count: int = 120) -> ImageSet:
    """8×8 images whose first rows are as bright as the answer is large."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2, size=(count, 3))
    images = rng.integers(0, 60, size=(count, 1, 8, 8))
    for label in range(3):
        images[:, 0, 2 * label : 2 * label + 2] += 150 * values[:, label, None, None]
    every: dict[str, npt.NDArray[Any]] = {
        "single_label": values[:, 0].astype(np.int64),
        "multi_label": values.astype(np.uint8),
        "regression": (1000 + 50 * values @ [1, 2, 4])[:, None].astype(np.float32),
    }
    labels = every[task]
    names = {"single_label": ("off", "on"), "multi_label": ("a", "b", "c"), "regression": ("height",)}[task]
    return split_images(images.astype(np.uint8), labels, names, seed=0, task=task)


def finished(context: Context, job_id: str) -> list[Trial]:
    run_while(context, job_id, *ALL)
    job = job_of(context, job_id)
    assert (job.state, job.reason) == (JobState.SUCCEEDED, None)
    return trials_of(context, job_id)


def model_of(context: Context, job_id: str, folder: Path) -> Any:
    with context.store.read() as session:
        sha256 = files.package(session, job_id)
    assert sha256 is not None
    (folder / "model.zip").write_bytes(context.artifacts.get(sha256))
    return nas.load(folder / "model.zip")


@pytest.mark.parametrize(
    ("task", "metrics", "score"),
    [
        ("multi_label", {"map", "macro_f1", "accuracy"}, "mean average precision"),
        ("regression", {"r2", "mae", "rmse"}, "R²"),
    ],
)
def test_other_tasks_run_to_their_verified_end(task: str, metrics: set[str], score: str, tmp_path: Path) -> None:
    data = bars(task)
    final = SHORT["final"] | {"epochs": 15}
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, data, budget=SHORT["budget"], final=final, recipe={"batch_size": 16})
        found = finished(context, job_id)
        verdict = job_of(context, job_id).verdict
        model = model_of(context, job_id, tmp_path)
        with zipfile.ZipFile(tmp_path / "model.zip") as package:
            card = package.read("model_card.md").decode()
        with store.read() as session:
            epoch = session.scalars(select(Epoch).where(Epoch.trial_id == found[0].id)).first()
    assert epoch is not None
    assert set(epoch.metrics or {}) == metrics
    assert verdict is not None
    assert verdict["score"] == score
    assert set(verdict["shipped"]["metrics"]) == metrics
    assert f" of {score} against " in verdict["text"]
    for text in (verdict["text"], card):
        assert ("%" in text.replace("95 % interval", "")) == ("points" in text) == (score != "R²")
    assert f"Test {score} of these weights: **" in card
    assert verdict["shipped"]["accuracy"] > 0.5  # the bars are easily seen
    assert (model.task, model.classes) == (task, data.classes)
    with torch.no_grad():
        outputs = model(torch.from_numpy(data.images[data.test])).numpy()
    if task == "regression":  # in the units of the data
        assert abs(outputs.mean() - 1175) < 50
    else:
        assert ((outputs > 0) == data.labels[data.test]).mean() > 0.8


def test_a_whole_network_is_designed_layer_by_layer(tmp_path: Path) -> None:
    space = {"kind": "layers", "fewest": 1, "most": 3, "narrowest": 4, "widest": 8}
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, bars("single_label"), space=space, strategy="tpe", **SHORT)
        found = finished(context, job_id)
        model = model_of(context, job_id, tmp_path)
    for trial in found[:-1]:
        if trial.phase != Phase.REFERENCE:
            assert isinstance(Candidate.from_json(trial.candidate).architecture, LayerNet)
    assert model.genotype is None
    assert isinstance(model.candidate.architecture, LayerNet)


def test_what_is_open_is_chosen_for_each_trial_and_kept_in_the_retraining(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "space": TINY["space"] | {"channels": {"low": 2, "high": 6}, "activation": {"choices": ["relu", "silu"]}},
        "recipe": {"lr": {"low": 0.01, "high": 0.3, "log": True}, "optimizer": {"choices": ["nesterov", "adamw"]}},
        "budget": {"trials": 4, "epochs": 1},
    }
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, bars("single_label"), strategy="tpe", **(SHORT | changes))
        found = finished(context, job_id)
        model = model_of(context, job_id, tmp_path)
    searched = [Candidate.from_json(trial.candidate) for trial in found if trial.phase == Phase.SEARCH]
    assert all(set(dict(candidate.recipe)) == {"lr", "optimizer"} for candidate in searched)
    assert len({candidate.shape.channels for candidate in searched}) > 1
    assert len({dict(candidate.recipe)["lr"] for candidate in searched}) == len(searched)
    [winner] = {Candidate.from_json(trial.candidate) for trial in found if trial.phase == Phase.FINALIST}
    assert winner in searched
    assert model.candidate == winner
    assert {name: model.metrics["recipe"][name] for name, _ in winner.recipe} == dict(winner.recipe)
    for trial in found:  # the opponents differ in the network, not in how it was trained
        if trial.phase in (Phase.CONTROL, Phase.REFERENCE):
            assert Candidate.from_json(trial.candidate).recipe == winner.recipe


def test_a_network_that_breaks_a_limit_is_recorded_and_never_trained(tmp_path: Path) -> None:
    space = TINY["space"] | {"channels": {"low": 2, "high": 12}}
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(
            context,
            bars("single_label"),
            **(SHORT | {"space": space, "limits": {"max_params": 3000}, "budget": {"trials": 5, "epochs": 1}}),
        )
        run_while(context, job_id, *SEARCHING)
        found = [trial for trial in trials_of(context, job_id) if trial.phase == Phase.SEARCH]
        with store.read() as session:
            trained = set(session.scalars(select(Epoch.trial_id)))
    refused = [trial for trial in found if trial.state == TrialState.INFEASIBLE]
    kept = [trial for trial in found if trial.state != TrialState.INFEASIBLE]
    assert refused
    assert len(kept) == 5  # the budget is for networks that may be trained
    for trial in refused:
        assert (trial.params or 0) > 3000
        assert trial.id not in trained
        assert trial.reason == "infeasible"
        assert f"max_params is 3,000; this network has {trial.params:,}" in (trial.error or "")
    for trial in kept:
        cost = cost_of(Candidate.from_json(trial.candidate), image=(1, 8, 8), outputs=2)
        assert (trial.params, trial.macs) == (cost.params, cost.macs)
        assert cost.params <= 3000


def test_a_worker_that_dies_after_a_proposal_leaves_nothing_infeasible_to_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        space = TINY["space"] | {"channels": {"low": 2, "high": 12}}
        limits = {"max_params": 1200}
        job_id = add(context, bars("single_label"), **(SHORT | {"space": space, "limits": limits, "seed": 1}))
        claim = take(context, look(context))
        assert claim is not None
        with pytest.raises(Infeasible, match="max_params is 1,200"):
            propose(context, claim, context.data(claim.dataset_id))
        # Killed here: whatever happens to the lease, the row has ended.
        [trial] = trials_of(context, job_id)
        assert (trial.state, trial.owner is None or trial.lease_until is None) == (TrialState.INFEASIBLE, True)
        assert (job_of(context, job_id).trials_planned, trial.epoch) == (3, 0)


def test_a_worker_that_is_told_to_stop_stops_drawing(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path, lambda: True) as context:
        add(context, bars("single_label"), **SHORT)
        claim = take(context, look(context))
        assert claim is not None
        with pytest.raises(Stopped):
            propose(context, claim, context.data(claim.dataset_id))


def test_latency_and_memory_are_measured_where_they_are_limited(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        limits = {"max_latency_ms": 60_000, "max_memory_mb": 1000, "batch_size": 2}
        job_id = add(context, bars("single_label"), limits=limits, **SHORT)
        run_while(context, job_id, *SEARCHING)
        measured = [trial for trial in trials_of(context, job_id) if trial.phase == Phase.SEARCH]
        assert all((trial.latency_ms or 0) > 0 and (trial.memory_mb or 0) > 0 for trial in measured)


def test_a_job_in_which_nothing_keeps_the_latency_ends_and_says_so(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        space = {"ops": ["skip_connect", "max_pool_3x3"], "nodes": 1, "channels": 2, "cells": 2}
        job_id = add(context, bars("single_label"), **(SHORT | {"space": space, "limits": {"max_latency_ms": 1e-6}}))
        run_while(context, job_id, *ALL)
        job, found = job_of(context, job_id), trials_of(context, job_id)
    assert job.state == JobState.FAILED
    assert {trial.state for trial in found} <= {TrialState.INFEASIBLE, TrialState.CANCELLED}
    assert "no further network that keeps the limits" in (job.note or "")
    assert "max_latency_ms is 1e-06; this network takes" in (job.reason or "")


def test_starts_come_first_in_their_order(tmp_path: Path) -> None:
    cells = [known("DARTS_V2"), known("NASNet")]  # NASNet's have five nodes: not of this space, and tried all the same
    space = {"nodes": 4, "channels": 2, "cells": 3, "activation": {"choices": ["relu", "elu"]}}
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(
            context,
            bars("single_label"),
            space=space,
            strategy="tpe",
            start=["DARTS_V2", cells[1].to_json()],
            budget={"trials": 3, "epochs": 1},
            final=SHORT["final"],
        )
        run_while(context, job_id, *SEARCHING)
        found = [Candidate.from_json(trial.candidate) for trial in trials_of(context, job_id)[:3]]
    for start, candidate in zip(cells, found, strict=False):
        assert isinstance(candidate.architecture, Genotype)
        for ours, theirs in (
            (candidate.architecture.normal, start.normal),
            (candidate.architecture.reduce, start.reduce),
        ):
            assert ours.concat == theirs.concat
            assert [sorted(edges) for edges in ours.nodes] == [sorted(edges) for edges in theirs.nodes]


def test_transfer_starts_from_an_earlier_jobs_model(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        source_id = add(context, **SHORT)
        finished(context, source_id)
        with store.read() as session:
            source = jobs.model(session, source_id)
        transfer = {"job": source_id, "candidate": source.candidate.to_json(), "weights": source.weights}
        job_id = add(
            context,
            bars("single_label"),
            space={},
            transfer=transfer,
            strategy="tpe",
            recipe={"freeze": 2},
            **(SHORT | {"budget": {"trials": 4, "epochs": 1}}),
        )
        found = finished(context, job_id)
        verdict = job_of(context, job_id).verdict
        with store.read() as session:
            [finalist] = [trial for trial in found if trial.phase == Phase.FINALIST]
            sha256 = files.artifact(session, finalist.id, "weights")
        ours = network_of(load(context.artifacts.get(sha256 or "")))
        theirs = network_of(load(context.artifacts.get(source.weights)))
    tails = {Candidate.from_json(trial.candidate).shape.tail for trial in found if trial.phase == Phase.SEARCH}
    assert tails <= {-1, 0, 1}
    assert verdict is not None
    assert "of the same model" in verdict["text"]
    frozen = [name for name in ours if name.startswith(("stem.", "cells.0.", "cells.1."))]
    assert frozen
    assert all(torch.equal(ours[name], theirs[name]) for name in frozen if "num_batches" not in name)
    assert ours["classifier.weight"].shape[0] == 2
    assert theirs["classifier.weight"].shape[0] == 10


def test_tensorboard_logs_are_kept_with_every_trial_on_request(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, bars("single_label"), tensorboard=True, **(SHORT | {"budget": TINY["budget"]}))
        run_while(context, job_id, *SEARCHING)
        with store.read() as session:
            logs = files.of_kind(session, job_id, "tensorboard")
            others = files.of_kind(session, add(context, **SHORT), "tensorboard")
        assert others == []
        parts: dict[int, bytes] = {}
        for trial, sha256 in logs:
            parts[trial.number] = parts.get(trial.number, b"") + context.artifacts.get(sha256)
        searched = [trial for trial in trials_of(context, job_id) if trial.phase == Phase.SEARCH]
        assert list(parts) == [0, 1, 2]
        for trial in searched:
            folder = tmp_path / f"log-{trial.number}"
            folder.mkdir()
            (folder / "events.out.tfevents.1.nas").write_bytes(parts[trial.number])
            shown = EventAccumulator(str(folder))
            shown.Reload()
            assert [event.step for event in shown.Scalars("loss/train")] == list(range(1, trial.epoch + 1))
        stored = [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
        assert len(stored) == sum(trial.epoch for trial in searched) + 2  # a part for each epoch; the two data sets


def test_an_operation_and_a_loss_of_the_users_own_go_all_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "mine.py"
    module.write_text(
        "import torch\n"
        "from torch import nn\n"
        "OPERATIONS = {'blur': lambda channels, stride: nn.AvgPool2d(5, stride, 2)}\n"
        "LOSSES = {'margin': lambda logits, targets: nn.functional.multi_margin_loss("
        "logits, targets, reduction='none')}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # for the fresh process that verifies
    monkeypatch.setattr(plugins, "_used", {table: {} for table in plugins.GROUPS})
    plugins.use("mine")
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path, plugins=("mine",)) as context:
        space = {"ops": ["blur", "skip_connect", "conv_3x3"], "nodes": 2, "channels": 2, "cells": 3}
        job_id = add(context, bars("single_label"), space=space, recipe={"loss": "margin"}, **SHORT)
        finished(context, job_id)
        model = model_of(context, job_id, tmp_path)
    assert model.metrics["recipe"]["loss"] == "margin"
