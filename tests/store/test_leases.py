"""Leases: what a worker can do after its own has run out, and how lost trials are taken up again."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import pytest

from nas.errors import LeaseLost
from nas.store import control, files, trials
from nas.store.claims import Claim
from nas.store.session import Store, now
from nas.store.states import Reason, TrialState
from nas.store.tables import Job, Trial
from nas.store.trials import MAX_LOSSES
from tests.store.losing import (
    WRITES,
    cancelled,
    finished,
    handed_back,
    reaped,
    reaped_and_taken_again,
    reaped_and_taken_by_another,
)
from tests.support import (
    LEASE_S,
    add_job,
    add_queued,
    candidate,
    claim,
    claim_in,
    counted,
    everything,
    expire,
    finish,
    hand_back,
    job_of,
    propose,
    report,
    run_trial,
    states_of,
    stored,
    take,
    together,
    trial_of,
)

THREADS = 8


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
