"""The service's figures: gauges are what the rows are, counters outlive the rows that they counted."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from nas.store import control, metrics, workers
from nas.store.session import Store
from nas.store.states import JobState, Phase, Reason, TrialState
from nas.store.tables import Artifact, Counter, Dataset, Job, Worker
from nas.store.trials import reap
from tests.support import LEASE_S, add_dataset, add_job, add_queued, counted, expire, finish, run_trial, take, together


def figures(store: Store) -> metrics.Figures:
    with store.read() as session:
        return metrics.figures(session, LEASE_S)


def test_figures_of_an_empty_service_are_none(store: Store) -> None:
    found = figures(store)
    assert (found.jobs, found.trials, found.workers, found.counters) == ({}, {}, {}, {})
    assert (found.waiting_jobs, found.waiting_s, found.stored_bytes) == (0, 0.0, 0)


def test_jobs_and_trials_are_counted_by_what_they_are(store: Store) -> None:
    first = add_job(store, trials=4)
    run_trial(store)
    finish(store, take(store), TrialState.FAILED, reason=Reason.DIVERGED, error="nan")
    take(store)
    other = add_job(store)
    add_queued(store, other, 2)
    last = add_job(store)
    with store.write() as session:
        control.cancel(session, last)
    found = figures(store)
    assert found.jobs == {"running": 2, "cancelled": 1}
    _, rows = counted(store)
    expected: dict[tuple[str, str], int] = {}
    for (_, phase, state), number in rows.items():
        expected[phase, state] = expected.get((phase, state), 0) + number
    assert found.trials == expected
    assert found.trials[Phase.FINALIST, TrialState.QUEUED] == 2
    assert first != other


def test_a_job_waits_while_nothing_of_it_runs_though_it_could(store: Store) -> None:
    waiting, running, paused, ended = (add_job(store, trials=1) for _ in range(4))
    with store.write() as session:
        moment = session.get_one(Job, waiting).created_at
        long_ago = moment - timedelta(hours=1)
        session.execute(update(Job).where(Job.id == waiting).values(created_at=moment - timedelta(seconds=500)))
        session.execute(update(Job).where(Job.id == running).values(created_at=long_ago))
        session.execute(update(Job).where(Job.id == paused).values(created_at=long_ago, state=JobState.PAUSED))
        session.execute(update(Job).where(Job.id == ended).values(created_at=long_ago, state=JobState.SUCCEEDED))
    assert figures(store).waiting_jobs == 2
    assert figures(store).waiting_s > 3500
    take(store)
    found = figures(store)
    assert found.waiting_jobs == 1
    assert 500 <= found.waiting_s < 560


def test_workers_are_counted_by_device_while_they_are_alive(store: Store) -> None:
    with store.write() as session:
        for name, device in (("a", "cpu"), ("b", "cuda:0"), ("c", "cuda:1"), ("gone", "cpu")):
            workers.register(session, name, device)
        gone = session.get_one(Worker, "gone")
        gone.seen_at -= timedelta(seconds=LEASE_S + 1)
    assert figures(store).workers == {"cpu": 1, "cuda": 2}


def test_a_file_is_counted_once_whoever_refers_to_it(store: Store) -> None:
    add_job(store)
    add_dataset(store, "more")
    first, second = run_trial(store), run_trial(store)
    with store.write() as session:
        moment = session.scalars(select(Job.created_at)).one()
        for taken in (first, second):
            session.add(
                Artifact(
                    trial_id=taken.trial_id, kind="weights", sha256="w" * 64, size_bytes=1 << 40, created_at=moment
                )
            )
        session.execute(update(Dataset).values(size_bytes=5))  # both data sets of tests.support have one content
    assert figures(store).stored_bytes == (1 << 40) + 5


def test_what_is_counted_adds_up_from_many_threads(store: Store) -> None:
    def count(index: int) -> None:
        for _ in range(10):
            with store.write() as session:
                metrics.count_all(session, {("epochs", "search"): 1, ("stage_seconds", f"{index % 2}"): 0.5})

    together(4, count)
    assert figures(store).counters == {
        ("epochs", "search"): 40,
        ("stage_seconds", "0"): 10,
        ("stage_seconds", "1"): 10,
    }


def test_nothing_to_count_writes_nothing(store: Store) -> None:
    with store.write() as session:
        metrics.count_all(session, {})
        metrics.count(session, "setbacks", "x" * 100)
    with store.read() as session:
        assert [(row.label, row.value) for row in session.scalars(select(Counter))] == [("x" * 40, 1.0)]


@pytest.mark.parametrize("times", [1, 3])
def test_leases_lost_and_setbacks_are_counted_as_they_come(store: Store, times: int) -> None:
    add_job(store, trials=3)
    finish(store, take(store), TrialState.FAILED, reason=Reason.DIVERGED, error="nan")
    for _ in range(times):
        take(store)
        expire(store)
        assert reap(store) == 1
    found = figures(store).counters
    assert found["leases_lost", ""] == times
    assert found["setbacks", "lost"] == times
    assert found["setbacks", "diverged"] == 1
