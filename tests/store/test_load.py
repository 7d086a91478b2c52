"""32 workers at once, in processes of their own, on one database: no trial is lost, none is run twice at once."""

import multiprocessing
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import NamedTuple

import torch
from sqlalchemy import func, select

from nas.settings import Settings
from nas.store import trials
from nas.store.artifacts import ArtifactStore
from nas.store.session import Store
from nas.store.states import TrialState
from nas.store.tables import Epoch, Job, Trial
from tests.support import add_job, counted, epoch, stored
from worker.context import Context
from worker.lease import Heartbeat
from worker.step import look, take

PROCESSES, THREADS = 8, 4
JOBS, TRIALS, EPOCHS = 4, 500, 2
GIVEN_BACK = 97
"""Of so many trials, each worker gives one back half-way."""


class Run(NamedTuple):
    """What a worker did with a trial, and when: seconds of the machine's clock."""

    trial_id: int
    attempt: int
    begin_s: float
    end_s: float
    complete: bool


def work(url: str, home: Path, name: str) -> list[Run]:
    """A worker that takes trials as a real one does, and trains none of them."""
    store = Store(url, connections=1)
    settings = Settings.read({"NAS_HOME": str(home)})
    heartbeat = Heartbeat(store, name, 30.0)
    artifacts = ArtifactStore(settings.artifacts_url)
    context = Context(store, artifacts, settings, name, torch.device("cpu"), heartbeat.grip(), Event().is_set)
    done: list[Run] = []
    while (claim := take(context, look(context))) is not None:
        begin_s = time.monotonic()
        whole = len(done) % GIVEN_BACK != GIVEN_BACK // 2
        for number in range(claim.epoch + 1, EPOCHS + 1 if whole else EPOCHS):
            with store.write() as session:
                checkpoint = stored(f"{claim.trial_id}.{number}")
                trials.report(session, claim, epoch(number), checkpoint, 30.0)
        end_s = time.monotonic()
        with store.write() as session:
            if whole:
                trials.finish(session, claim, TrialState.COMPLETE)
            else:
                trials.hand_back(session, claim)
        done.append(Run(claim.trial_id, claim.attempt, begin_s, end_s, whole))
    store.close()
    return done


def workers(url: str, home: Path, process: int) -> list[Run]:
    """The workers of one process."""
    with ThreadPoolExecutor(THREADS) as pool:
        shares = pool.map(lambda thread: work(url, home, f"worker {process}.{thread}"), range(THREADS))
        return [run for share in shares for run in share]


def test_32_workers_finish_2000_trials_and_each_of_them_once(store: Store, tmp_path: Path) -> None:
    job_ids = [add_job(store, trials=TRIALS, epochs=EPOCHS) for _ in range(JOBS)]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.store.test_load"])
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        shares = list(
            pool.map(workers, *zip(*((store.url, tmp_path, index) for index in range(PROCESSES)), strict=True))
        )
    runs = [run for share in shares for run in share]  # an error of any worker would have been raised here
    assert len({run.trial_id for run in runs}) == JOBS * TRIALS
    assert sum(run.complete for run in runs) == JOBS * TRIALS
    assert sum(not run.complete for run in runs) >= 5
    by_trial = defaultdict(list)
    for run in runs:
        by_trial[run.trial_id].append(run)
    for attempts in by_trial.values():
        attempts.sort(key=lambda run: run.attempt)
        assert [run.attempt for run in attempts] == list(range(1, len(attempts) + 1))
        assert [run.complete for run in attempts] == [False] * (len(attempts) - 1) + [True]
        assert all(earlier.end_s <= later.begin_s for earlier, later in pairwise(attempts))
    tallies, found = counted(store)
    assert tallies == found
    with store.read() as session:
        rows = session.execute(select(Epoch.trial_id, func.count(), func.max(Epoch.epoch)).group_by(Epoch.trial_id))
        assert {(count, highest) for _, count, highest in rows} == {(EPOCHS, EPOCHS)}
        assert set(session.scalars(select(Trial.state).distinct())) == {TrialState.COMPLETE}
        planned = [TRIALS] * JOBS
        assert session.scalars(select(Job.next_number).order_by(Job.created_at)).all() == planned
        assert session.scalars(select(Job.search_epochs)).all() == [trials_ * EPOCHS for trials_ in planned]
        versions = session.execute(select(Epoch.job_id, Epoch.version)).all()
    assert len(set(versions)) == len(versions)  # each report was seen as a change of its own
    assert len(job_ids) == JOBS
