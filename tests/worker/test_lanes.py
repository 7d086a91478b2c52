"""Several trials at once in one process come out as they would one at a time."""

import gc
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import select

from nas.settings import Settings
from nas.store import control, workers
from nas.store.artifacts import ArtifactStore
from nas.store.session import Store
from nas.store.states import Phase, TrialState
from nas.store.tables import Epoch, Setback, Trial
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from tests.support import open_store
from tests.worker.running import a_worker, add, trials_of
from worker import admission, ending, lanes, phases
from worker.admission import Learned, Room, Seat
from worker.context import Context
from worker.course import Course
from worker.lanes import Process
from worker.lease import Heartbeat
from worker.orders import Machine, Order, Outcome
from worker.step import step

CPU = torch.device("cpu")
SPACE = {
    "ops": ["skip_connect", "max_pool_3x3", "sep_conv_3x3"],
    "nodes": 2,
    "channels": 4,
    "cells": 3,
    "dropout": 0.3,
    "drop_path": 0.3,
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store("sqlite", tmp_path) as opened:
        yield opened


def add_to(store: Store, folder: Path, **changes: Any) -> str:
    with a_worker(store, folder) as context:
        return add(context, space=SPACE, cache=False, **changes)


def run_lanes(store: Store, folder: Path, job_id: str, count: int, done: int) -> bool:
    """Lanes work until so many trials of the job have ended; whether they would begin anew."""
    stop = threading.Event()
    settings = Settings.read({"NAS_HOME": str(folder), "NAS_DATABASE_URL": store.url})
    own = Store(store.url)

    def watch() -> None:
        with a_worker(own, folder) as context:
            while not stop.wait(0.05):
                if sum(trial.state in ENDED for trial in trials_of(context, job_id)) >= done:
                    stop.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        return lanes.run(Process(settings, store, CPU, stop, ray=False), count)
    finally:
        stop.set()
        watcher.join()
        own.close()


ENDED = (TrialState.COMPLETE, TrialState.FAILED, TrialState.PRUNED)


def learned(store: Store, job_id: str) -> dict[tuple[int, int], tuple[float, ...]]:
    """(trial, epoch) → what was reported."""
    with store.read() as session:
        rows = session.execute(
            select(Trial.number, Epoch).join(Epoch, Epoch.trial_id == Trial.id).where(Trial.job_id == job_id)
        )
        return {
            (number, row.epoch): (row.train_loss, row.validation_loss, row.validation_accuracy)
            for number, row in rows
            if number < 4
        }


def test_trials_in_two_lanes_equal_those_of_one_bit_for_bit(tmp_path: Path) -> None:
    found = []
    for count in (1, 2):
        folder = tmp_path / str(count)
        folder.mkdir()
        with open_store("sqlite", folder) as store:
            job_id = add_to(store, folder, budget={"trials": 4, "epochs": 2}, seed=3)
            run_lanes(store, folder, job_id, count, done=4)
            found.append(learned(store, job_id))
            with store.read() as session:
                assert len({trial.owner for trial in session.scalars(select(Trial).where(Trial.number < 4))}) == count
                assert workers.alive(session, 30.0) == []
    assert len(found[0]) == 8
    assert found[0] == found[1]


class Crowd:
    """Stands in for the training: says how many train at once, and runs out of memory as it is told."""

    def __init__(self, fails: dict[int, int]) -> None:
        self.fails = fails  # number of the trial → attempts that run out of memory
        self.inside = 0
        self.most: dict[tuple[int, int], int] = {}
        self.together = threading.Barrier(2)
        self.lock = threading.Lock()

    def carry_out(self, order: Order, machine: Machine) -> Outcome:
        claim = order.claim
        with self.lock:
            self.inside += 1
            key = (claim.number, claim.attempt)
            self.most[key] = self.inside
        try:
            if claim.attempt == 1 and claim.number < 2:
                self.together.wait(30)  # both lanes are here at the same time
                self.most[key] = 2
            if claim.attempt <= self.fails.get(claim.number, 0):
                raise torch.OutOfMemoryError("CUDA out of memory")
            for epoch in range(1, claim.epochs + 1):
                machine.on_epoch(result(epoch), checkpoint(epoch), None)
                with self.lock:
                    self.most[key] = max(self.most[key], self.inside)
        finally:
            with self.lock:
                self.inside -= 1
        return Outcome()


def result(epoch: int) -> EpochResult:
    return EpochResult(epoch, 0.5, 0.5, 0.5, 0.1, 0.1)


def checkpoint(epoch: int) -> Callable[[], Checkpoint]:
    return lambda: Checkpoint(epoch, {}, {})


def crowded(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(phases.PARTS, Phase.SEARCH, replace(phases.PARTS[Phase.SEARCH], carry_out=crowd.carry_out))


@pytest.mark.parametrize(
    ("failures", "state", "halvings"),
    [(1, TrialState.COMPLETE, 0), (2, TrialState.COMPLETE, 1), (3, TrialState.FAILED, 2)],
)
def test_out_of_memory_beside_others_is_run_again_alone_and_only_then_with_half_the_batch(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int, state: TrialState, halvings: int
) -> None:
    crowd = Crowd({0: failures})
    crowded(crowd, monkeypatch)
    job_id = add_to(store, tmp_path, budget={"trials": 6, "epochs": 2})
    run_lanes(store, tmp_path, job_id, 2, done=6)
    with store.read() as session:
        first, *others = session.scalars(select(Trial).where(Trial.number < 6).order_by(Trial.number))
        setbacks = session.scalars(select(Setback).where(Setback.trial_id == first.id).order_by(Setback.id)).all()
    assert (first.state, first.alone, first.halvings, first.attempt) == (state, True, halvings, min(failures + 1, 3))
    assert [setback.reason for setback in setbacks] == ["out_of_memory"] * failures
    assert {(trial.state, trial.alone) for trial in others} == {(TrialState.COMPLETE, False)}
    assert crowd.most[0, 1] == 2
    assert {most for (number, attempt), most in crowd.most.items() if number == 0 and attempt > 1} == {1}


class TensorDevice:
    """A device whose memory is all tensors that this process makes from now on, counted one by one: exact, and slow."""

    exact = True

    def __init__(self) -> None:
        self._others = set(self._storages())  # of other tests

    def total_bytes(self) -> int:
        return 10**10

    def allocated_bytes(self) -> int:
        return sum(size_bytes for name, size_bytes in self._storages().items() if name not in self._others)

    def _storages(self) -> dict[int, int]:
        # by type: to ask what an object is wakes up the lazy modules of libraries
        found = [each for each in gc.get_objects() if type(each) in (torch.Tensor, torch.nn.Parameter)]
        return {each.untyped_storage()._cdata: each.untyped_storage().nbytes() for each in found}

    def take_peak_bytes(self) -> int:
        return self.allocated_bytes() + 10**7  # what nobody sees from here

    def tidy(self) -> None:
        gc.collect()

    def is_shared(self) -> bool:
        return False


ENDS: dict[str, TrialState] = {
    "first": TrialState.COMPLETE,  # it fills caches that stay
    "complete": TrialState.COMPLETE,
    "stopped": TrialState.QUEUED,
    "cancelled": TrialState.CANCELLED,
    "failed": TrialState.FAILED,
    "out of memory": TrialState.QUEUED,
}


def test_what_a_trial_held_is_free_however_it_ended(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, how, asked = TensorDevice(), "first", [0]
    job_id = ""

    def stopping() -> bool:
        asked[0] += 1
        if how == "cancelled" and asked[0] == 3:
            with store.write() as session:
                control.cancel(session, job_id)
            heartbeat.beat()
        return how == "stopped" and asked[0] > 3

    def ends(course: Course, epoch: int) -> bool:
        if how == "failed" and epoch:
            raise RuntimeError("a disk is gone")
        if how == "out of memory" and epoch:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return goes_on(course, epoch)

    goes_on = Course.goes_on
    monkeypatch.setattr(Course, "goes_on", ends)
    monkeypatch.setattr(ending.log, "error", lambda *_, **__: None)  # pytest keeps what is logged, and its frames
    settings = Settings.read({"NAS_HOME": str(tmp_path)})
    heartbeat = Heartbeat(store, "w", 30.0)
    artifacts, grip = ArtifactStore(settings.artifacts_url), heartbeat.grip()
    for how, state in ENDS.items():
        job_id, asked[0] = add_to(store, tmp_path, budget={"trials": 1, "epochs": 2}), 0
        room = Room(device, Learned())
        context = Context(store, artifacts, settings, "w", CPU, grip, stopping, seat=Seat(room))
        assert step(context)
        trial = next(trial for trial in trials_of(context, job_id) if trial.number == 0)
        assert trial.state == state, how
        if how == "complete":
            assert trial.peak_bytes is not None
        with store.write() as session:
            control.cancel(session, job_id)
        del context
        assert room.leaked_bytes == 0, how
        if how == "first":
            gc.collect()
            monkeypatch.setattr(admission, "WORKSPACE_BYTES", 0)
            monkeypatch.setattr(admission, "LEAK_BYTES", device.allocated_bytes())


def test_a_process_whose_device_loses_memory_hands_its_trials_back_and_begins_anew(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, crowd = TensorDevice(), Crowd({})
    kept: list[torch.Tensor] = []

    def leaks(order: Order, machine: Machine) -> Outcome:
        kept.append(torch.zeros(10**6))
        return crowd.carry_out(order, machine)

    part = replace(phases.PARTS[Phase.SEARCH], carry_out=leaks)
    monkeypatch.setitem(phases.PARTS, Phase.SEARCH, part)
    monkeypatch.setattr(lanes, "memory_of", lambda _: device)
    monkeypatch.setattr(admission, "WORKSPACE_BYTES", 0)
    gc.collect()
    monkeypatch.setattr(admission, "LEAK_BYTES", device.allocated_bytes() + 10**6)
    job_id = add_to(store, tmp_path, budget={"trials": 50, "epochs": 1})
    assert run_lanes(store, tmp_path, job_id, 2, done=50)
    with store.read() as session:
        states = Counter(session.scalars(select(Trial.state).where(Trial.job_id == job_id)))
        assert workers.alive(session, 30.0) == []
    assert states[TrialState.RUNNING] == 0
    assert 1 <= states[TrialState.COMPLETE] == len(kept) < 20
