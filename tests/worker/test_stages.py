"""Seconds by stage: each second of a worker counts once, for the innermost stage that is open."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from nas.log import Json
from nas.store import metrics
from nas.store.session import Store
from nas.store.states import Phase
from tests.support import add_job, open_store, take
from tests.worker.running import SEARCHING, a_worker, add, run_while
from worker.stages import STAGES, WORK, Stages


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store("sqlite", tmp_path) as opened:
        yield opened


def counters(store: Store) -> dict[tuple[str, str], float]:
    with store.read() as session:
        return dict(metrics.figures(session, 30.0).counters)


def seconds(store: Store) -> dict[str, float]:
    return {label: value for (name, label), value in counters(store).items() if name == "stage_seconds"}


def test_a_second_counts_for_the_innermost_stage(store: Store) -> None:
    clock = Clock()
    stages = Stages(clock)
    clock.now += 1000  # outside of any
    with stages.timed("train"):
        clock.now += 1
        with stages.timed("checkpoint"):
            clock.now += 2
            with stages.timed("report"):
                clock.now += 4
            clock.now += 8
        clock.now += 16
    clock.now += 1000
    with stages.timed("idle"):
        clock.now += 32
    stages.flush(store)
    assert seconds(store) == {"train": 17, "checkpoint": 10, "report": 4, "idle": 32}


def test_a_stage_that_fails_is_closed(store: Store) -> None:
    clock = Clock()
    stages = Stages(clock)

    def train() -> None:
        with stages.timed("train"):
            clock.now += 3
            raise ValueError("lost")

    with pytest.raises(ValueError, match="lost"):
        train()
    clock.now += 50
    stages.flush(store)
    assert seconds(store) == {"train": 3}


def test_a_long_training_is_counted_while_it_lasts(store: Store) -> None:
    clock = Clock()
    stages = Stages(clock)
    with stages.timed("train"):
        clock.now += 9
        stages.flush(store)
        assert seconds(store) == {}  # not so soon again
        clock.now += 1
        stages.flush(store)
        assert seconds(store) == {"train": 10}
        clock.now += 5
        stages.flush(store, after_s=0)
        assert seconds(store) == {"train": 15}
    stages.flush(store, after_s=0)
    assert seconds(store) == {"train": 15}


def test_what_cannot_be_written_is_written_the_next_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OperationalError("INSERT", {}, Exception("the server closed the connection"))

    stages = Stages()
    stages.add("epochs", "search", 2)
    with monkeypatch.context() as broken:
        broken.setattr(metrics, "count_all", away)
        stages.flush(store, after_s=0)
    stages.add("epochs", "search")
    stages.flush(store, after_s=0)
    assert counters(store) == {("epochs", "search"): 3}


def test_what_is_no_stage_is_refused() -> None:
    with pytest.raises(ValueError, match="'sleep' is no stage; there are idle"), Stages().timed("sleep"):
        pass
    assert set(WORK) == set(Phase)
    assert set(WORK.values()) <= set(STAGES)


def test_the_lines_of_a_trial_say_which_it_is(store: Store) -> None:
    job_id = add_job(store)
    claim = take(store)
    record = logging.LogRecord("worker", logging.INFO, __file__, 1, "trained", None, None)
    with Stages().trial(claim, "w"):
        line = json.loads(Json().format(record))
    ids = {"job_id": job_id, "trial": 0, "attempt": 1, "worker": "w"}
    assert ids.items() <= line.items()
    assert not set(ids) & set(json.loads(Json().format(record)))


class Lines(logging.Handler):
    """Keeps lines as JSON has them."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(Json())
        self.found: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(json.loads(self.format(record)))


def test_a_search_leaves_what_it_took(store: Store, tmp_path: Path) -> None:
    handler = Lines()
    logger = logging.getLogger("worker")
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.INFO)
    with a_worker(store, tmp_path) as context:
        job_id = add(context, budget={"trials": 2, "epochs": 2})
        run_while(context, job_id, *SEARCHING)
        context.stages.flush(store, after_s=0)
    logger.removeHandler(handler)
    logger.setLevel(before)
    found = seconds(store)
    assert set(found) == {"data", "propose", "train", "checkpoint", "report"}
    assert all(value > 0 for value in found.values())
    assert found["train"] > found["checkpoint"]
    trained = {label: value for (name, label), value in counters(store).items() if name == "epochs"}
    assert trained == {"search": 4}
    begun = [
        (line["job_id"], line["trial"], line["attempt"]) for line in handler.found if "attempt 1" in line["message"]
    ]
    assert begun == [(job_id, 0, 1), (job_id, 1, 1)]
