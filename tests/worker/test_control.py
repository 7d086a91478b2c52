"""Jobs that are paused, cancelled, extended and deleted under real workers."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from nas.model import Network
from nas.result.publish import Retrained
from nas.result.report import Report, choose_winner
from nas.store import control, extension, jobs
from nas.store.session import Store
from nas.store.states import ENDED_JOB, JobState, Phase, TrialState
from nas.store.tables import Job, Trial
from tests import processes
from tests.processes import TINY, until, worker
from tests.support import everything, open_store, random_images
from tests.worker.running import ALL, a_worker, add, job_of, run_while, trials_of
from tests.worker.test_bad_days import wait_for_epoch
from worker import report
from worker.context import Context
from worker.step import step

FINAL: dict[str, Any] = TINY["final"] | {"epochs": 2, "seeds": 1}
IMAGES = random_images(8, 160)


class AtTimes:
    """Does something a few times, after so many batches each, where a worker asks whether to stop."""

    def __init__(self, every: int, times: int, what: Callable[[], None]) -> None:
        self._every = every
        self._left = times
        self._what = what
        self._asked = 0

    def __call__(self) -> bool:
        self._asked += 1
        if self._left and self._asked % self._every == 0:
            self._left -= 1
            self._what()
        return False


class Reports:
    """Instead of the report, which takes long: notes what it would be made of, and ends with it."""

    def __init__(self) -> None:
        self.runs: list[Any] = []

    def __call__(self, *runs: Sequence[Retrained], **more: Any) -> Report:
        kinds = ("finalist", "control", "reference")
        self.runs = sorted(
            (kind, run.digest, run.seed_index, run.params, run.validation_accuracy, run.weights)
            for kind, found in zip(kinds, runs[:3], strict=True)
            for run in found
        )
        winner = choose_winner(runs[0])
        return Report({"text": "", "shipped": {"trial": runs[0][0].trial, "accuracy": 0.5}}, b"zip", winner)


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> Reports:
    made = Reports()
    monkeypatch.setattr(report, "make_report", made)
    return made


def searched(context: Context, job_id: str) -> list[tuple[Any, ...]]:
    found = [trial for trial in trials_of(context, job_id) if trial.phase == Phase.SEARCH]
    return [(trial.digest, trial.epoch, trial.accuracy) for trial in found]


def test_a_job_that_is_paused_again_and_again_ends_as_one_that_never_was(tmp_path: Path, reports: Reports) -> None:
    outcomes = []
    for name, times in (("whole", 0), ("paused", 4)):
        (tmp_path / name).mkdir()
        with open_store("sqlite", tmp_path / name) as store:
            paused: list[JobState] = []

            def pause(store: Store = store, times: int = times, paused: list[JobState] = paused) -> None:
                with store.write() as session:
                    [job] = jobs.page(session, 1, None)
                    if times and job.state != JobState.PAUSED and paused.count(job.state) < 2:
                        paused.append(job.state)
                        control.pause(session, job.id)

            with a_worker(store, tmp_path / name, AtTimes(5, 10**6, pause)) as context:
                job_id = add(context, IMAGES, budget={"trials": 2, "epochs": 2}, final=FINAL)
                while job_of(context, job_id).state not in ENDED_JOB:
                    step(context)
                    if job_of(context, job_id).state == JobState.PAUSED:
                        assert not step(context), "there is nothing to do for a worker"
                        with store.write() as session:
                            control.resume(session, job_id)
                outcomes.append((searched(context, job_id), reports.runs))
                assert len(paused) == times
                assert sum(trial.attempt - 1 for trial in trials_of(context, job_id)) == times
    assert outcomes[0] == outcomes[1]


def test_an_extended_search_ends_as_one_that_had_the_budget_at_once(tmp_path: Path, reports: Reports) -> None:
    outcomes = []
    for name, first in (("at once", 6), ("extended", 3)):
        (tmp_path / name).mkdir()
        with open_store("sqlite", tmp_path / name) as store, a_worker(store, tmp_path / name) as context:
            job_id = add(context, IMAGES, budget={"trials": first, "epochs": 1}, final=FINAL | {"finalists": 2})
            run_while(context, job_id, *ALL)
            if first < 6:
                with store.write() as session:
                    extension.extend(session, job_id, {"trials": 6})
                run_while(context, job_id, *ALL)
            assert job_of(context, job_id).state == JobState.SUCCEEDED, job_of(context, job_id).reason
            outcomes.append((searched(context, job_id), reports.runs))
    assert len(outcomes[0][0]) == 6
    assert outcomes[0] == outcomes[1]


def test_a_trial_with_long_epochs_stops_soon_after_its_job_was_cancelled(tmp_path: Path) -> None:
    settings = processes.settings_in(tmp_path)
    store = processes.open_store(settings)
    space = TINY["space"] | {"channels": 48, "cells": 9, "nodes": 4}
    job_id = processes.add_job(settings, store, TINY | {"space": space, "budget": {"trials": 1, "epochs": 9}})
    log = tmp_path / "log"
    with worker(settings, log):
        until(lambda: begun(store, job_id), "the trial's start")
        with store.write() as session:
            control.cancel(session, job_id)
        until(lambda: "nothing is written" in log.read_text(), "the worker's notice", seconds=10)
        with store.read() as session:
            trial = session.get_one(Trial, begun(store, job_id))
        assert (trial.state, trial.epoch) == (TrialState.CANCELLED, 0), "it was in the middle of an epoch"
        following = processes.add_job(settings, store, TINY)
        wait_for_epoch(store, following, 1)


def begun(store: Store, job_id: str) -> int:
    with store.read() as session:
        found = [trial for trial in jobs_trials(session, job_id) if trial.candidate is not None]
        return found[0].id if found else 0


def jobs_trials(session: Session, job_id: str) -> list[Trial]:
    return session.query(Trial).where(Trial.job_id == job_id).all()


@pytest.mark.parametrize("what", ["pause", "cancel", "delete"])
def test_nothing_of_a_trial_that_was_taken_away_stays_in_memory(tmp_path: Path, what: str) -> None:
    with open_store("sqlite", tmp_path) as store:

        def take_away() -> None:
            with store.write() as session:
                if what == "pause":
                    control.pause(session, job_id)
                elif what == "cancel":
                    control.cancel(session, job_id)
                else:
                    control.delete(session, job_id, force=True)

        with a_worker(store, tmp_path, AtTimes(9, 1, take_away)) as context:
            job_id = add(context, IMAGES, budget={"trials": 1, "epochs": 50})
            alive = networks()
            assert step(context)
            assert not step(context)
            assert networks() == alive


def networks() -> int:
    gc.collect()
    return sum(type(found) is Network for found in gc.get_objects())


class Deleting(Store):
    """A store in which a job is deleted just before the transaction of that number."""

    def __init__(self, store: Store, number: int) -> None:
        self.__dict__ = store.__dict__
        self._number, self._count = number, 0

    @contextmanager
    def read(self) -> Iterator[Session]:
        self._delete()
        with super().read() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        self._delete()
        with super().write() as session:
            yield session

    def _delete(self) -> None:
        self._count += 1
        if self._count == self._number:
            with super().write() as session:
                for job in session.query(Job).all():
                    control.delete(session, job.id, force=True)


def test_at_whatever_moment_a_job_is_deleted_its_worker_goes_on_and_writes_nothing(tmp_path: Path) -> None:
    with open_store("sqlite", tmp_path) as store, a_worker(store, tmp_path) as context:
        add(context, IMAGES, budget={"trials": 1, "epochs": 1})
        with store.write() as session:
            [job] = jobs.page(session, 1, None)
            control.delete(session, job.id, force=True)
        before = rows_of(store)
        for number in range(1, 40, 3):
            context.store = store
            job_id = add(context, IMAGES, budget={"trials": 1, "epochs": 2}, pruning={"method": "halving", "first": 1})
            context.store = Deleting(store, number)
            for _ in range(20):
                step(context)
                with store.read() as session:
                    if session.get(Job, job_id) is None:
                        break
            assert rows_of(store) == before, number


def rows_of(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """What is there of jobs and their trials; what is counted for ever is not."""
    return {table: rows for table, rows in everything(store).items() if table != "counters"}
