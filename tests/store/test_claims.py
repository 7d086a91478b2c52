"""Claims: who gets which trial, and how many run at once."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from nas.store import control, jobs, moves, phases, trials
from nas.store.claims import Claim
from nas.store.session import Store, now
from nas.store.states import JobState, Phase, TrialState
from tests.support import (
    add_job,
    add_queued,
    age,
    candidate,
    claim,
    claim_in,
    counted,
    expire,
    finish,
    hand_back,
    job_of,
    numbers_of,
    reserve,
    states_of,
    take,
    together,
    trial_of,
)

THREADS = 8


def running(store: Store, job_id: str) -> int:
    return states_of(store, job_id).count(TrialState.RUNNING)


# --- claim


def test_nothing_can_be_claimed_without_jobs(store: Store) -> None:
    assert claim(store) is None
    assert reserve(store) is None


def test_a_claim_carries_all_that_a_worker_needs(store: Store) -> None:
    job_id = add_job(store, epochs=3)
    add_queued(store, job_id, 1)
    found = claim(store, "ada")
    assert found is not None
    job = job_of(store, job_id)
    assert found == Claim(
        trial_id=found.trial_id,
        attempt=1,
        job_id=job_id,
        number=0,
        index=0,
        phase=Phase.FINALIST,
        seed_index=0,
        epochs=4,
        epoch=0,
        stage=4,
        candidate=candidate(0),
        spec=type(found.spec).model_validate(job.spec),
        dataset_id=job.dataset_id,
        deadline=None,
    )


def test_a_claim_takes_a_lease(store: Store) -> None:
    add_queued(store, add_job(store), 1)
    with store.write() as session:
        before = now(session)
        found = claim_in(session, "ada", 20.0)
        after = now(session)
    assert found is not None
    trial = trial_of(store, found.trial_id)
    assert (trial.state, trial.owner, trial.attempt) == (TrialState.RUNNING, "ada", 1)
    assert trial.lease_until is not None
    assert before + timedelta(seconds=20) <= trial.lease_until <= after + timedelta(seconds=20)
    assert trial.started_at is not None
    assert before <= trial.started_at <= after


def test_the_oldest_job_is_served_first_and_then_each_in_turn_its_trials_in_their_order(store: Store) -> None:
    first, second = add_job(store), add_job(store)
    add_queued(store, second, 2)
    add_queued(store, first, 2)
    claims = [claim(store) for _ in range(5)]
    assert [(found.job_id, found.number) for found in claims if found] == [
        (first, 0),
        (second, 0),
        (first, 1),
        (second, 1),
    ]
    assert claims[-1] is None


@pytest.mark.parametrize(
    "end", [control.cancel, lambda session, job_id: moves.fail(session, jobs.get(session, job_id), "")]
)
def test_trials_of_a_job_that_has_ended_cannot_be_claimed(store: Store, end: Callable[..., object]) -> None:
    job_id = add_job(store)
    add_queued(store, job_id, 3)
    with store.write() as session:
        end(session, job_id)
    assert claim(store) is None


def test_threads_that_claim_at_once_get_every_trial_once(store: Store) -> None:
    job_id = add_job(store)
    add_queued(store, job_id, 100)

    def work(index: int) -> list[int]:
        found = []
        while (taken := claim(store, f"worker {index}")) is not None:
            found.append(taken.number)
        return found

    shares = together(16, work)
    assert sorted(number for share in shares for number in share) == list(range(100))
    assert states_of(store, job_id) == [TrialState.RUNNING] * 100
    tallies, found = counted(store)
    assert tallies == found


# --- reserve


def test_a_reserved_number_is_a_running_trial_without_a_candidate(store: Store) -> None:
    job_id = add_job(store, epochs=7)
    found = reserve(store, "ada")
    assert found is not None
    assert (found.number, found.attempt, found.phase, found.epochs) == (0, 1, Phase.SEARCH, 7)
    assert found.candidate is None
    trial = trial_of(store, found.trial_id)
    assert (trial.state, trial.owner, trial.digest) == (TrialState.RUNNING, "ada", None)
    assert trial.lease_until is not None
    assert numbers_of(store, job_id) == [0]


def test_the_first_number_starts_the_job(store: Store) -> None:
    job_id = add_job(store)
    assert (job_of(store, job_id).state, job_of(store, job_id).started_at) == (JobState.QUEUED, None)
    take(store)
    started = job_of(store, job_id).started_at
    assert job_of(store, job_id).state == JobState.RUNNING
    assert started is not None
    take(store)
    assert job_of(store, job_id).started_at == started


def test_numbers_are_taken_of_each_job_in_turn_until_its_budget_is_spent(store: Store) -> None:
    first, second = add_job(store, trials=3), add_job(store, trials=1)
    taken = [take(store) for _ in range(4)]
    assert [(found.job_id, found.number) for found in taken] == [(first, 0), (second, 0), (first, 1), (first, 2)]
    assert reserve(store) is None


def test_the_budget_holds_among_threads_and_numbers_have_no_gap(store: Store) -> None:
    job_id = add_job(store, trials=20)

    def work(index: int) -> list[int]:
        found = []
        while (taken := reserve(store, f"worker {index}")) is not None:
            found.append(taken.number)
        return found

    shares = together(THREADS, work)
    assert sorted(number for share in shares for number in share) == list(range(20))
    assert numbers_of(store, job_id) == list(range(20))
    assert job_of(store, job_id).next_number == 20


def test_no_more_trials_run_at_once_than_the_job_allows(store: Store) -> None:
    job_id = add_job(store, trials=12, parallel=3)
    for done in range(0, 12, 3):
        taken = [found for found in together(THREADS, lambda index: reserve(store, f"worker {index}")) if found]
        assert len(taken) == running(store, job_id) == 3
        assert sorted(found.number for found in taken) == [done, done + 1, done + 2]
        for found in taken:
            finish(store, found)
    assert reserve(store) is None


def test_the_phases_after_the_search_keep_to_the_same_number(store: Store) -> None:
    job_id = add_job(store, parallel=3)
    add_queued(store, job_id, 9)
    for _ in range(3):
        taken = [found for found in together(THREADS, lambda index: claim(store, f"worker {index}")) if found]
        assert len(taken) == running(store, job_id) == 3
        for found in taken:
            finish(store, found)
    assert claim(store) is None


def test_requeued_and_new_trials_keep_to_the_same_number(store: Store) -> None:
    job_id = add_job(store, trials=1000, parallel=3)
    for _ in range(3):
        for _ in range(3):
            taken = take(store)
            if taken.number % 2:
                hand_back(store, taken)

        together(THREADS, lambda index: claim(store, f"worker {index}") or reserve(store, f"worker {index}"))
        assert running(store, job_id) == 3
        expire(store)
        trials.reap(store)
        for _ in range(3):
            finish(store, take(store))


def test_a_job_at_its_limit_lets_the_next_one_go_ahead(store: Store) -> None:
    first, second = add_job(store, parallel=1), add_job(store)
    assert [take(store).job_id for _ in range(3)] == [first, second, second]


def test_a_search_whose_time_is_up_gets_no_more_trials(store: Store) -> None:
    job_id = add_job(store, trials=10, seconds=600)
    for _ in range(2):
        finish(store, take(store))
    age(store, job_id, 280)  # without an epoch to go by, half of the time is kept for the retraining
    third = reserve(store)
    assert third is not None
    age(store, job_id, 30)

    assert reserve(store) is None
    job = job_of(store, job_id)
    assert (job.trials_planned, job.next_number) == (3, 3)
    assert job.note == "the search ended in time for a job of 600 s, as its budget says"
    with store.read() as session:
        assert phases.standstill(session) is None
    finish(store, third)
    with store.read() as session:
        seen = phases.standstill(session)
    assert seen is not None
    assert (seen.job_id, seen.state) == (job_id, JobState.RUNNING)


def test_a_search_trial_knows_when_its_search_ends(store: Store) -> None:
    job_id = add_job(store, seconds=60)
    taken = take(store)
    started = job_of(store, job_id).started_at
    assert started is not None
    assert taken.deadline == started + timedelta(seconds=30)
    add_queued(store, job_id, 1)
    final = claim(store)
    assert final is not None
    assert final.deadline is None
