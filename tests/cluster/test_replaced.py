"""Drivers that are killed, or stand still for a while: real processes, one after the other."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from nas.store import control
from nas.store.session import Store
from nas.store.states import TrialState
from nas.store.tables import Epoch, Trial
from tests.processes import SLOW, add_job, open_store, settings_in, until, worker
from tests.support import job_of

LEASE_S = 5.0
"""Long enough for a machine that is busy, short enough to be waited for."""

ENDLESS: dict[str, Any] = SLOW | {"engine": "ray", "budget": {"trials": 1, "epochs": 1000}}


def test_a_driver_that_is_killed_or_stands_still_is_replaced_and_a_late_one_writes_nothing(
    tmp_path: Path, address: str
) -> None:
    settings = replace(settings_in(tmp_path, LEASE_S), ray_address=address)
    store = open_store(settings)
    job_id = add_job(settings, store, ENDLESS)
    logs = [tmp_path / f"{name}.log" for name in ("first", "second", "third")]
    with worker(settings, logs[0]) as first:
        done = driven(store, job_id, term=1)
        os.killpg(first.pid, signal.SIGKILL)
    with worker(settings, logs[1]) as second:
        done = driven(store, job_id, term=2, epoch=done + 1)
        os.killpg(second.pid, signal.SIGSTOP)
        with worker(settings, logs[2]) as third:
            done = driven(store, job_id, term=3, epoch=done + 1)
            before = trial_of(store, job_id)
            os.killpg(second.pid, signal.SIGCONT)
            until(lambda: "no longer driven by this worker" in logs[1].read_text(), "what the late driver says")
            driven(store, job_id, term=3, epoch=done + 5)
            after = trial_of(store, job_id)
            assert (after.attempt, after.owner) == (before.attempt, before.owner)
            assert after.owner == job_of(store, job_id).driver
            with store.write() as session:
                control.cancel(session, job_id)
            until(lambda: job_of(store, job_id).driver is None, "the end of the drive", 10.0)
            assert (second.poll(), third.poll()) == (None, None)
    last = trial_of(store, job_id)
    assert (last.state, last.losses) == (TrialState.CANCELLED, 0)
    with store.read() as session:
        epochs = list(session.scalars(select(Epoch.epoch).where(Epoch.trial_id == last.id).order_by(Epoch.epoch)))
    assert epochs == list(range(1, last.epoch + 1)), "none is missing, and none was trained anew"
    store.close()


def driven(store: Store, job_id: str, *, term: int, epoch: int = 1) -> int:
    """The epochs that the job's one trial has done, once its driver of that term has brought it so far."""

    def found() -> int:
        job = job_of(store, job_id)
        assert job.driver_term <= term
        trials = [trial_of(store, job_id)] if job.next_number else []
        return next((trial.epoch for trial in trials if job.driver_term == term and trial.epoch >= epoch), 0)

    return until(found, f"epoch {epoch} under driver {term}", 180.0)


def trial_of(store: Store, job_id: str) -> Trial:
    with store.read() as session:
        return session.scalars(select(Trial).where(Trial.job_id == job_id)).one()
