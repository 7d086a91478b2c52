"""The supernet of a job, in a worker."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from nas.space import Candidate, CellSpace, Shape
from nas.space.cost import cost
from nas.store.states import Phase, TrialState
from nas.store.tables import Artifact, Epoch, Trial
from tests.support import open_store
from tests.worker.running import a_worker, add, trials_of
from worker.context import Context
from worker.step import step

SPACE = {"ops": ["none", "skip_connect", "conv_1x1"], "nodes": 1, "channels": 4, "cells": 3}
OPTIONS = {"random_ws": {"epochs": 2, "samples": 4, "candidates": 2}, "gdas": {"epochs": 2, "candidates": 2}}


def supernet_of(context: Context, job_id: str) -> tuple[Trial, dict[str, Any], list[str]]:
    """Its trial, what it found, and the kinds of files that are left of it."""
    found = next(trial for trial in trials_of(context, job_id) if trial.phase == Phase.SUPERNET)
    with context.store.read() as session:
        files = {row.kind: row.sha256 for row in session.scalars(select(Artifact).where(Artifact.trial_id == found.id))}
    return found, json.loads(context.artifacts.get(files["candidates"])), sorted(files)


@pytest.mark.parametrize("strategy", OPTIONS)
def test_a_supernet_leaves_its_candidates_and_shows_every_epoch(strategy: str, tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        job_id = add(context, space=SPACE, strategy=strategy, options=OPTIONS[strategy])
        step(context)
        trial, found, files = supernet_of(context, job_id)
        with store.read() as session:
            epochs = session.scalars(select(Epoch).where(Epoch.trial_id == trial.id).order_by(Epoch.epoch)).all()
    assert (trial.state, trial.error, files) == (TrialState.COMPLETE, None, ["candidates"])
    assert [epoch.epoch for epoch in epochs] == [1, 2]
    shown = {"alpha_entropy", "skip_share", "genotype", "alpha", "alpha_edges", "alpha_ops", "alpha_edge_shares"}
    assert shown <= set(epochs[0].metrics or {})
    assert found["reason"] is None
    candidates = [Candidate.from_json(entry["candidate"]) for entry in found["candidates"]]
    assert len(set(candidates)) == 2
    assert all(candidate.shape.channels == 4 for candidate in candidates)
    scores = [entry["score"] for entry in found["candidates"]]
    assert scores == sorted(scores, reverse=True)


def test_a_supernet_that_was_interrupted_goes_on_to_the_same_end(tmp_path: Path) -> None:
    found = []
    for name, asked_at in (("whole", None), ("parts", 9)):
        folder = tmp_path / name
        folder.mkdir()
        asked = 0

        def stopping(at: int | None = asked_at) -> bool:
            nonlocal asked
            asked += 1
            return asked == at

        with open_store("sqlite", folder) as store, a_worker(store, folder, stopping) as context:
            batch = {"batch_size": 40}  # five steps an epoch, so that the ninth is in the second
            job_id = add(context, space=SPACE, strategy="random_ws", options=OPTIONS["random_ws"], recipe=batch)
            step(context)
            if asked_at is not None:
                [trial] = [one for one in trials_of(context, job_id) if one.phase == Phase.SUPERNET]
                assert (trial.state, trial.epoch) == (TrialState.QUEUED, 1)
                step(context)
            found.append(supernet_of(context, job_id)[1])
    assert found[0] == found[1]


def test_only_candidates_within_the_limits_are_handed_over(tmp_path: Path) -> None:
    def params(candidate: Candidate) -> int:
        return cost(candidate, image=(1, 8, 8), outputs=10).params

    space = CellSpace(("none", "skip_connect", "conv_1x1"), 1, Shape(channels=4, cells=3))
    rng = np.random.default_rng(0)
    most = sorted(params(space.sample(rng)) for _ in range(100))[25]
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        options = {"epochs": 1, "samples": 6, "candidates": 6}
        job_id = add(context, space=SPACE, strategy="random_ws", options=options, limits={"max_params": most})
        step(context)
        found = supernet_of(context, job_id)[1]["candidates"]
    assert len(found) == 6
    assert all(params(Candidate.from_json(entry["candidate"])) <= most for entry in found)
