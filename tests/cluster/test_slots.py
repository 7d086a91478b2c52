"""How many trials are taken of a job, and what is left where a drive has been."""

import ctypes
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from nas.spec import JobSpec
from worker.cluster import joining, slots
from worker.cluster.joining import fitting
from worker.cluster.shelf import shelf
from worker.cluster.slots import Slots


def seen(monkeypatch: pytest.MonkeyPatch, at_all: int, free: int, **spec: Any) -> Slots:
    """Slots of a cluster with room for so many trials in all, and for so many now."""
    monkeypatch.setattr(slots, "room", lambda need: (at_all, free))
    return Slots(JobSpec.model_validate({"dataset": "digits", "engine": "ray", **spec}))


def test_where_trials_run_one_at_a_time_none_is_taken_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seen(monkeypatch, 1, 1).take_one(begun=0, running=0)
    assert not seen(monkeypatch, 1, 1).take_one(begun=1, running=0)
    assert not seen(monkeypatch, 1, 0).take_one(begun=1, running=1)
    assert not seen(monkeypatch, 1, 1).take_one(begun=1, running=1), "it was free a moment ago"
    assert seen(monkeypatch, 1, 0).take_one(begun=0, running=0), "Tune keeps the actor of the last one"


def test_where_several_run_one_more_is_taken_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seen(monkeypatch, 2, 0).take_one(begun=2, running=2)
    assert not seen(monkeypatch, 2, 0).take_one(begun=3, running=2)
    assert seen(monkeypatch, 9, 9).take_one(begun=9, running=0)
    assert not seen(monkeypatch, 9, 9).take_one(begun=10, running=0)


def test_nothing_is_taken_ahead_where_candidates_are_measured_first(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"max_latency_ms": 1.0}
    assert not seen(monkeypatch, 2, 0, limits=limits).take_one(begun=2, running=2)
    assert seen(monkeypatch, 2, 1, limits=limits).take_one(begun=1, running=1)
    found = seen(monkeypatch, 2, 0, limits=limits)
    found.used(object())
    assert found.take_one(begun=1, running=1), "the actor of the trial that has ended is free"


def test_nothing_is_taken_that_no_node_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    found = seen(monkeypatch, 0, 0, resources={"cpus": 64})
    assert not found.take_one(begun=0, running=0)
    assert not found.any


@pytest.mark.parametrize(
    ("has", "need", "count"),
    [
        ({"CPU": 4.0}, {"CPU": 1.0}, 4),
        ({"CPU": 4.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 0.25}, 4),
        ({"CPU": 16.0, "GPU": 0.3}, {"CPU": 1.0, "GPU": 0.1}, 3),
        ({"CPU": 4.0}, {"CPU": 1.0, "big": 1.0}, 0),
        ({"CPU": 1.9}, {"CPU": 2.0}, 0),
    ],
)
def test_a_node_takes_what_its_scarcest_resource_allows(
    has: dict[str, float], need: dict[str, float], count: int
) -> None:
    assert fitting(has, need) == count


def test_of_the_checkpoints_that_tune_keeps_nothing_stays(tmp_path: Path) -> None:
    left = tmp_path / "ray" / "job" / "1" / "checkpoint"
    left.mkdir(parents=True)
    other = tmp_path / "ray" / "other" / "1"
    other.mkdir(parents=True)
    (tmp_path / "ab").mkdir()
    with shelf(str(tmp_path), "job", 2) as given:
        assert not left.exists(), "of the driver before"
        assert given == {"storage_path": str(tmp_path / "ray" / "job"), "name": "2"}
        (tmp_path / "ray" / "job" / "2").mkdir(parents=True)
    assert not (tmp_path / "ray" / "job").exists()
    assert other.exists()
    other.rmdir()
    with shelf(str(tmp_path), "other", 2):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["ab"]


def test_the_workers_signal_handlers_outlive_what_ray_does_to_them() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    try:

        def spoil() -> None:
            with joining._own_signals():
                ctypes.CDLL(None).signal(int(signal.SIGUSR1), None)  # to its default, below Python's back

        for start in (spoil, lambda: _in_thread(spoil)):
            start()
            os.kill(os.getpid(), signal.SIGUSR1)
        assert heard == [signal.SIGUSR1] * 2
    finally:
        signal.signal(signal.SIGUSR1, before)


def _in_thread(act: Any) -> None:
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
