"""A job on a Ray cluster, from its first trial to its package, and what becomes of it when a user interferes."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from nas.store import control, files
from nas.store.states import JobState, TrialState
from tests.cluster.driving import (
    LONG,
    a_driver,
    assert_all_free,
    driven,
    epochs_of,
    open_store_in,
    placed,
    searched,
    trained,
)
from tests.processes import TINY, children_of, until
from tests.worker.running import SEARCHING, a_worker, add, job_of, run_until_report, run_while, trials_of
from worker.cluster.driver import drive

ONE_AT_A_TIME = {"trials": 4, "epochs": 4, "parallel": 1}


def test_a_job_on_ray_succeeds_and_trains_what_a_worker_would_train(tmp_path: Path, address: str) -> None:
    job: dict[str, Any] = {"strategy": "tpe", "budget": ONE_AT_A_TIME, "seed": 7}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    with a_driver(tmp_path / "ray", address) as context:
        on_ray = add(context, engine="ray", **job)
        assert drive(context, on_ray)
        done, found = job_of(context, on_ray), trials_of(context, on_ray)
        assert (done.state, done.reason, done.driver) == (JobState.SUCCEEDED, None, None)
        with context.store.read() as session:
            package = files.artifact(session, found[-1].id, "package")
        assert package is not None
        assert context.artifacts.verify(package) > 0
        assert all(trial.device is not None and trial.device.startswith("cpu@") for trial in found)
        assert not (tmp_path / "ray" / "artifacts" / "ray").exists()
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert_all_free(address)
    with open_store_in(tmp_path / "plain") as store, a_worker(store, tmp_path / "plain") as context:
        here = add(context, **job)
        run_until_report(context, here)
        expected = [(trial.phase, trial.digest, trial.accuracy) for trial in trials_of(context, here)]
    assert [(trial.phase, trial.digest, trial.accuracy) for trial in found[:-1]] == expected[:-1]


def test_a_search_on_ray_halves_as_a_worker_does(tmp_path: Path, address: str) -> None:
    budget = {"trials": 5, "epochs": 9, "parallel": 1}
    job: dict[str, Any] = {"strategy": "tpe", "budget": budget, "pruning": {"method": "halving", "first": 1}, "seed": 3}
    job |= {"limits": {"max_latency_ms": 1e6}}
    with a_driver(tmp_path / "ray", address) as context:
        on_ray = add(context, engine="ray", **job)
        with driven(context, on_ray):
            until(lambda: job_of(context, on_ray).state == JobState.FINALIZING, "the end of the search")
            with context.store.write() as session:
                control.pause(session, on_ray)
        found = searched(context, on_ray)
        assert all(trial.latency_ms for trial in trials_of(context, on_ray)[: len(found)]), "measured on the cluster"
    with open_store_in(tmp_path / "plain") as store, a_worker(store, tmp_path / "plain") as context:
        here = add(context, **job)
        run_while(context, here, *SEARCHING)
        expected = searched(context, here)
    assert found == expected
    assert len({epoch for _, _, epoch, _ in found}) > 1, "nothing was pruned"


def test_cancelling_stops_ray_trials_in_the_middle_of_an_epoch_and_frees_what_they_held(
    tmp_path: Path, address: str
) -> None:
    with a_driver(tmp_path, address) as context:
        job_id = add(context, engine="ray", space=TINY["space"] | {"channels": 64, "cells": 12}, **LONG)
        with driven(context, job_id) as thread:
            until(lambda: len(placed(context, job_id)) == 2, "both trials to have a node")
            time.sleep(2.0)
            with context.store.write() as session:
                control.cancel(session, job_id)
            begun = time.monotonic()
            thread.join(60)
            assert time.monotonic() - begun < 10
        assert job_of(context, job_id).driver is None
        found = trials_of(context, job_id)
        assert [(trial.state, trial.epoch) for trial in found] == [(TrialState.CANCELLED, 0)] * 2
    assert_all_free(address)


def test_a_paused_job_leaves_the_cluster_and_goes_on_from_its_checkpoints(tmp_path: Path, address: str) -> None:
    with a_driver(tmp_path, address) as context:
        job_id = add(context, engine="ray", **LONG)
        with driven(context, job_id) as thread:
            trained(context, job_id, epochs=2, count=2)
            with context.store.write() as session:
                control.pause(session, job_id)
            begun = time.monotonic()
            thread.join(60)
            assert time.monotonic() - begun < 10
        assert_all_free(address)
        before = {trial.number: trial.epoch for trial in trials_of(context, job_id)}
        with context.store.write() as session:
            control.resume(session, job_id)
        with driven(context, job_id):
            trained(context, job_id, epochs=max(before.values()) + 1, count=2)
            with context.store.write() as session:
                control.cancel(session, job_id)
        assert job_of(context, job_id).driver_term == 2
        assert all(
            epochs_of(context, trial.id) == list(range(1, trial.epoch + 1)) for trial in trials_of(context, job_id)
        )


def test_a_worker_that_is_asked_to_stop_hands_its_ray_trials_back_and_takes_its_own_cluster_along(
    tmp_path: Path,
) -> None:
    stop: list[bool] = []
    before = set(children_of(os.getpid()))
    with a_driver(tmp_path, "", lambda: bool(stop)) as context:
        job_id = add(context, engine="ray", **LONG)
        with driven(context, job_id):
            trained(context, job_id)
            stop.append(True)
        assert job_of(context, job_id).driver is None
        found = trials_of(context, job_id)
        assert {trial.state for trial in found} == {TrialState.QUEUED}
        assert all(trial.losses == 0 and trial.owner is None for trial in found)
    assert set(children_of(os.getpid())) <= before


def test_a_cluster_that_does_not_answer_is_left_alone_for_a_while(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with a_driver(tmp_path, "127.0.0.1:9") as context:
        job_id = add(context, engine="ray")
        assert not drive(context, job_id)
        assert "127.0.0.1:9 does not answer" in caplog.text
        assert job_of(context, job_id).driver is None
        begun = time.monotonic()
        assert not drive(context, job_id)
        assert time.monotonic() - begun < 1
