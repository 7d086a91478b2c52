"""The lease of a Ray job's driver, and what becomes of the trials of a driver or a node that is lost."""

import pytest
from sqlalchemy import update

from nas.errors import LeaseLost
from nas.store import claims, drivers, queue, trials
from nas.store.claims import Claim
from nas.store.drivers import BLAMELESS
from nas.store.leases import Lease
from nas.store.session import Store
from nas.store.states import JobState, Reason, TrialState
from nas.store.tables import Job
from tests import support
from tests.support import LEASE_S, LONG_AGO, add_job, counted, job_of, states_of, together, trial_of


def test_one_worker_at_a_time_drives_a_job(store: Store) -> None:
    job_id = add_job(store, engine="ray")
    terms = together(4, lambda index: take(store, job_id, f"w{index}"))
    assert sorted(term for term in terms if term is not None) == [1]
    job = job_of(store, job_id)
    assert job.driver == f"w{terms.index(1)}"
    assert take(store, job_id, "late") is None


def test_only_a_job_for_ray_has_a_driver(store: Store) -> None:
    assert take(store, add_job(store), "w") is None
    assert take(store, "nothing", "w") is None


def test_a_driver_that_leaves_makes_room_for_the_next_one(store: Store) -> None:
    job_id = add_job(store, engine="ray")
    assert take(store, job_id, "a") == 1
    with store.write() as session:
        drivers.release_job(session, job_id, "b", 1)  # not its own
    assert take(store, job_id, "b") is None
    with store.write() as session:
        drivers.release_job(session, job_id, "a", 1)
    assert take(store, job_id, "b") == 2
    assert job_of(store, job_id).drivers_lost == 0


def test_a_lease_is_renewed_by_its_driver_alone(store: Store) -> None:
    job_id = add_job(store, engine="ray")
    take(store, job_id, "a")
    before = job_of(store, job_id).driver_until
    with store.write() as session:
        drivers.renew(session, job_id, "a", 1, 2 * LEASE_S)
    after = job_of(store, job_id).driver_until
    assert before is not None
    assert after is not None
    assert after > before
    for worker, term in (("b", 1), ("a", 2)):
        with pytest.raises(LeaseLost), store.write() as session:
            drivers.renew(session, job_id, worker, term, LEASE_S)


def test_trials_of_a_lost_driver_are_queued_at_once_and_free_of_charge(store: Store) -> None:
    job_id = add_job(store, engine="ray")
    take(store, job_id, "a")
    done, running = (begin(store, job_id, "a") for _ in range(2))
    finish(store, done)
    lose(store, job_id)
    assert take(store, job_id, "b") == 2
    assert states_of(store, job_id) == [TrialState.COMPLETE, TrialState.QUEUED]
    row = trial_of(store, running.trial_id)
    assert (row.losses, row.owner, row.lease_until) == (0, None, None)
    assert job_of(store, job_id).reasons == {Reason.PREEMPTED: [0, 1]}
    tallies, rows = counted(store)
    assert tallies == rows
    with pytest.raises(LeaseLost), store.write() as session:
        trials.report(session, running, support.epoch(1), None, LEASE_S)


def test_any_worker_queues_the_trials_of_a_lost_driver(store: Store) -> None:
    job_id, other = add_job(store, engine="ray"), add_job(store, engine="ray")
    take(store, job_id, "a")
    take(store, other, "b")
    begin(store, job_id, "a")
    begin(store, other, "b")
    lose(store, job_id)
    assert drivers.reap(store) == 1
    assert (states_of(store, job_id), states_of(store, other)) == ([TrialState.QUEUED], [TrialState.RUNNING])
    assert job_of(store, job_id).driver is None
    assert drivers.reap(store) == 0


def test_a_late_driver_takes_no_trial(store: Store) -> None:
    job_id = add_job(store, engine="ray")
    take(store, job_id, "a")
    seen = standing(store, job_id, "a")
    lose(store, job_id)
    take(store, job_id, "b")
    with store.write() as session:
        assert claims.reserve(session, seen, Lease("a", "cpu", LEASE_S)) is None
    assert begin(store, job_id, "b").number == 0
    lose(store, job_id)
    take(store, job_id, "c")
    with store.write() as session:
        assert claims.claim(session, seen, Lease("b", "cpu", LEASE_S)) is None
    assert states_of(store, job_id) == [TrialState.QUEUED]


def test_drivers_that_are_lost_again_and_again_end_the_trials_that_never_get_on(store: Store) -> None:
    job_id = add_job(store, engine="ray", parallel=1)
    for turn in range(BLAMELESS + 1):
        take(store, job_id, f"w{turn}")
        claim = begin(store, job_id, f"w{turn}")
        assert claim.number == 0
        lose(store, job_id)
    take(store, job_id, "last")
    row = trial_of(store, claim.trial_id)
    assert (row.losses, row.state) == (2, TrialState.QUEUED)
    begin(store, job_id, "last")
    lose(store, job_id)
    take(store, job_id, "another")
    assert trial_of(store, claim.trial_id).reason == Reason.LOST
    assert states_of(store, job_id) == [TrialState.FAILED]


def test_a_trial_that_ends_clears_the_drivers_before_of_blame(store: Store) -> None:
    job_id = add_job(store, engine="ray")
    for turn in range(BLAMELESS - 1):
        take(store, job_id, f"w{turn}")
        lose(store, job_id)
    take(store, job_id, "a")
    assert job_of(store, job_id).drivers_lost == BLAMELESS - 1
    claim = begin(store, job_id, "a")
    with store.write() as session:
        drivers.progressed(session, job_id)
    lose(store, job_id)
    take(store, job_id, "b")
    assert trial_of(store, claim.trial_id).losses == 0


def test_a_trial_that_loses_its_node_at_the_same_epoch_every_time_is_given_up(store: Store) -> None:
    job_id = add_job(store, engine="ray", parallel=1, epochs=9)
    take(store, job_id, "a")
    reasons = []
    for _ in range(BLAMELESS + 1):
        claim = lose_node(store, begin(store, job_id, "a"))
        reasons.append(trial_of(store, claim.trial_id).losses)
    assert reasons == [0, 0, 1, 2]
    claim = begin(store, job_id, "a")
    support.report(store, claim, 1)
    lose_node(store, claim)
    assert trial_of(store, claim.trial_id).losses == 0, "it has got on since"
    for _ in range(BLAMELESS + 1):
        lose_node(store, begin(store, job_id, "a"))
    row = trial_of(store, claim.trial_id)
    assert (row.state, row.reason) == (TrialState.FAILED, Reason.LOST)


def test_how_a_job_stands_is_told_to_its_driver_alone(store: Store) -> None:
    job_id = add_job(store, engine="ray")
    take(store, job_id, "a")
    claim = begin(store, job_id, "a")
    with store.read() as session:
        seen = drivers.look(session, job_id, "a", 1)
        assert seen is not None
        assert (seen.state, seen.search_over, seen.lost) == (JobState.RUNNING, False, 0)
        assert seen.running == {(claim.trial_id, claim.attempt)}
        assert drivers.look(session, job_id, "b", 1) is None
        assert drivers.look(session, job_id, "a", 2) is None


def take(store: Store, job_id: str, worker: str) -> int | None:
    with store.write() as session:
        return drivers.take(session, job_id, worker, LEASE_S)


def standing(store: Store, job_id: str, worker: str) -> queue.Standing:
    with store.read() as session:
        return queue.survey(session, "cpu", ray=True, driving=job_id).offers[0]


def begin(store: Store, job_id: str, worker: str) -> Claim:
    """The next trial of the job, in its driver's hands."""
    seen, lease = standing(store, job_id, worker), Lease(worker, "cpu", LEASE_S)
    with store.write() as session:
        found = claims.claim(session, seen, lease) or claims.reserve(session, seen, lease)
    assert found is not None
    if found.candidate is None:
        support.propose(store, found, found.trial_id)
    return found


def finish(store: Store, claim: Claim) -> None:
    support.report(store, claim, 1)
    support.finish(store, claim)


def lose(store: Store, job_id: str) -> None:
    """Lets the lease of a job's driver run out."""
    with store.write() as session:
        session.execute(update(Job).where(Job.id == job_id).values(driver_until=LONG_AGO))


def lose_node(store: Store, claim: Claim) -> Claim:
    with store.write() as session:
        drivers.lose_node(session, claim, "its node was lost")
    return claim
