"""What a job says that it waits for."""

from datetime import timedelta

import pytest
from sqlalchemy import event, update

from nas.store import control, jobs, workers
from nas.store.session import Store, now
from nas.store.states import JobState, advance
from nas.store.tables import Dataset, Job
from nas.store.waiting import Waiting, waiting
from tests.support import LEASE_S, add_job, finish, job_of, report, reserve_in, run_trial, take

EPOCH_S = 2.0
"""What tests.support.report says of an epoch."""


def register(store: Store, *names: str, device: str = "cpu") -> None:
    with store.write() as session:
        for name in names:
            workers.register(session, name, device)


def wait(store: Store, job_id: str) -> Waiting:
    with store.read() as session:
        return waiting(session, jobs.get(session, job_id), LEASE_S)


def brief(store: Store, job_id: str) -> tuple[str, int | None, float | None]:
    found = wait(store, job_id)
    return found.reason, found.position, found.eta_s


def test_without_a_worker_it_waits_for_one_and_says_how_to_start_it(store: Store) -> None:
    job_id = add_job(store)
    found = wait(store, job_id)
    assert (found.reason, found.position, found.eta_s) == ("no_worker", None, None)
    assert "`nas worker`" in found.text


@pytest.mark.parametrize(
    ("wanted", "there", "reason", "mend"),
    [
        ("gpu", "cpu", "no_gpu_worker", "--device cuda"),
        ("cpu", "cuda:1", "no_cpu_worker", "--device cpu"),
        ("gpu", "cuda:1", "starting", ""),
        ("cpu", "cpu", "starting", ""),
        ("any", "cuda", "starting", ""),
    ],
)
def test_a_job_waits_for_a_worker_on_the_device_that_it_asks_for(
    store: Store, wanted: str, there: str, reason: str, mend: str
) -> None:
    job_id = add_job(store, device=wanted)
    assert wait(store, job_id).reason == "no_worker"
    register(store, "ada", device=there)
    found = wait(store, job_id)
    assert found.reason == reason
    assert mend in found.text


def test_busy_workers_of_another_device_make_nobody_wait(store: Store) -> None:
    register(store, "ada", device="cuda")
    register(store, "bob")
    add_job(store, trials=1, device="gpu")
    with store.write() as session:
        assert reserve_in(session, "ada", device="cuda")
    assert brief(store, add_job(store, device="cpu")) == ("starting", 1, 0.0)
    assert brief(store, add_job(store, device="gpu"))[0] == "all_busy"


def test_a_paused_job_says_how_it_goes_on(store: Store) -> None:
    job_id = add_job(store)
    register(store, "ada")
    with store.write() as session:
        advance(jobs.get(session, job_id), JobState.PAUSED)
    found = wait(store, job_id)
    assert (found.reason, found.position, found.eta_s) == ("paused", None, None)
    assert f"/v1/jobs/{job_id}/resume" in found.text


def test_a_job_whose_data_cannot_be_read_says_why_and_until_when(store: Store) -> None:
    job_id = add_job(store)
    register(store, "ada")
    for seconds, reason in ((20, "dataset_not_ready"), (-1, "starting")):
        with store.write() as session:
            until = now(session) + timedelta(seconds=seconds)
            session.execute(update(Dataset).values(unready="its file is gone", unready_until=until))
        assert wait(store, job_id).reason == reason
        if seconds > 0:
            assert "its file is gone" in wait(store, job_id).text
            assert wait(store, job_id).eta_s == pytest.approx(20, abs=2)


def test_when_all_workers_are_busy_it_knows_its_place_and_when_its_turn_comes(store: Store) -> None:
    """Of ten epochs of two seconds each, ada has eight to go and bob three."""
    register(store, "ada", "bob")
    add_job(store, trials=2, epochs=10)
    first, second = take(store, "ada"), take(store, "bob")
    for claim, done in ((first, 2), (second, 7)):
        for number in range(1, done + 1):
            report(store, claim, number)
    waits = [add_job(store) for _ in range(3)]
    assert [brief(store, job_id) for job_id in waits] == [
        ("all_busy", 1, 3 * EPOCH_S),
        ("all_busy", 2, 8 * EPOCH_S),
        ("all_busy", 3, None),
    ]
    finish(store, second)
    assert [brief(store, job_id) for job_id in waits] == [
        ("starting", 1, 0.0),
        ("all_busy", 2, 8 * EPOCH_S),
        ("all_busy", 3, None),
    ]


def test_a_trial_that_pauses_at_a_rung_frees_its_worker_there(store: Store) -> None:
    register(store, "ada")
    add_job(store, trials=1, epochs=8, pruning={"method": "halving", "eta": 2, "first": 4})
    taken = take(store, "ada")
    report(store, taken, 1)
    assert brief(store, add_job(store)) == ("all_busy", 1, 3 * EPOCH_S)


def test_before_a_first_epoch_nobody_knows_when_a_worker_is_free(store: Store) -> None:
    register(store, "ada")
    add_job(store, trials=3)
    waits = add_job(store)
    take(store, "ada")
    assert brief(store, waits) == ("all_busy", 1, None)


def test_before_a_trials_first_epoch_its_jobs_others_say_how_long_one_takes(store: Store) -> None:
    register(store, "ada")
    add_job(store, trials=2, epochs=3)
    run_trial(store, worker="ada")
    take(store, "ada")
    assert brief(store, add_job(store)) == ("all_busy", 1, 3 * EPOCH_S)


def test_how_long_a_higher_priority_is_served_first_nobody_knows(store: Store) -> None:
    register(store, "ada")
    first, second = add_job(store, trials=9, priority=3), add_job(store)
    report(store, take(store, "ada"), 1)
    assert wait(store, first).reason == "all_busy"
    assert brief(store, second) == ("all_busy", 2, None)
    assert brief(store, add_job(store, priority=4)) == ("all_busy", 1, 2 * EPOCH_S)


def test_the_text_names_no_job_and_no_owner_but_its_own(store: Store) -> None:
    register(store, "ada")
    other = add_job(store, name="secret", trials=2)
    with store.write() as session:
        session.execute(update(Job).values(owner="somebody"))
    take(store, "ada")
    text = wait(store, add_job(store)).text
    assert not [word for word in (other, "secret", "somebody", "ada") if word in text]


def test_what_it_costs_does_not_grow_with_trials_and_ended_jobs(store: Store) -> None:
    register(store, "ada")
    job_id = add_job(store, trials=40, priority=1)
    take(store, "ada")
    waits = add_job(store)
    asked: list[int] = []
    event.listen(store.engine, "before_cursor_execute", lambda *_: asked.append(1))

    def questions() -> int:
        asked.clear()
        assert wait(store, waits).reason == "all_busy"
        return len(asked)

    before = questions()
    for _ in range(5):
        finish(store, take(store, "bob"))
        with store.write() as session:
            control.cancel(session, add_job(store))
    assert job_of(store, job_id).next_number == 6
    assert questions() == before


def test_a_job_for_ray_waits_for_a_worker_that_has_ray(store: Store) -> None:
    job_id = add_job(store, engine="ray")
    assert brief(store, job_id) == ("no_worker", None, None)
    register(store, "plain")
    assert wait(store, job_id).reason == "no_ray_worker"
    assert "nas-service[ray]" in wait(store, job_id).text
    with store.write() as session:
        workers.register(session, "driver", "cpu", ray=True)
    assert brief(store, job_id) == ("starting", 1, 0.0)


def test_a_job_for_ray_with_a_driver_waits_for_its_cluster(store: Store) -> None:
    job_id = add_job(store, engine="ray")
    with store.write() as session:
        until = now(session) + timedelta(seconds=60)
        session.execute(update(Job).where(Job.id == job_id).values(driver="driver-1", driver_until=until))
    found = wait(store, job_id)
    assert found.reason == "driving"
    assert "driver-1" in found.text
