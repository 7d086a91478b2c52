"""Workers that are killed, paused, interrupted; trials that fail."""

import os
import signal
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

from nas.store import control, jobs
from nas.store.session import Store
from nas.store.states import JobState, Phase, TrialState
from nas.store.tables import Artifact, Dataset, Epoch, Job, Tally, Trial
from tests.processes import SLOW, TINY, add_job, open_store, settings_in, until, worker


def first_trial(store: Store, job_id: str) -> Trial | None:
    with store.read() as session:
        return session.scalars(select(Trial).where(Trial.job_id == job_id, Trial.number == 0)).first()


def epochs_of(store: Store, trial: Trial) -> Sequence[Epoch]:
    with store.read() as session:
        return session.scalars(select(Epoch).where(Epoch.trial_id == trial.id).order_by(Epoch.epoch)).all()


def wait_for_epoch(store: Store, job_id: str, epoch: int) -> Trial:
    def reached() -> Trial | None:
        trial = first_trial(store, job_id)
        return trial if trial is not None and trial.epoch >= epoch else None

    found = until(reached, f"epoch {epoch}")
    assert found is not None
    return found


def job_of(store: Store, job_id: str) -> Job:
    with store.read() as session:
        return jobs.get(session, job_id)


def freeze(pid: int, database: Path) -> None:
    """SIGSTOP, at a moment when the process is not in the middle of a transaction, which would lock all others out."""

    def frozen() -> bool:
        os.kill(pid, signal.SIGSTOP)
        connection = sqlite3.connect(database, timeout=0.2, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            os.kill(pid, signal.SIGCONT)
            return False
        finally:
            connection.close()
        return True

    until(frozen, "a moment without a transaction")


def rows_of(store: Store, trial: Trial) -> list[object]:
    """Everything the database holds of a trial, to be compared."""
    with store.read() as session:
        row = session.get_one(Trial, trial.id)
        values = {column.key: getattr(row, column.key) for column in Trial.__table__.columns}
        artifacts = session.scalars(select(Artifact).where(Artifact.trial_id == trial.id).order_by(Artifact.kind)).all()
        tallies = session.scalars(select(Tally).where(Tally.job_id == row.job_id)).all()
        return [
            values,
            [(a.kind, a.sha256) for a in artifacts],
            [(e.epoch, e.validation_accuracy, e.train_loss) for e in epochs_of(store, row)],
            sorted((t.phase, t.state, t.count) for t in tallies),
        ]


def test_a_killed_workers_trial_is_resumed_from_its_checkpoint_by_another(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, lease_s=2)
    store = open_store(settings)
    job_id = add_job(settings, store, SLOW)
    with worker(settings, tmp_path / "first.log") as first:
        wait_for_epoch(store, job_id, 3)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    trial = wait_for_epoch(store, job_id, 3)
    assert trial.state == TrialState.RUNNING
    before = [(e.epoch, e.train_loss, e.seconds) for e in epochs_of(store, trial)]
    with worker(settings, tmp_path / "second.log"):
        until(lambda: (first_trial(store, job_id) or trial).state == TrialState.COMPLETE, "the trial's end")
    found = first_trial(store, job_id)
    assert found is not None
    assert found.attempt == 2
    after = [(e.epoch, e.train_loss, e.seconds) for e in epochs_of(store, found)]
    assert after[: len(before)] == before, "epochs that were done are not done again"
    assert [epoch for epoch, _, _ in after] == list(range(1, found.epochs + 1))
    assert f"goes on after epoch {len(before)}" in (tmp_path / "second.log").read_text()


def test_an_interrupted_trial_ends_with_the_numbers_of_an_uninterrupted_one(tmp_path: Path) -> None:
    losses = []
    for name, kills in (("whole", 0), ("killed", 2)):
        settings = settings_in(tmp_path / name, lease_s=1)
        store = open_store(settings)
        job_id = add_job(settings, store, SLOW | {"budget": {"trials": 1, "epochs": 12}})
        for kill in range(kills):
            with worker(settings, tmp_path / "log"):
                wait_for_epoch(store, job_id, 3 * (kill + 1))
        with worker(settings, tmp_path / "log"):
            trial = wait_for_epoch(store, job_id, 12)
        losses.append([(e.train_loss, e.validation_loss, e.validation_accuracy) for e in epochs_of(store, trial)])
        assert trial.attempt == kills + 1
    assert losses[0] == losses[1]


def test_a_paused_worker_whose_lease_was_taken_writes_nothing(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, lease_s=2)
    store = open_store(settings)
    job_id = add_job(settings, store, SLOW)
    log = tmp_path / "late.log"
    with worker(settings, log) as late:
        wait_for_epoch(store, job_id, 2)
        freeze(late.pid, tmp_path / "nas.db")
        # The other one's lease outlasts the test, so that the late one can come by nothing in a rightful way.
        with worker(settings_in(tmp_path, lease_s=600), tmp_path / "other.log") as other:

            def taken_over() -> Trial | None:
                trial = first_trial(store, job_id)
                return trial if trial is not None and trial.attempt == 2 and trial.epoch > 3 else None

            trial = until(taken_over, "the other worker's progress")
            assert trial is not None
            freeze(other.pid, tmp_path / "nas.db")
            before = rows_of(store, trial)
            os.kill(late.pid, signal.SIGCONT)
            until(lambda: "nothing is written" in log.read_text(), "the late worker's notice")
            assert late.poll() is None
            assert rows_of(store, trial) == before
            os.kill(other.pid, signal.SIGCONT)
            until(lambda: (first_trial(store, job_id) or trial).state == TrialState.COMPLETE, "the trial's end")
    found = first_trial(store, job_id)
    assert found is not None
    assert found.attempt == 2
    assert [epoch.epoch for epoch in epochs_of(store, found)] == list(range(1, found.epochs + 1))


def test_a_worker_that_is_told_to_stop_gives_its_trial_back_at_once(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    store = open_store(settings)
    job_id = add_job(settings, store, SLOW)
    with worker(settings, tmp_path / "log") as running:
        wait_for_epoch(store, job_id, 2)
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == 0
    trial = first_trial(store, job_id)
    assert trial is not None
    assert (trial.state, trial.owner, trial.losses) == (TrialState.QUEUED, None, 0)


def test_a_data_set_that_is_damaged_lets_its_job_wait_and_is_not_asked_for_again_and_again(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    store = open_store(settings)
    job_id = add_job(settings, store, TINY | {"budget": {"trials": 9, "epochs": 1}})

    def data() -> Dataset:
        with store.read() as session:
            return session.scalars(select(Dataset)).one()

    sha256 = data().sha256
    damaged = tmp_path / "artifacts" / sha256[:2] / sha256
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with worker(settings, tmp_path / "log"):
        until(lambda: data().unready, "the notice that the data set is damaged")
        time.sleep(2)  # many looks for work
    trial, job = first_trial(store, job_id), job_of(store, job_id)
    assert sha256 in (data().unready or "")
    assert trial is not None
    assert (trial.state, trial.attempt, trial.error) == (TrialState.QUEUED, 1, None)
    assert (job.state, job.reasons) == (JobState.RUNNING, None)


@pytest.mark.parametrize("spec", [TINY | {"budget": {"trials": 1, "epochs": 1000}}])
def test_cancelling_stops_a_running_trial_within_ten_seconds(tmp_path: Path, spec: dict[str, object]) -> None:
    settings = settings_in(tmp_path)
    store = open_store(settings)
    job_id = add_job(settings, store, spec)
    log = tmp_path / "log"
    with worker(settings, log):
        trial = wait_for_epoch(store, job_id, 1)
        with store.write() as session:
            control.cancel(session, job_id)
        until(lambda: "nothing is written" in log.read_text(), "the worker's notice", seconds=10)
        frozen = rows_of(store, trial)
        next_job = add_job(settings, store, TINY)
        until(lambda: first_trial(store, next_job), "the worker's next trial")
    assert rows_of(store, trial) == frozen
    assert job_of(store, job_id).state == JobState.CANCELLED


def test_all_planned_trials_are_accounted_for_after_a_kill(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, lease_s=1)
    store = open_store(settings)
    final = TINY["final"] | {"epochs": 1, "seeds": 1}
    job_id = add_job(settings, store, TINY | {"budget": {"trials": 6, "epochs": 2}, "final": final})
    with worker(settings, tmp_path / "one.log"), worker(settings, tmp_path / "two.log") as two:
        wait_for_epoch(store, job_id, 1)
        os.killpg(two.pid, signal.SIGKILL)
        until(lambda: job_of(store, job_id).state == JobState.SUCCEEDED, "the job's success")
    with store.read() as session:
        found = session.scalars(select(Trial).where(Trial.job_id == job_id).order_by(Trial.number)).all()
    searched = [trial for trial in found if trial.phase == Phase.SEARCH]
    assert [trial.number for trial in searched] == list(range(6))
    assert {trial.state for trial in searched} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert len({trial.digest for trial in searched}) == 6
    for trial in found:
        assert trial.lease_until is None
        assert [epoch.epoch for epoch in epochs_of(store, trial)] == list(range(1, trial.epoch + 1))
