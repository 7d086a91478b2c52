"""Trials that wait at rungs: paused, promoted, and ended with the search."""

import pytest

from nas.errors import LeaseLost
from nas.search.pruning import make_pruner
from nas.spec import JobSpec
from nas.store import control, phases, trials
from nas.store.claims import Claim, Rungs
from nas.store.history import Replay
from nas.store.session import Store
from nas.store.states import JobState, Phase, Reason, TrialState
from tests.support import (
    LEASE_S,
    add_job,
    claim_in,
    counted,
    expire,
    finish,
    hand_back,
    job_of,
    promote_in,
    propose,
    report,
    rungs_in,
    states_of,
    take,
    together,
    trial_of,
)

HALVING = {"method": "halving", "eta": 2, "first": 2}
"""With eight epochs: rungs after 2 and 4."""


def rungs(store: Store) -> list[Rungs]:
    with store.read() as session:
        return rungs_in(session)


def promote(store: Store, index: int, worker: str = "worker") -> Claim | None:
    [seen] = rungs(store)
    with store.write() as session:
        return promote_in(session, seen, index, worker)


def pause(store: Store, claim: Claim) -> None:
    with store.write() as session:
        trials.pause(session, claim)


def spec_of(store: Store, job_id: str) -> JobSpec:
    return JobSpec.model_validate(job_of(store, job_id).spec)


def to_a_rung(store: Store, accuracy: float = 0.5) -> Claim:
    """A new trial that comes to its first rung and waits there."""
    taken = take(store)
    propose(store, taken, taken.trial_id)
    for number in range(1, taken.stage + 1):
        report(store, taken, number, accuracy)
    pause(store, taken)
    return taken


def test_a_new_trial_has_the_first_rung_as_its_aim(store: Store) -> None:
    add_job(store, epochs=8, pruning=HALVING)
    assert [take(store).stage for _ in range(2)] == [2, 2]


def test_what_a_trial_scored_at_its_rungs_is_kept(store: Store) -> None:
    add_job(store, epochs=8, pruning=HALVING)
    taken = to_a_rung(store, 0.25)
    assert trial_of(store, taken.trial_id).rungs == [[2, 0.25]]
    again = promote(store, 0)
    assert again is not None
    report(store, again, 3, 0.5)
    report(store, again, 4, 0.75)
    assert trial_of(store, taken.trial_id).rungs == [[2, 0.25], [4, 0.75]]


def test_a_paused_trial_is_nobodys_and_is_not_claimed(store: Store) -> None:
    job_id = add_job(store, trials=1, epochs=8, pruning=HALVING)
    taken = to_a_rung(store)
    trial = trial_of(store, taken.trial_id)
    assert (trial.state, trial.owner, trial.lease_until) == (TrialState.PAUSED, None, None)
    with store.write() as session:
        assert claim_in(session, "other", LEASE_S) is None
    expire(store)
    assert trials.reap(store) == 0
    assert states_of(store, job_id) == [TrialState.PAUSED]


def test_a_promoted_trial_goes_on_from_where_it_stood(store: Store) -> None:
    add_job(store, epochs=8, pruning=HALVING)
    taken = to_a_rung(store)
    again = promote(store, 0)
    assert again is not None
    assert (again.trial_id, again.epoch, again.stage, again.epochs) == (taken.trial_id, 2, 4, 8)
    assert again.attempt == taken.attempt + 1
    with pytest.raises(LeaseLost):  # whoever paused it has nothing to say any more
        report(store, taken, 3)


def test_of_two_that_promote_one_gets_the_trial(store: Store) -> None:
    add_job(store, epochs=8, pruning=HALVING)
    to_a_rung(store)
    [seen] = rungs(store)

    def work(index: int) -> Claim | None:
        with store.write() as session:
            return promote_in(session, seen, 0, f"worker {index}")

    assert sorted(found is None for found in together(4, work)) == [False, True, True, True]


def test_a_trial_that_was_lost_between_its_rung_and_its_pause_is_still_to_be_decided(store: Store) -> None:
    add_job(store, epochs=8, pruning=HALVING)
    taken = take(store)
    propose(store, taken, 1)
    report(store, taken, 1)
    report(store, taken, 2)
    expire(store)
    trials.reap(store)
    again = take(store)
    assert (again.trial_id, again.epoch, again.stage) == (taken.trial_id, 2, 2)


def test_a_trial_that_is_handed_back_keeps_its_stage(store: Store) -> None:
    add_job(store, epochs=8, pruning=HALVING)
    to_a_rung(store)
    again = promote(store, 0)
    assert again is not None
    report(store, again, 3)
    hand_back(store, again)
    third = take(store)
    assert (third.trial_id, third.epoch, third.stage) == (again.trial_id, 3, 4)


def test_a_trial_goes_on_without_a_pause_where_its_pruner_says_so(store: Store) -> None:
    add_job(store, epochs=8, pruning=HALVING)
    taken = take(store)
    propose(store, taken, 1)
    report(store, taken, 1)
    report(store, taken, 2)
    with store.write() as session:
        trials.advance_stage(session, taken, 4)
    hand_back(store, taken)
    assert take(store).stage == 4


def test_tallies_count_paused_trials(store: Store) -> None:
    add_job(store, epochs=8, pruning=HALVING)
    for _ in range(3):
        to_a_rung(store)
    promote(store, 1)
    tallies, found = counted(store)
    assert tallies == found


def test_closing_means_that_nothing_runs_and_nothing_is_added(store: Store) -> None:
    add_job(store, trials=2, epochs=8, pruning=HALVING)
    to_a_rung(store)
    assert [seen.closing for seen in rungs(store)] == [False]  # a second trial may be added
    second = take(store)
    assert [seen.closing for seen in rungs(store)] == [False]  # it is running
    finish(store, second, TrialState.FAILED, reason=Reason.DIVERGED)
    assert [seen.closing for seen in rungs(store)] == [True]


def test_parallelism_holds_for_promotions(store: Store) -> None:
    add_job(store, epochs=8, parallel=2, pruning=HALVING)
    to_a_rung(store)
    take(store)
    take(store)
    assert rungs(store) == []


def test_a_job_with_paused_trials_only_is_at_a_standstill_when_none_is_added(store: Store) -> None:
    job_id = add_job(store, trials=1, epochs=8, pruning=HALVING)
    to_a_rung(store)
    with store.read() as session:
        seen = phases.standstill(session)
    assert seen is not None
    assert seen.job_id == job_id


def test_a_standstill_is_over_when_a_trial_was_promoted_meanwhile(store: Store) -> None:
    job_id = add_job(store, trials=1, epochs=8, pruning=HALVING)
    to_a_rung(store)
    with store.read() as session:
        seen = phases.standstill(session)
    assert seen is not None
    assert promote(store, 0) is not None
    with store.write() as session:
        assert not phases.go_on(session, seen, [])
        phases.fail(session, seen, "nothing came to an end")
    assert job_of(store, job_id).state == JobState.RUNNING


def test_paused_trials_end_when_the_search_is_over_and_leave_no_checkpoint(store: Store) -> None:
    job_id = add_job(store, trials=2, epochs=8, pruning=HALVING)
    first, second = to_a_rung(store), to_a_rung(store)
    with store.write() as session:
        assert phases.end_paused(session, job_id) == []  # the search is not over
    with store.read() as session:
        assert phases.leftover(session) is None
    with store.write() as session:
        seen = phases.standstill(session)
        assert seen is not None
        phases.go_on(session, seen, [phases.NewTrial(Phase.REPORT, 0)])
    with store.read() as session:
        assert phases.leftover(session) == job_id
    with store.write() as session:
        left = phases.end_paused(session, job_id)
    assert len(set(left)) == 2
    assert states_of(store, job_id)[:2] == [TrialState.PRUNED] * 2
    assert {trial_of(store, one.trial_id).reason for one in (first, second)} == {Reason.RUNG}
    with store.read() as session:
        assert phases.leftover(session) is None


def test_cancelling_a_job_cancels_its_paused_trials(store: Store) -> None:
    job_id = add_job(store, epochs=8, pruning=HALVING)
    to_a_rung(store)
    with store.write() as session:
        control.cancel(session, job_id)
    assert states_of(store, job_id) == [TrialState.CANCELLED]
    assert rungs(store) == []


def test_the_history_shows_what_pruning_and_strategies_need(store: Store) -> None:
    job_id = add_job(store, epochs=8, pruning=HALVING)
    replay = Replay(spec_of(store, job_id))
    to_a_rung(store, 0.25)
    to_a_rung(store, 0.5)

    def history() -> list[tuple[bool, bool, int, float | None, tuple[tuple[int, float], ...]]]:
        with store.read() as session:
            found = replay.read(session, job_id)
        return [(one.paused, one.finished, one.epoch, one.score, one.rungs) for one in found]

    assert history() == [(True, False, 2, 0.25, ((2, 0.25),)), (True, False, 2, 0.5, ((2, 0.5),))]
    again = promote(store, 1)
    assert again is not None
    assert history()[1] == (False, False, 2, 0.5, ((2, 0.5),))
    report(store, again, 3, 0.375)
    assert history()[1] == (False, False, 3, 0.375, ((2, 0.5),))
    report(store, again, 4, 0.75)
    pause(store, again)
    assert history()[1] == (True, False, 4, 0.75, ((2, 0.5), (4, 0.75)))
    finish_it = promote(store, 1)
    assert finish_it is not None
    finish(store, finish_it, TrialState.FAILED, reason=Reason.DIVERGED)
    assert history()[1] == (False, True, 4, None, ((2, 0.5), (4, 0.75)))


def test_a_kept_history_is_what_a_new_one_reads(store: Store) -> None:
    job_id = add_job(store, trials=40, epochs=8, pruning=HALVING)
    spec = spec_of(store, job_id)
    kept, pruner = Replay(spec), make_pruner(spec.pruning)
    for number in range(12):
        to_a_rung(store, number / 12)
        with store.read() as session:
            history = kept.read(session, job_id)
            assert history == Replay(spec).read(session, job_id)
        index = pruner.promote(history, 8, closing=False)
        if index is not None:
            again = promote(store, index)
            assert again is not None
            for epoch in range(again.epoch + 1, again.stage + 1):
                report(store, again, epoch, index / 12)
            if again.stage == 8:
                finish(store, again)
            else:
                pause(store, again)
