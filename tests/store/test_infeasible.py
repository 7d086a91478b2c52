"""Networks that break a job's limits: recorded, replaced in the budget up to a bound, and named in the end."""

import pytest

from nas.store import phases
from nas.store.claims import Claim
from nas.store.moves import INFEASIBLE_SHARE
from nas.store.session import Store
from nas.store.states import JobState, Phase, Reason, TrialState
from tests.support import (
    add_job,
    counted,
    finish,
    job_of,
    propose,
    reserve,
    run_trial,
    states_of,
    take,
    trial_of,
)


def refuse(store: Store, error: str = "max_params is 10; this network has 11") -> Claim:
    """Reserves a trial whose network breaks a limit."""
    taken = take(store)
    propose(store, taken, taken.trial_id)
    finish(store, taken, TrialState.INFEASIBLE, reason=Reason.INFEASIBLE, error=error)
    return taken


def last_refused(store: Store, job_id: str) -> str | None:
    with store.read() as session:
        return phases.refused(session, job_id)


def test_a_network_that_breaks_a_limit_takes_nothing_of_the_budget(store: Store) -> None:
    job_id = add_job(store, trials=3)
    refused = refuse(store)
    trial, job = trial_of(store, refused.trial_id), job_of(store, job_id)
    assert (trial.state, trial.reason, trial.error) == (
        TrialState.INFEASIBLE,
        Reason.INFEASIBLE,
        "max_params is 10; this network has 11",
    )
    assert (trial.epoch, trial.accuracy, trial.lease_until) == (0, None, None)
    assert trial.finished_at is not None
    assert (job.trials_planned, job.failures_in_row, job.note, job.best_trial) == (4, 0, None, None)
    for _ in range(3):
        run_trial(store)
    assert reserve(store) is None
    assert states_of(store, job_id) == [TrialState.INFEASIBLE] + [TrialState.COMPLETE] * 3


@pytest.mark.parametrize("trials", [1, 3])
def test_so_many_are_replaced_for_each_trial_asked_and_then_the_job_says_so(store: Store, trials: int) -> None:
    bound = INFEASIBLE_SHARE * trials
    job_id = add_job(store, trials=trials)
    for number in range(1, bound + 1):
        refuse(store)
        assert (job_of(store, job_id).trials_planned, job_of(store, job_id).note) == (trials + number, None)
    for more in range(1, trials + 1):
        refuse(store)
        job = job_of(store, job_id)
        assert job.trials_planned == trials + bound
        assert job.note == (
            f"{bound + more} networks broke the job's limits and were not trained; widen the limits or the space"
        )
    assert reserve(store) is None
    with store.read() as session:
        seen = phases.standstill(session)
    assert seen is not None
    assert (seen.job_id, seen.next_number) == (job_id, trials + bound)
    tallies, found = counted(store)
    assert tallies == found
    assert tallies[job_id, Phase.SEARCH, TrialState.INFEASIBLE] == trials + bound


def test_what_was_asked_counts_and_not_what_was_replaced(store: Store) -> None:
    """Otherwise the bound would grow with each network that breaks a limit, and the search never end."""
    job_id = add_job(store, trials=2)
    for _ in range(100):
        taken = reserve(store)
        if taken is None:
            break
        finish(store, taken, TrialState.INFEASIBLE, reason=Reason.INFEASIBLE, error="too large")
    assert len(states_of(store, job_id)) == (INFEASIBLE_SHARE + 1) * 2


def test_the_last_network_that_broke_a_limit_says_which(store: Store) -> None:
    job_id = add_job(store, trials=3)
    assert last_refused(store, job_id) is None
    run_trial(store)
    assert last_refused(store, job_id) is None
    refuse(store, "first")
    refuse(store, "last")
    other = add_job(store)
    assert (last_refused(store, job_id), last_refused(store, other)) == ("last", None)


def test_an_infeasible_trial_is_none_of_the_best(store: Store) -> None:
    job_id = add_job(store, trials=2)
    refuse(store)
    best = run_trial(store, 0.4)
    with store.read() as session:
        assert [found.number for found in phases.best_searched(session, job_id, 5)] == [best.number]


def test_failures_before_it_are_no_longer_in_a_row(store: Store) -> None:
    job_id = add_job(store, trials=9)
    for _ in range(2):
        finish(store, take(store), TrialState.FAILED, reason=Reason.ERROR, error="broken")
    refuse(store)
    for _ in range(2):
        finish(store, take(store), TrialState.FAILED, reason=Reason.ERROR, error="broken")
    assert job_of(store, job_id).state == JobState.RUNNING
