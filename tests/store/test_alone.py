"""Out of memory beside others: run again alone with the whole batch, and only then with half of it."""

from dataclasses import replace

import pytest

from nas.errors import LeaseLost
from nas.store import peaks, setbacks
from nas.store.claims import Claim
from nas.store.session import Store
from nas.store.setbacks import POLICIES
from nas.store.states import Phase, Reason, TrialState
from tests.support import add_job, candidate, claim, finish, propose, report, take, trial_of


def runs_out(store: Store, taken: Claim, *, shared: bool) -> None:
    with store.write() as session:
        setbacks.record(session, taken, Reason.OUT_OF_MEMORY, "CUDA out of memory", shared=shared)


def again(store: Store) -> Claim:
    found = claim(store)
    assert found is not None
    return found


@pytest.fixture
def taken(store: Store) -> Claim:
    add_job(store)
    found = take(store)
    propose(store, found, 0)
    assert not found.alone
    return found


def test_beside_others_it_is_run_again_alone_and_nothing_counts_against_it(store: Store, taken: Claim) -> None:
    report(store, taken, 1)
    runs_out(store, taken, shared=True)
    row = trial_of(store, taken.trial_id)
    assert (row.state, row.alone, row.halvings, row.losses) == (TrialState.QUEUED, True, 0, 0)
    assert row.error == "CUDA out of memory"
    second = again(store)
    assert (second.alone, second.halvings, second.attempt, second.epoch) == (True, 0, 2, 1)
    with store.read() as session:
        [setback] = setbacks.newest(session, taken.trial_id)
    assert (setback.reason, setback.again) == ("out_of_memory", True)


@pytest.mark.parametrize("shared", [True, False])
def test_alone_its_batch_is_halved_and_what_that_is_too_large_for_has_failed(
    store: Store, taken: Claim, shared: bool
) -> None:
    """Whoever else is said to have been there: it was run alone once, and there is no second time."""
    runs_out(store, taken, shared=True)
    runs_out(store, again(store), shared=shared)
    halved = again(store)
    assert (halved.alone, halved.halvings) == (True, 1)
    runs_out(store, halved, shared=shared)
    row = trial_of(store, taken.trial_id)
    assert (row.state, row.reason, row.halvings, row.attempt) == (TrialState.FAILED, "out_of_memory", 2, 3)


def test_with_the_device_to_itself_it_is_halved_at_once(store: Store, taken: Claim) -> None:
    runs_out(store, taken, shared=False)
    row = trial_of(store, taken.trial_id)
    assert (row.state, row.alone, row.halvings) == (TrialState.QUEUED, False, 1)


def test_no_other_reason_sets_a_trial_apart(store: Store) -> None:
    assert [reason for reason, policy in POLICIES.items() if policy.alone_first] == [Reason.OUT_OF_MEMORY]
    add_job(store)
    taken = take(store)
    with store.write() as session:
        setbacks.record(session, taken, Reason.ERROR, "broken", shared=True)
    assert not trial_of(store, taken.trial_id).alone


def test_who_lost_the_trial_sets_it_not_apart(store: Store, taken: Claim) -> None:
    with pytest.raises(LeaseLost):
        runs_out(store, replace(taken, attempt=7), shared=True)
    assert not trial_of(store, taken.trial_id).alone


def test_what_was_measured_stands_in_the_row_and_is_found_for_devices_of_its_kind(store: Store) -> None:
    add_job(store)
    ended = []
    for index, (state, peak_bytes) in enumerate(
        [(TrialState.COMPLETE, 7_000_000_000), (TrialState.FAILED, 5), (TrialState.COMPLETE, None)]
    ):
        ended.append(take(store))
        propose(store, ended[-1], index)
        finish(store, ended[-1], state, peak_bytes=peak_bytes)
    assert [trial_of(store, each.trial_id).peak_bytes for each in ended] == [7_000_000_000, 5, None]
    with store.read() as session:
        found = peaks.measured(session, "cpu")
        assert peaks.measured(session, "cuda") == []
        assert len(peaks.measured(session, "cpu", limit=1)) == 0  # the newest one was not measured
    assert [each.peak_bytes for each in found] == [5, 7_000_000_000]
    assert found[1].candidate == candidate(0).to_json()
    assert (found[0].epochs, found[0].halvings) == (ended[1].epochs, 0)
    assert ended[0].phase == Phase.SEARCH
