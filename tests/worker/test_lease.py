"""One heartbeat renews whatever its process holds, under however many worker ids."""

import time
from collections.abc import Callable, Iterator

import pytest

from nas.store import control, trials, workers
from nas.store.session import Store
from nas.store.states import TrialState
from tests.support import LEASE_S, add_job, expire, open_store, take, trial_of
from worker.lease import Heartbeat


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store("sqlite", tmp_path_factory.mktemp("lease")) as opened:
        yield opened


def until(found: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_grip_learns_that_its_claim_is_lost_and_the_others_keep_theirs(store: Store) -> None:
    job_id = add_job(store)
    other = add_job(store)
    heartbeat = Heartbeat(store, "host", LEASE_S)
    grips = [heartbeat.grip(f"host-{number}") for number in range(2)]
    claims = [take(store, grip.worker) for grip in grips]
    for grip, claim in zip(grips, claims, strict=True):
        grip.keep(claim)
    assert {claim.job_id for claim in claims} == {job_id, other}
    heartbeat.beat()
    assert [grip.lost for grip in grips] == [False, False]
    with store.write() as session:
        control.cancel(session, claims[0].job_id)
    heartbeat.beat()
    assert [grip.lost for grip in grips] == [True, False]
    grips[0].keep(None)
    assert not grips[0].lost


def test_a_closed_grip_is_not_renewed(store: Store) -> None:
    add_job(store)
    heartbeat = Heartbeat(store, "host", LEASE_S)
    with heartbeat.grip() as grip:
        claim = take(store, grip.worker)
        grip.keep(claim)
    expire(store)
    heartbeat.beat()
    assert trials.reap(store) == 1
    assert not grip.lost


def test_a_claim_that_came_after_the_beat_began_is_not_taken_for_lost(store: Store) -> None:
    add_job(store)
    heartbeat = Heartbeat(store, "host", LEASE_S)
    grip = heartbeat.grip()
    first = take(store)
    grip.keep(first)
    second = take(store)
    grip.keep(second)
    grip.lose(first)
    assert not grip.lost
    grip.lose(second)
    assert grip.lost


def test_all_ids_of_a_process_are_seen_alive(store: Store) -> None:
    names = ["host", "host-0", "host-1", "another"]
    with store.write() as session:
        for name in names:
            workers.register(session, name, "cpu")
    with store.read() as session:
        before = {worker.id: worker.seen_at for worker in workers.alive(session, LEASE_S)}
    heartbeat = Heartbeat(store, "host", LEASE_S)
    with heartbeat.grip("host-0"):
        heartbeat.grip("host-1").close()
        heartbeat.beat()
    with store.read() as session:
        after = {worker.id: worker.seen_at for worker in workers.alive(session, LEASE_S)}
    assert {name for name in names if after[name] > before[name]} == {"host", "host-0"}


def test_the_thread_beats_often_enough_for_a_short_lease(store: Store) -> None:
    add_job(store)
    with Heartbeat(store, "host", 1.5) as heartbeat, heartbeat.grip() as grip:
        claim = take(store, "host")
        grip.keep(claim)
        expire(store)
        until(lambda: (found := trial_of(store, claim.trial_id).lease_until) is not None and found.year > 2020)
        assert trials.reap(store) == 0
        assert trial_of(store, claim.trial_id).state == TrialState.RUNNING
