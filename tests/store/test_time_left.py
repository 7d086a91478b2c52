"""How far a job is, and how long it will still take."""

import pytest

from nas.store import control, trials, workers
from nas.store.phases import NewTrial
from nas.store.progress import UNKNOWN_SHARE
from nas.store.session import Store
from nas.store.states import Phase, Reason, TrialState
from tests.store.looks import EPOCHS, FINAL_EPOCHS, TRIALS, finished, left_epochs, register, show
from tests.store.steering import go_on
from tests.support import (
    LEASE_S,
    add_job,
    age,
    candidate,
    digest,
    finish,
    propose,
    report,
    reserve_in,
    run_trial,
    take,
)


def test_the_fraction_and_the_time_left_follow_from_the_epochs(store: Store) -> None:
    job_id = add_job(store)
    register(store, "ada", "bob")
    first = take(store)
    report(store, first, 1)  # an epoch takes 2 seconds
    left = EPOCHS * TRIALS - 1 + FINAL_EPOCHS
    shown = show(store, job_id).progress
    assert shown.fraction == pytest.approx(1 / (1 + left))
    assert shown.eta_s == pytest.approx(left * 2.0 / 2)  # two workers share it

    report(store, first, 2)
    finish(store, first, TrialState.PRUNED, reason=Reason.RUNG)
    second = take(store)
    for number in (1, 2):
        report(store, second, number)
    finish(store, second, TrialState.PRUNED, reason=Reason.RUNG)
    left = 2 * TRIALS - 4 + FINAL_EPOCHS  # a trial takes two epochs, as those that have ended did
    shown = show(store, job_id).progress
    assert shown.fraction == pytest.approx(4 / (4 + left))
    assert shown.eta_s == pytest.approx(left * 2.0 / 2)


def test_no_more_workers_than_the_job_allows_share_what_is_left(store: Store) -> None:
    job_id = add_job(store, parallel=2)
    register(store, "ada", "bob", "eve", "joe")
    report(store, take(store), 1)
    shown = show(store, job_id).progress
    left = EPOCHS * TRIALS - 1 + FINAL_EPOCHS
    assert shown.eta_s == pytest.approx(left * 2.0 / 2)


def test_there_is_no_time_left_to_tell_without_a_worker_or_an_epoch(store: Store) -> None:
    job_id = add_job(store)
    taken = take(store)
    register(store, "ada")
    assert show(store, job_id).progress.eta_s is None
    report(store, taken, 1)
    assert show(store, job_id).progress.eta_s is not None
    with store.write() as session:
        workers.unregister(session, "ada")
    assert show(store, job_id).progress.eta_s is None


def test_a_trial_is_expected_to_train_as_long_as_its_pruning_lets_it(store: Store) -> None:
    """27 epochs: rungs at 3 and 9, which a third of the trials leave; by the median rule what is not known yet."""
    for pruning, each in (("none", 27.0), ("median", 27 * UNKNOWN_SHARE), ("halving", 3 + 6 / 3 + 18 / 9)):
        job_id = add_job(store, epochs=27, pruning=pruning)
        first = take(store)
        assert first.job_id == job_id
        report(store, first, 1)
        assert left_epochs(store, job_id) == pytest.approx(TRIALS * each - 1 + FINAL_EPOCHS)
        with store.write() as session:
            control.cancel(session, job_id)


def test_paused_trials_are_neither_finished_nor_at_work(store: Store) -> None:
    job_id = add_job(store, epochs=27, trials=3, pruning="halving")
    for number in range(3):
        taken = take(store)
        propose(store, taken, number)
        for epoch in (1, 2, 3):
            report(store, taken, epoch)
        with store.write() as session:
            trials.pause(session, taken)
    shown = show(store, job_id)
    assert {state: count for state, count in shown.rows.counts.items() if count} == {"paused": 3}
    assert (finished(shown)["search"], shown.progress.trials_finished) == (0, 0)
    assert (shown.rows.phase, shown.rows.running) == ("search", [])
    assert left_epochs(store, job_id) == pytest.approx(3 * 7 - 9 + FINAL_EPOCHS)


def test_what_running_trials_have_begun_is_left_at_the_least(store: Store) -> None:
    job_id = add_job(store, epochs=27, trials=1, pruning="halving")
    taken = take(store)
    propose(store, taken, 0)
    for epoch in (1, 2, 3):
        report(store, taken, epoch)
    with store.write() as session:
        trials.advance_stage(session, taken, 27)
    for epoch in range(4, 11):
        report(store, taken, epoch)
    assert left_epochs(store, job_id) == pytest.approx(17 + FINAL_EPOCHS)  # 10 are done, and 7 were expected


def test_networks_that_break_a_limit_are_expected_to_cost_nothing(store: Store) -> None:
    job_id = add_job(store)
    for number in range(5):
        with store.write() as session:
            taken = reserve_in(session, "worker", LEASE_S)
            assert taken is not None
            costs = trials.Costs(1, 1)
            trials.refuse(session, taken, candidate(number), digest(number), costs, "too large")
    report(store, take(store), 1)
    assert left_epochs(store, job_id) == pytest.approx(TRIALS * EPOCHS - 1 + FINAL_EPOCHS)
    assert show(store, job_id).progress.trials_planned == TRIALS + 5


def test_a_budget_of_epochs_bounds_what_is_left_of_a_search_without_end(store: Store) -> None:
    job_id = add_job(store, trials=100_000, total_epochs=20)
    register(store, "ada")
    run_trial(store)
    assert left_epochs(store, job_id) == pytest.approx(20 - 3 + FINAL_EPOCHS)
    assert show(store, job_id).progress.eta_s == pytest.approx((20 - 3 + FINAL_EPOCHS) * 2.0)


def test_a_budget_of_seconds_is_what_the_fraction_follows(store: Store) -> None:
    job_id = add_job(store, trials=100_000, seconds=60)
    register(store, "ada")
    assert (show(store, job_id).progress.fraction, show(store, job_id).progress.eta_s) == (0.0, None)
    taken = take(store)
    for aged, reported in ((15, True), (20, False)):
        age(store, job_id, aged)
        shown = show(store, job_id).progress
        assert shown.eta_s == pytest.approx(60 - shown.elapsed_s)  # the job ends then, whatever has been trained
        assert shown.fraction == pytest.approx(shown.elapsed_s / 60)
        if reported:
            report(store, taken, 1)
    age(store, job_id, 60)
    assert show(store, job_id).progress.fraction == 0.999
    with store.write() as session:
        workers.unregister(session, "ada")
    assert show(store, job_id).progress.eta_s is None


def test_a_search_that_needs_less_than_its_seconds_ends_before_them(store: Store) -> None:
    job_id = add_job(store, trials=2, seconds=3600)
    register(store, "ada")
    report(store, take(store), 1)
    age(store, job_id, 2)
    shown = show(store, job_id).progress
    assert shown.eta_s == pytest.approx((2 * EPOCHS - 1 + FINAL_EPOCHS) * 2.0)
    assert shown.eta_s is not None
    assert shown.fraction == pytest.approx(shown.elapsed_s / (shown.elapsed_s + shown.eta_s))


def test_a_search_that_is_over_has_nothing_left(store: Store) -> None:
    job_id = add_job(store, target=0.5)
    first, _ = take(store), take(store)  # the second one runs still, and stops within seconds
    propose(store, first, 0)
    report(store, first, 1, accuracy=0.6)
    finish(store, first)
    assert left_epochs(store, job_id) == pytest.approx(FINAL_EPOCHS)
    assert show(store, job_id).progress.trials_planned == 2


def test_retrainings_are_counted_as_they_are_once_there_are_some(store: Store) -> None:
    """One finalist instead of two, three seeds, two epochs; the controls and the reference will be like it."""
    job_id = add_job(store, trials=1, epochs=2, finalists=1)
    run_trial(store, epochs=2)
    go_on(store, *(NewTrial(Phase.FINALIST, 2, candidate(1), digest(1), seed) for seed in range(3)))
    shown = show(store, job_id)
    planned = {phase: of["planned"] for phase, of in shown.rows.phases.items() if of["planned"]}
    assert planned == {"search": 1, "finalist": 3, "control": 6, "reference": 3, "report": 1}
    assert left_epochs(store, job_id) == pytest.approx((3 + 6 + 3) * 2)
    for _ in range(3):
        run_trial(store, epochs=2)
    go_on(store, NewTrial(Phase.CONTROL, 2, candidate(2), digest(2)), NewTrial(Phase.REFERENCE, 2, candidate(3), "r"))
    assert left_epochs(store, job_id) == pytest.approx(2 * 2)
