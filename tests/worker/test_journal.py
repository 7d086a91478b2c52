"""What a worker keeps of a trial beside its results: its log, and where its time went."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy.exc import OperationalError

from nas.log import about
from nas.store import jobs, lines, trials
from nas.store.session import Store
from nas.store.states import TrialState
from nas.store.tables import Line, Trial
from tests.support import add_job, epoch, expire, open_store, take
from tests.worker.running import a_worker, add, step_on, trials_of
from worker import journal as journals
from worker.context import Context
from worker.journal import Journal
from worker.spent import PARTS, Spent
from worker.telling import detail

log = logging.getLogger("a user's own module")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store("sqlite", tmp_path) as opened:
        yield opened


@contextmanager
def journaling(store: Store, folder: Path) -> Iterator[tuple[Context, Journal]]:
    with Journal(store) as journal, a_worker(store, folder) as context:
        context.write_log = journal.write
        yield context, journal


def log_of(store: Store, trial: Trial) -> list[Line]:
    with store.read() as session:
        return list(lines.newest(session, trial.id)[0])


def texts_of(store: Store, trial: Trial) -> str:
    return "\n".join(line.text for line in log_of(store, trial))


# --- what is gathered


def test_what_is_logged_about_a_trial_is_kept_with_it_and_nothing_else(store: Store) -> None:
    job_id = add_job(store)
    claim = take(store)
    ids = {"job_id": job_id, "trial": claim.number, "attempt": claim.attempt}
    with Journal(store) as journal:
        log.warning("before")
        with about(**ids):
            log.info("in %s", "it")
            log.debug("too small")
            try:
                raise ValueError("what went wrong")
            except ValueError:
                log.exception("failed")
            log.info("a line that is itself at fault: %d", "x")
        with about(job_id=job_id):
            log.warning("about the job alone")
        journal.write()
        with store.read() as session:
            found, _ = lines.newest(session, claim.trial_id)
        assert [(line.level, line.attempt) for line in found] == [("INFO", 1), ("ERROR", 1), ("INFO", 1)]
        assert found[0].text == "in it"
        assert found[1].text.startswith("failed\nTraceback")
        assert found[1].text.endswith("ValueError: what went wrong")
        with about(**ids):
            log.info("the last one")
    with store.read() as session:
        assert lines.newest(session, claim.trial_id)[0][-1].text == "the last one"
    with about(**ids):
        log.info("after it")
    with store.read() as session:
        assert len(lines.newest(session, claim.trial_id)[0]) == 4


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR"])
def test_the_level_of_the_process_changes_nothing_of_a_trials_log(store: Store, level: str) -> None:
    job_id = add_job(store)
    claim = take(store)
    root, shown = logging.getLogger(), Shown()
    before = root.level
    root.setLevel(level)
    root.addHandler(shown)
    try:
        with Journal(store), about(job_id=job_id, trial=claim.number, attempt=1):
            log.info("info")
            detail.info("detail")
            log.error("error")
        assert root.level == logging.getLevelNamesMapping()[level]
    finally:
        root.removeHandler(shown)
        root.setLevel(before)
    with store.read() as session:
        assert [line.text for line in lines.newest(session, claim.trial_id)[0]] == ["info", "detail", "error"]
    wanted = {"DEBUG": ["info", "detail", "error"], "INFO": ["info", "error"]}.get(level, ["error"])
    assert shown.texts == wanted
    assert detail.propagate


class Shown(logging.Handler):
    """What a process shows."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def test_a_database_that_is_away_is_waited_for_and_never_raises(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = add_job(store)
    claim = take(store)
    monkeypatch.setattr(journals, "WAITING", 3)
    write, broken = lines.add, [OperationalError("INSERT", {}, Exception("gone"))]

    def add_lines(*given: Any) -> None:
        if broken:
            raise broken[0]
        write(*given)

    monkeypatch.setattr("nas.store.lines.add", add_lines)
    with Journal(store) as journal, about(job_id=job_id, trial=claim.number, attempt=1):
        for text in "abcde":
            log.info(text)
            journal.write()
        broken.clear()
        log.info("f")
        journal.write()
        broken.append(ValueError("not to be written"))  # type: ignore[arg-type]
        log.info("poison")
        journal.write()
        broken.clear()
        log.info("g")
    with store.read() as session:
        assert [line.text for line in lines.newest(session, claim.trial_id)[0]] == ["d", "e", "f", "g"]


def test_an_attempt_that_was_lost_leaves_nothing_in_the_log_of_the_next(store: Store) -> None:
    job_id = add_job(store)
    late = take(store)
    with Journal(store) as journal, about(job_id=job_id, trial=late.number, attempt=late.attempt):
        expire(store, late.trial_id)
        trials.reap(store)
        again = take(store)
        assert again.attempt == 2
        log.info("late")
        journal.write()
        with store.read() as session:
            assert lines.newest(session, late.trial_id)[0] == []


# --- what is told


def test_a_trial_tells_what_it_trains_every_epoch_and_its_end(store: Store, tmp_path: Path) -> None:
    with journaling(store, tmp_path) as (context, journal):
        job_id = add(context)
        while not any(trial.state == TrialState.COMPLETE for trial in trials_of(context, job_id)):
            step_on(context, job_id)
        journal.write()
        trial = next(each for each in trials_of(context, job_id) if each.state == TrialState.COMPLETE)
        said = [line.text for line in log_of(store, trial)]
    assert "attempt 1" in said[0]
    assert any(text == f"a network of {trial.params} parameters, on cpu" for text in said)
    epochs = [text for text in said if text.startswith("epoch ")]
    assert [text.split(":")[0] for text in epochs] == [
        f"epoch {n} of {trial.epochs}" for n in range(1, trial.epochs + 1)
    ]
    assert f"score {trial.accuracy:.4f}" in epochs[-1]
    assert all("validation loss" in text and text.endswith(" s") for text in epochs)
    assert said[-1] == "is complete"


def test_what_was_done_for_want_of_memory_stands_in_the_log_of_the_attempt(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory: tried to allocate 3 GiB")

    monkeypatch.setattr("worker.train.evaluate", too_large)
    with journaling(store, tmp_path) as (context, _):
        job_id = add(context, strategy="random", pruning="none")
        step_on(context, job_id)
        [trial] = trials_of(context, job_id)
        assert trial.state == TrialState.QUEUED
        said = texts_of(store, trial)  # it is there before anybody else can take the trial
        assert "out_of_memory; it is tried again with half the batch" in said
        assert "CUDA out of memory: tried to allocate 3 GiB" in said
        assert trial.spent is None
        step_on(context, job_id)
        [trial] = trials_of(context, job_id)
        assert "out_of_memory; it fails" in texts_of(store, trial)
        assert {line.attempt for line in log_of(store, trial)} == {1, 2}
        assert trial.spent is not None


def test_the_traceback_of_an_error_stands_in_the_log(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise KeyError("a user's own mistake")

    monkeypatch.setattr("worker.train.evaluate", broken)
    with journaling(store, tmp_path) as (context, _):
        job_id = add(context, strategy="random", pruning="none")
        step_on(context, job_id)
        [trial] = trials_of(context, job_id)
        said = texts_of(store, trial)
    assert "Traceback" in said
    assert 'KeyError: "a user\'s own mistake"' in said
    assert said.count("Traceback") == 1
    assert "error; it fails" in said


# --- where the time goes


class Clock:
    """Seconds that a test moves on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_second_counts_for_one_part_and_all_of_them_are_what_has_passed() -> None:
    clock = Clock()
    spent = Spent(clock)
    clock.now += 1
    with spent.timed("prepare"):
        clock.now += 2
        with spent.timed("write"):
            clock.now += 4
            assert spent.so_far() == {"prepare": 2, "train": 0, "validate": 0, "write": 4, "other": 1}
        clock.now += 8
    clock.now += 16
    assert spent.so_far() == {"prepare": 10, "train": 0, "validate": 0, "write": 4, "other": 17}
    spent.trained(replace(epoch(1, seconds=7.0), validation_s=2.0))
    assert spent.so_far() == {"prepare": 10, "train": 5, "validate": 2, "write": 4, "other": 10}
    assert set(spent.so_far()) == set(PARTS)


def test_where_the_time_of_trials_went_adds_up_to_what_has_passed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch, "worker.train.propose", 0.3)
    slow(monkeypatch, "worker.train._report", 0.2)
    slow(monkeypatch, "nas.train.loop.evaluate", 0.1)
    with journaling(store, tmp_path) as (context, _):
        job_id = add(context, strategy="random", pruning="none", budget={"trials": 1, "epochs": 2})
        context.data(trials_dataset(store, job_id))
        step_on(context, job_id)
        [trial] = trials_of(context, job_id)
    assert trial.state == TrialState.COMPLETE
    assert trial.spent is not None
    assert trial.started_at is not None
    assert trial.finished_at is not None
    passed_s = (trial.finished_at - trial.started_at).total_seconds()
    assert sum(trial.spent.values()) == pytest.approx(passed_s, rel=0.05, abs=0.15)
    assert trial.spent["prepare"] >= 0.3
    assert trial.spent["validate"] >= 0.2
    assert trial.spent["write"] >= 0.2
    assert trial.spent["train"] > 0


def trials_dataset(store: Store, job_id: str) -> int:
    with store.read() as session:
        return jobs.get(session, job_id).dataset_id


def slow(monkeypatch: pytest.MonkeyPatch, name: str, seconds: float) -> None:
    module, _, attribute = name.rpartition(".")
    before = getattr(__import__(module, fromlist=[attribute]), attribute)

    def slowed(*args: Any, **named: Any) -> Any:
        time.sleep(seconds)
        return before(*args, **named)

    monkeypatch.setattr(name, slowed)
