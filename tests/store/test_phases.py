"""How a job is moved on from phase to phase, once whoever sees it, and how it ends."""

import pytest
from sqlalchemy import select
from sqlalchemy.exc import NoResultFound

from nas.spec import JobSpec
from nas.store import control, files, moves, phases
from nas.store.claims import Claim
from nas.store.phases import FinalTrial, NewTrial, Standstill
from nas.store.session import Store
from nas.store.states import JobState, Phase, Reason, TrialState
from nas.store.tables import Job, Trial
from tests.support import (
    add_job,
    add_queued,
    candidate,
    digest,
    everything,
    finish,
    job_of,
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


def standstill(store: Store) -> Standstill | None:
    with store.read() as session:
        return phases.standstill(session)


def seen_at_the_end(store: Store) -> Standstill:
    """The standstill of a job that is there."""
    seen = standstill(store)
    assert seen is not None
    return seen


def finalist(index: int, seed_index: int = 0) -> NewTrial:
    return NewTrial(Phase.FINALIST, 4, candidate(index), digest(index), seed_index, params=1000 + index, macs=2000)


def go_on(store: Store, seen: Standstill, *rows: NewTrial, note: str | None = None) -> bool:
    with store.write() as session:
        return phases.go_on(session, seen, rows, note)


def reporting(store: Store) -> Claim:
    """A job at its last trial, whose search had the candidates 0 and 1."""
    job_id = add_job(store, trials=2)
    for index in range(2):
        taken = take(store)
        propose(store, taken, index)
        report(store, taken, 1, accuracy=0.5 + index / 10)
        finish(store, taken)
    go_on(store, seen_at_the_end(store), NewTrial(Phase.REPORT, 0))
    found = take(store)
    assert (found.job_id, found.phase) == (job_id, Phase.REPORT)
    return found


# --- moved on


def test_a_search_with_trials_left_does_not_stand_still(store: Store) -> None:
    add_job(store, trials=2)
    assert standstill(store) is None  # queued
    first = take(store)
    assert standstill(store) is None  # running
    finish(store, first)
    assert standstill(store) is None  # one to go
    second = take(store)
    assert standstill(store) is None
    finish(store, second)
    assert seen_at_the_end(store).state == JobState.RUNNING


def test_a_search_at_its_end_is_seen_with_all_that_moving_on_needs(store: Store) -> None:
    job_id = add_job(store, trials=1)
    run_trial(store)
    job = job_of(store, job_id)
    assert standstill(store) == Standstill(
        job_id, JobState.RUNNING, 1, JobSpec.model_validate(job.spec), job.dataset_id, ()
    )


def test_the_oldest_job_that_stands_still_is_seen_first(store: Store) -> None:
    first, second = add_job(store, trials=1), add_job(store, trials=1)
    one, two = take(store), take(store)
    finish(store, two)
    assert seen_at_the_end(store).job_id == second
    finish(store, one)
    assert seen_at_the_end(store).job_id == first


def test_going_on_adds_the_next_phase(store: Store) -> None:
    job_id = add_job(store, trials=1)
    run_trial(store)
    assert go_on(store, seen_at_the_end(store), finalist(0), finalist(0, seed_index=1))
    assert job_of(store, job_id).state == JobState.FINALIZING
    assert standstill(store) is None
    first, second = take(store), take(store)
    assert [(new.number, new.phase, new.seed_index, new.epochs) for new in (first, second)] == [
        (1, Phase.FINALIST, 0, 4),
        (2, Phase.FINALIST, 1, 4),
    ]
    trial = trial_of(store, first.trial_id)
    assert (trial.candidate, trial.digest) == (candidate(0).to_json(), digest(0))
    assert (trial.params, trial.macs) == (1000, 2000)
    report(store, first, 1, accuracy=0.6)
    finish(store, first)
    assert standstill(store) is None
    finish(store, second, TrialState.FAILED, reason=Reason.ERROR, error="broken")
    seen = seen_at_the_end(store)
    assert (seen.state, seen.next_number) == (JobState.FINALIZING, 3)
    one, two = seen.finals
    assert one == FinalTrial(
        trial_id=first.trial_id,
        number=1,
        phase=Phase.FINALIST,
        state=TrialState.COMPLETE,
        candidate=candidate(0),
        digest=digest(0),
        seed_index=0,
        accuracy=0.6,
        params=1000,
        macs=2000,
        epochs=4,
    )
    assert (two.trial_id, two.number, two.seed_index) == (second.trial_id, 2, 1)
    assert (two.state, two.accuracy, two.error) == (TrialState.FAILED, None, "broken")


def all_go_on(store: Store, seen: Standstill, row: NewTrial) -> list[bool]:
    return sorted(together(8, lambda _: go_on(store, seen, row, note="seen")))


def test_threads_that_see_the_same_standstill_go_on_once(store: Store) -> None:
    job_id = add_job(store, trials=1)
    run_trial(store)
    for index in range(2):  # the first time out of the search, the second time from phase to phase
        assert all_go_on(store, seen_at_the_end(store), finalist(index)) == [False] * 7 + [True]
        assert states_of(store, job_id) == [TrialState.COMPLETE] * (index + 1) + [TrialState.QUEUED]
        run_trial(store)
    assert job_of(store, job_id).note == "seen; seen"


def test_threads_that_see_the_same_standstill_fail_the_job_once(store: Store) -> None:
    job_id = add_job(store, trials=1)
    run_trial(store)
    seen = seen_at_the_end(store)

    def fail(index: int) -> None:
        with store.write() as session:
            phases.fail(session, seen, f"reason {index}")

    together(8, fail)
    job = job_of(store, job_id)
    assert job.state == JobState.FAILED
    assert job.reason in {f"reason {index}" for index in range(8)}
    assert job.finished_at is not None


@pytest.mark.parametrize("move", ["go on", "cancel"])
def test_an_outdated_standstill_changes_nothing(store: Store, move: str) -> None:
    job_id = add_job(store, trials=1)
    run_trial(store)
    seen = seen_at_the_end(store)
    if move == "go on":
        go_on(store, seen, finalist(0))
    else:
        with store.write() as session:
            control.cancel(session, job_id)
    before = everything(store)
    assert not go_on(store, seen, finalist(1))
    with store.write() as session:
        phases.fail(session, seen, "too late")
    assert everything(store) == before


def test_notes_stand_one_after_the_other(store: Store) -> None:
    job_id = add_job(store, trials=2)
    run_trial(store)
    with store.write() as session:
        moves.close_search(moves.locked(session, job_id), "first", over=False)
    go_on(store, seen_at_the_end(store), finalist(0), note="second")
    assert job_of(store, job_id).note == "first; second"


# --- the end of the search


def test_a_closed_search_adds_no_more_trials_and_ends_with_those_that_run(store: Store) -> None:
    job_id = add_job(store, trials=10)
    run_trial(store)
    running = take(store)
    with store.write() as session:
        moves.close_search(moves.locked(session, job_id), "exhausted", over=False)
    job = job_of(store, job_id)
    assert (job.state, job.trials_planned, job.note) == (JobState.RUNNING, 2, "exhausted")
    assert reserve(store) is None
    assert standstill(store) is None
    finish(store, running)
    assert seen_at_the_end(store).job_id == job_id


def test_a_search_that_is_over_cannot_be_closed(store: Store) -> None:
    job_id = add_job(store, trials=1)
    run_trial(store)
    before = everything(store)
    with store.write() as session:
        moves.close_search(moves.locked(session, job_id), "too late", over=False)
    assert everything(store) == before
    go_on(store, seen_at_the_end(store), finalist(0))
    before = everything(store)
    with store.write() as session:
        moves.close_search(moves.locked(session, job_id), "too late", over=False)
    assert everything(store) == before


def test_a_number_without_a_candidate_is_given_up_and_ends_the_search(store: Store) -> None:
    job_id = add_job(store, trials=10)
    run_trial(store)
    running, empty = take(store), take(store)
    with store.write() as session:
        phases.drop(session, empty, "exhausted")
    trial = trial_of(store, empty.trial_id)
    assert (trial.state, trial.error) == (TrialState.CANCELLED, "exhausted")
    job = job_of(store, job_id)
    assert (job.state, job.trials_planned, job.note) == (JobState.RUNNING, 3, "exhausted")
    assert trial_of(store, running.trial_id).state == TrialState.RUNNING


def test_the_best_trials_are_those_with_the_highest_accuracy_and_the_lowest_number(store: Store) -> None:
    job_id = add_job(store, trials=20)
    accuracies = [0.3, 0.9, 0.5, 0.9, 0.1]
    taken = [run_trial(store, accuracy) for accuracy in accuracies]
    pruned = take(store)
    propose(store, pruned, 99)
    report(store, pruned, 1, accuracy=0.99)
    finish(store, pruned, TrialState.PRUNED, reason=Reason.RUNG)
    with store.read() as session:
        best = phases.best_searched(session, job_id, 3)
    assert [(found.number, found.accuracy) for found in best] == [(1, 0.9), (3, 0.9), (2, 0.5)]
    assert best[0].candidate == candidate(taken[1].trial_id)
    assert (best[0].phase, best[0].state) == (Phase.SEARCH, TrialState.COMPLETE)


def test_trials_that_were_stopped_early_are_the_best_where_none_came_to_its_end(store: Store) -> None:
    job_id = add_job(store, trials=20)
    for index, accuracy in enumerate((0.3, 0.8)):
        taken = take(store)
        propose(store, taken, index)
        report(store, taken, 1, accuracy=accuracy)
        finish(store, taken, TrialState.PRUNED, reason=Reason.RUNG)
    failed = take(store)
    propose(store, failed, 2)
    report(store, failed, 1, accuracy=0.9)
    finish(store, failed, TrialState.FAILED, reason=Reason.DIVERGED)
    with store.read() as session:
        assert [found.accuracy for found in phases.best_searched(session, job_id, 3)] == [0.8, 0.3]


def test_there_is_no_best_trial_without_an_accuracy(store: Store) -> None:
    job_id = add_job(store)
    taken = take(store)
    propose(store, taken, 0)
    finish(store, taken)
    add_queued(store, job_id, 1)
    run_trial(store, 0.9)
    with store.read() as session:
        assert phases.best_searched(session, job_id, 3) == []


# --- succeeded


def test_a_job_succeeds_with_its_verdict_its_package_and_its_winner(store: Store) -> None:
    final = reporting(store)
    assert job_of(store, final.job_id).best_trial == 1
    with store.write() as session:
        phases.succeed(session, final, {"margin": 0.1}, stored("package"), digest(0))
    job = job_of(store, final.job_id)
    assert (job.state, job.verdict, job.best_trial) == (JobState.SUCCEEDED, {"margin": 0.1}, 0)
    assert job.reason is None
    assert job.finished_at is not None
    with store.read() as session:
        assert files.package(session, final.job_id) == stored("package").sha256
    assert trial_of(store, final.trial_id).state == TrialState.COMPLETE
    assert standstill(store) is None


def test_a_winner_that_was_never_searched_is_no_success(store: Store) -> None:
    final = reporting(store)
    before = everything(store)
    with pytest.raises(NoResultFound), store.write() as session:
        phases.succeed(session, final, {}, stored("package"), digest(77))
    assert everything(store) == before


def test_a_failed_job_keeps_its_reason_and_its_finished_trials(store: Store) -> None:
    job_id = add_job(store, trials=2)
    done, running = run_trial(store), take(store)
    with store.write() as session:
        moves.fail(session, session.get_one(Job, job_id, with_for_update=True), "broken")
    job = job_of(store, job_id)
    assert (job.state, job.reason) == (JobState.FAILED, "broken")
    with store.read() as session:
        rows = session.execute(select(Trial.id, Trial.state).order_by(Trial.number)).all()
    assert [tuple(row) for row in rows] == [
        (done.trial_id, TrialState.COMPLETE),
        (running.trial_id, TrialState.CANCELLED),
    ]
