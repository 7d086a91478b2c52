"""What a job has for a worker, and for which workers: by its state, their devices, and who drives it."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from nas.store import claims, control, jobs, queue, retrains, trials
from nas.store.leases import Lease
from nas.store.queue import Survey
from nas.store.session import Store, now
from nas.store.states import JobState, Phase, advance
from nas.store.tables import Dataset, Job
from tests.store.looking import offered, serve, survey
from tests.support import (
    LEASE_S,
    add_job,
    add_queued,
    finish,
    job_of,
    propose,
    report,
    run_trial,
    rungs_in,
    take,
    trial_of,
)


def test_a_job_without_work_offers_nothing(store: Store) -> None:
    assert survey(store) == Survey((), (), False)
    job_id = add_job(store, trials=1)
    assert offered(store) == [job_id]
    taken = take(store)
    assert survey(store) == Survey((), (), False)
    finish(store, taken)
    assert [seen.job_id for seen in survey(store).ripe] == [job_id]


def test_a_job_that_runs_all_it_may_offers_nothing(store: Store) -> None:
    job_id = add_job(store, trials=9, parallel=2)
    taken = [take(store), take(store)]
    assert offered(store) == []
    finish(store, taken[0])
    assert offered(store) == [job_id]


def test_a_paused_job_offers_nothing(store: Store) -> None:
    job_id = add_job(store)
    with store.write() as session:
        job = jobs.get(session, job_id)
        advance(job, JobState.PAUSED)
    assert survey(store) == Survey((), (), False)
    with store.write() as session:
        advance(jobs.get(session, job_id), JobState.QUEUED)
    assert offered(store) == [job_id]


def test_a_job_that_is_paused_after_it_was_seen_is_not_served(store: Store) -> None:
    job_id = add_job(store)
    add_queued(store, job_id, 1)
    [seen] = survey(store).offers
    with store.write() as session:
        advance(jobs.get(session, job_id), JobState.PAUSED)
    with store.write() as session:
        lease = Lease("worker", "cpu", LEASE_S)
        assert claims.claim(session, seen, lease) is None
        assert claims.reserve(session, seen, lease) is None
    assert job_of(store, job_id).next_number == 1


def test_a_job_offers_nothing_until_its_data_set_can_be_read_again(store: Store) -> None:
    job_id = add_job(store)
    for seconds, expected in ((30, []), (-1, [job_id])):
        with store.write() as session:
            until = now(session) + timedelta(seconds=seconds)
            session.execute(update(Dataset).values(unready="it is gone", unready_until=until))
        assert offered(store) == expected


def test_a_retraining_of_a_job_that_has_ended_is_offered(store: Store) -> None:
    job_id = add_job(store, trials=2)
    run_trial(store)
    with store.write() as session:
        control.cancel(session, job_id)
    assert offered(store) == []
    with store.write() as session:
        retrains.ask(session, job_id, 0)
    assert offered(store) == [job_id]
    found = serve(store)
    assert found is not None
    assert found.phase == Phase.RETRAIN
    assert offered(store) == []


def test_paused_trials_are_offered_until_the_search_is_over_and_left_over_then(store: Store) -> None:
    job_id = add_job(store, trials=1, epochs=8, pruning={"method": "halving", "eta": 2, "first": 2})
    taken = take(store)
    propose(store, taken, 0)
    for number in (1, 2):
        report(store, taken, number)
    with store.write() as session:
        trials.pause(session, taken)
    [seen] = survey(store).offers
    assert (seen.promotes, seen.adds, seen.queued) == (True, False, 0)
    with store.write() as session:
        session.execute(update(Job).values(search_over=True))
    assert offered(store) == []
    with store.read() as session:
        assert rungs_in(session) == []
    with store.write() as session:
        advance(jobs.get(session, job_id), JobState.FINALIZING)
    assert survey(store).leftover


# --- devices


@pytest.mark.parametrize(
    ("wanted", "served"), [("any", {"cpu", "cuda", "cuda:1"}), ("cpu", {"cpu"}), ("gpu", {"cuda", "cuda:1"})]
)
def test_a_job_is_trained_on_the_devices_that_it_asks_for(store: Store, wanted: str, served: set[str]) -> None:
    add_job(store, device=wanted)
    assert {device for device in ("cpu", "cuda", "cuda:1") if offered(store, device)} == served


def driven(store: Store, job_id: str, left_s: float) -> None:
    """Gives a job a driver whose lease ends then."""
    with store.write() as session:
        until = now(session) + timedelta(seconds=left_s)
        session.execute(update(Job).where(Job.id == job_id).values(driver="driver", driver_until=until))


def seen_by(store: Store, **worker: Any) -> list[str]:
    with store.read() as session:
        return [offer.job_id for offer in queue.survey(session, "cpu", **worker).offers]


def test_a_job_for_ray_is_offered_to_workers_with_ray_until_one_drives_it(store: Store) -> None:
    job_id = add_job(store, engine="ray")
    assert seen_by(store) == []
    assert seen_by(store, ray=True) == [job_id]
    driven(store, job_id, 60)
    assert seen_by(store, ray=True) == []
    driven(store, job_id, -1)
    assert seen_by(store, ray=True) == [job_id]


def test_a_driver_sees_its_own_job_and_no_other(store: Store) -> None:
    add_job(store)
    add_job(store, engine="ray", priority=5)
    mine = add_job(store, engine="ray")
    driven(store, mine, 60)
    assert seen_by(store, ray=True, driving=mine) == [mine]
    with store.read() as session:
        [seen] = queue.survey(session, "cpu", driving=mine).offers
    assert (seen.driven, seen.drives) == (True, False)


def test_a_job_for_ray_waits_its_turn_among_the_others(store: Store) -> None:
    low = add_job(store, engine="ray", priority=-1)
    usual = add_job(store)
    high = add_job(store, engine="ray", priority=1)
    assert seen_by(store, ray=True) == [high, usual, low]


def test_a_job_for_ray_that_is_through_is_moved_on_by_its_driver_alone(store: Store) -> None:
    job_id = add_job(store, engine="ray", trials=1)
    driven(store, job_id, 60)
    with store.write() as session:
        [seen] = queue.survey(session, "cpu", driving=job_id).offers
        claim = claims.reserve(session, seen, Lease("driver", "cpu", LEASE_S))
    assert claim is not None
    finish(store, claim)
    with store.read() as session:
        assert queue.survey(session, "cpu", ray=True) == Survey((), (), False)
        assert [seen.job_id for seen in queue.survey(session, "cpu", driving=job_id).ripe] == [job_id]
    driven(store, job_id, -1)
    assert seen_by(store) == []
    assert seen_by(store, ray=True) == [job_id]


def test_whoever_does_not_drive_a_job_for_ray_gets_no_trial_of_it(store: Store) -> None:
    job_id = add_job(store, engine="ray")
    driven(store, job_id, 60)
    with store.write() as session:
        [seen] = queue.survey(session, "cpu", driving=job_id).offers
        assert claims.reserve(session, seen, Lease("another", "cpu", LEASE_S)) is None


def test_a_trial_names_the_device_of_its_last_attempt(store: Store) -> None:
    add_job(store, trials=1)
    first = serve(store, device="cuda:1")
    assert first is not None
    assert trial_of(store, first.trial_id).device == "cuda:1"
    with store.write() as session:
        trials.hand_back(session, first)
    second = serve(store, device="cpu")
    assert second is not None
    assert (second.trial_id, trial_of(store, second.trial_id).device) == (first.trial_id, "cpu")
