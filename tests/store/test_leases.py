"""Claims: who gets which trial, how many at once, and what a worker can do after its lease has run out."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import pytest

from nas.errors import LeaseLost
from nas.store import control, files, jobs, moves, phases, trials
from nas.store.claims import Claim
from nas.store.session import Store, now
from nas.store.states import JobState, Phase, Reason, TrialState
from nas.store.tables import Job, Trial
from nas.store.trials import MAX_LOSSES
from tests.support import (
    LEASE_S,
    add_job,
    add_queued,
    age,
    candidate,
    claim,
    claim_in,
    counted,
    digest,
    everything,
    expire,
    finish,
    hand_back,
    job_of,
    numbers_of,
    propose,
    report,
    reserve,
    run_trial,
    states_of,
    stored,
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


# --- after the lease

WRITES: dict[str, Callable[[Store, Claim], object]] = {
    "report": lambda store, lost: report(store, lost, 2, accuracy=0.99),
    "finish": finish,
    "finish with weights": lambda store, lost: finish(store, lost, weights=stored("weights")),
    "fail": lambda store, lost: finish(store, lost, TrialState.FAILED, reason=Reason.ERROR, error="broken"),
    "hand back": hand_back,
    "propose": lambda store, lost: propose(store, lost, 77),
    "attach": lambda store, lost: in_transaction(
        store, lambda session: trials.attach(session, lost, "weights", stored("weights"))
    ),
    "retry": lambda store, lost: in_transaction(
        store, lambda session: trials.retry(session, lost, Reason.ERROR, "broken")
    ),
    "succeed": lambda store, lost: in_transaction(
        store, lambda session: phases.succeed(session, lost, {}, stored("package"), digest(0))
    ),
    "drop": lambda store, lost: in_transaction(store, lambda session: phases.drop(session, lost, "exhausted")),
}


def in_transaction(store: Store, write: Callable[..., object]) -> object:
    with store.write() as session:
        return write(session)


def reaped(store: Store, lost: Claim) -> None:
    expire(store)
    assert trials.reap(store) == 1


def reaped_and_taken_by_another(store: Store, lost: Claim) -> None:
    reaped(store, lost)
    assert take(store, "bob").trial_id == lost.trial_id


def reaped_and_taken_again(store: Store, lost: Claim) -> None:
    reaped(store, lost)
    assert take(store, "ada").trial_id == lost.trial_id


def cancelled(store: Store, lost: Claim) -> None:
    in_transaction(store, lambda session: control.cancel(session, lost.job_id))


def handed_back(store: Store, lost: Claim) -> None:
    hand_back(store, lost)


def finished(store: Store, lost: Claim) -> None:
    finish(store, lost)


@pytest.mark.parametrize(
    "lose", [reaped, reaped_and_taken_by_another, reaped_and_taken_again, cancelled, handed_back, finished]
)
def test_a_worker_that_lost_its_lease_writes_nothing(store: Store, lose: Callable[[Store, Claim], None]) -> None:
    add_job(store)
    lost = take(store, "ada")
    propose(store, lost, 0)
    report(store, lost, 1)
    lose(store, lost)
    before = everything(store)
    for name, write in WRITES.items():
        with pytest.raises(
            LeaseLost, match=rf"^trial 0 of job {lost.job_id} is no longer this worker's \(attempt 1\)$"
        ):
            write(store, lost)
        assert everything(store) == before, name


def test_writes_that_meet_a_cancellation_wait_for_it_and_lose(store: Store) -> None:
    job_id = add_job(store, trials=len(WRITES))
    claims = {name: take(store, name) for name in WRITES}
    for claim_ in claims.values():
        report(store, claim_, 1)
    cancelling = threading.Event()

    def write(name: str) -> None:
        assert cancelling.wait(30)
        with suppress(LeaseLost):
            WRITES[name](store, claims[name])

    with ThreadPoolExecutor(len(WRITES)) as pool:
        written = [pool.submit(write, name) for name in WRITES]
        with store.write() as session:
            session.get_one(Job, job_id, with_for_update=True)
            cancelling.set()
            time.sleep(0.2)  # until they wait, each for what it wants
            control.cancel(session, job_id)
        for future in written:
            future.result()
    assert states_of(store, job_id) == [TrialState.CANCELLED] * len(WRITES)
    tallies, found = counted(store)
    assert tallies == found


def test_an_expired_lease_that_nobody_took_still_holds(store: Store) -> None:
    add_job(store)
    taken = take(store, "ada")
    propose(store, taken, 0)
    expire(store)
    report(store, taken, 1)
    assert trials.reap(store) == 0


def test_a_renewed_lease_is_a_whole_one(store: Store) -> None:
    add_job(store)
    taken = take(store)
    expire(store)
    with store.write() as session:
        assert trials.renew_all(session, [taken], 20.0) == {(taken.trial_id, taken.attempt)}
        until = now(session) + timedelta(seconds=20)
    found = trial_of(store, taken.trial_id).lease_until
    assert found is not None
    assert until - timedelta(seconds=5) < found <= until


def test_the_next_attempt_goes_on_after_the_last_epoch(store: Store) -> None:
    add_job(store)
    first = take(store, "ada")
    propose(store, first, 0)
    for number in (1, 2):
        report(store, first, number, accuracy=number / 10)
    reaped(store, first)
    second = claim(store, "bob")
    assert second is not None
    assert (second.trial_id, second.attempt, second.epoch) == (first.trial_id, 2, 2)
    assert second.candidate == candidate(0)
    with store.read() as session:
        assert files.artifact(session, second.trial_id, "checkpoint") == stored(f"{first.trial_id}.2").sha256
    assert trial_of(store, second.trial_id).started_at == trial_of(store, first.trial_id).started_at


def test_a_lease_that_has_not_run_out_is_not_reaped(store: Store) -> None:
    add_job(store)
    taken = take(store)
    before = everything(store)
    assert trials.reap(store) == 0
    assert everything(store) == before
    assert trial_of(store, taken.trial_id).state == TrialState.RUNNING


def test_reaping_requeues_only_what_has_expired(store: Store) -> None:
    job_id = add_job(store)
    first, second, third = take(store), take(store), take(store)
    expire(store, first.trial_id, third.trial_id)
    assert trials.reap(store) == 2
    assert states_of(store, job_id) == [TrialState.QUEUED, TrialState.RUNNING, TrialState.QUEUED]
    trial = trial_of(store, first.trial_id)
    assert (trial.owner, trial.lease_until, trial.losses) == (None, None, 1)
    assert trial_of(store, second.trial_id).losses == 0


def test_a_trial_that_is_lost_too_often_has_failed(store: Store) -> None:
    add_job(store)
    for _ in range(MAX_LOSSES):
        taken = take(store)
        reaped(store, taken)
    trial = trial_of(store, taken.trial_id)
    assert (trial.state, trial.reason, trial.attempt) == (TrialState.FAILED, Reason.LOST, MAX_LOSSES)
    assert trial.error == f"its worker vanished {MAX_LOSSES} times without finishing an epoch"
    assert trial.finished_at is not None
    assert claim(store) is None


def test_an_epoch_between_losses_starts_the_count_again(store: Store) -> None:
    add_job(store)
    taken = take(store)
    propose(store, taken, 0)
    for number in range(1, 2 * MAX_LOSSES):
        report(store, taken, number)
        assert trial_of(store, taken.trial_id).losses == 0
        reaped(store, taken)
        taken = take(store)
        assert trial_of(store, taken.trial_id).losses == 1
    assert taken.attempt == 2 * MAX_LOSSES


def test_threads_that_reap_at_once_count_a_loss_once(store: Store) -> None:
    add_job(store, trials=20)
    taken = [take(store) for _ in range(20)]
    expire(store)
    assert sum(together(THREADS, lambda _: trials.reap(store))) == 20
    assert Counter(trial_of(store, found.trial_id).losses for found in taken) == {1: 20}
    tallies, found_rows = counted(store)
    assert tallies == found_rows


def test_more_than_one_round_of_expired_leases_is_reaped(store: Store) -> None:
    job_id = add_job(store)
    add_queued(store, job_id, 101)
    with store.write() as session:
        while claim_in(session, "ada", LEASE_S) is not None:
            pass
    expire(store)
    assert (trials.reap(store), trials.reap(store)) == (100, 1)
    assert set(states_of(store, job_id)) == {TrialState.QUEUED}


def test_a_trial_that_is_handed_back_is_queued_and_nothing_is_counted_against_it(store: Store) -> None:
    add_job(store)
    for attempt in range(1, MAX_LOSSES + 3):
        taken = take(store)
        assert taken.attempt == attempt
        hand_back(store, taken)
        trial = trial_of(store, taken.trial_id)
        assert (trial.state, trial.owner, trial.lease_until) == (TrialState.QUEUED, None, None)
        assert (trial.losses, job_of(store, taken.job_id).failures_in_row) == (0, 0)


def test_a_retried_trial_is_queued_with_its_error_until_its_tries_are_used_up(store: Store) -> None:
    add_job(store)
    answers = []
    for attempt in range(1, MAX_LOSSES + 1):
        taken = take(store)
        with store.write() as session:
            answers.append(trials.retry(session, taken, Reason.ERROR, f"error {attempt}"))
        assert trial_of(store, taken.trial_id).error == f"error {attempt}"
    assert answers == [True] * (MAX_LOSSES - 1) + [False]
    assert trial_of(store, taken.trial_id).state == TrialState.RUNNING  # the caller ends it
    finish(store, taken, TrialState.FAILED, reason=Reason.ERROR, error="the last")
    assert trial_of(store, taken.trial_id).state == TrialState.FAILED


def test_a_trial_may_end_well_after_a_retry(store: Store) -> None:
    add_job(store)
    taken = take(store)
    with store.write() as session:
        trials.retry(session, taken, Reason.ERROR, "flaky")
    again = run_trial(store, accuracy=0.7)
    assert again.trial_id == taken.trial_id
    with store.read() as session:
        trial = session.get_one(Trial, taken.trial_id)
    assert (trial.state, trial.error, trial.accuracy) == (TrialState.COMPLETE, None, 0.7)
