"""Networks that a user wants to take home: asked for once, trained whatever becomes of the job, and found again."""

import pytest

from nas.errors import IllegalTransition, NotFound, NotReady
from nas.store import control, moves, phases, retrains, trials
from nas.store.claims import Claim
from nas.store.phases import NewTrial
from nas.store.retrains import FIRST_NUMBER
from nas.store.session import Store
from nas.store.states import JobState, Phase, Reason, TrialState
from nas.store.tables import Job, Trial
from tests.support import (
    LEASE_S,
    add_job,
    add_queued,
    candidate,
    claim,
    counted,
    digest,
    expire,
    finish,
    job_of,
    propose,
    report,
    reserve,
    run_trial,
    stored,
    take,
    together,
    trial_of,
)


def ask(store: Store, job_id: str, number: int) -> Trial:
    with store.write() as session:
        return retrains.ask(session, job_id, number)


def package(store: Store, job_id: str, number: int) -> str:
    with store.read() as session:
        return retrains.package(session, job_id, number)


def retrain(store: Store, word: str = "package") -> Claim:
    """Takes the retraining that is queued, and ends it with a package."""
    taken = claim(store)
    assert taken is not None
    assert taken.phase == Phase.RETRAIN
    report(store, taken, 1)
    with store.write() as session:
        trials.attach(session, taken, "package", stored(word))
        trials.finish(session, taken, TrialState.COMPLETE)
    return taken


def succeed(store: Store, winner: str) -> None:
    with store.read() as session:
        seen = phases.standstill(session)
    assert seen is not None
    with store.write() as session:
        phases.go_on(session, seen, [NewTrial(Phase.REPORT, 0)])
    final = take(store)
    with store.write() as session:
        phases.succeed(session, final, {}, stored("package of the job"), winner)


# --- asking


def test_a_retraining_is_the_same_network_trained_as_finalists_are(store: Store) -> None:
    job_id = add_job(store)
    searched = trial_of(store, run_trial(store).trial_id)
    asked = ask(store, job_id, 0)
    assert (asked.phase, asked.state, asked.number) == (Phase.RETRAIN, TrialState.QUEUED, FIRST_NUMBER)
    assert (asked.candidate, asked.digest) == (searched.candidate, searched.digest)
    assert (asked.params, asked.macs) == (searched.params, searched.macs)
    assert (asked.epochs, asked.seed_index) == (4, 0)  # final.epochs of support.add_job
    tallies, found = counted(store)
    assert tallies == found


def test_asking_twice_is_asking_once(store: Store) -> None:
    job_id = add_job(store)
    run_trial(store)
    first = ask(store, job_id, 0)
    assert ask(store, job_id, 0).id == first.id
    taken = claim(store)
    assert taken is not None
    assert ask(store, job_id, 0).state == TrialState.RUNNING
    finish(store, taken)
    again = ask(store, job_id, 0)
    assert (again.id, again.state) == (first.id, TrialState.COMPLETE)


def test_many_who_ask_at_once_get_one_retraining(store: Store) -> None:
    job_id = add_job(store)
    run_trial(store)
    numbers = together(6, lambda _: ask(store, job_id, 0).number)
    assert numbers == [FIRST_NUMBER] * 6


@pytest.mark.parametrize("end", [TrialState.FAILED, TrialState.CANCELLED])
def test_one_that_came_to_nothing_is_tried_again_with_another_seed(store: Store, end: TrialState) -> None:
    job_id = add_job(store)
    run_trial(store)
    first = ask(store, job_id, 0)
    taken = claim(store)
    assert taken is not None
    finish(store, taken, end, reason=Reason.DIVERGED, error="the loss became nan in epoch 1")
    second = ask(store, job_id, 0)
    assert (second.number, second.seed_index, second.state) == (first.number + 1, 1, TrialState.QUEUED)
    assert ask(store, job_id, 0).id == second.id


def test_the_search_does_not_notice(store: Store) -> None:
    job_id = add_job(store, trials=3)
    run_trial(store)
    run_trial(store)
    before = job_of(store, job_id)
    for number in (0, 1):
        ask(store, job_id, number)
    after = job_of(store, job_id)
    assert (after.next_number, after.trials_planned) == (before.next_number, before.trials_planned)
    for _ in range(2):
        taken = claim(store)
        assert taken is not None
        finish(store, taken, TrialState.FAILED, reason=Reason.ERROR, error="broken")
    last = reserve(store)
    assert last is not None
    assert (last.number, last.index) == (2, 2)
    assert reserve(store) is None
    assert job_of(store, job_id).failures_in_row == 0
    assert job_of(store, job_id).final_epochs == 0


@pytest.mark.parametrize("end", ["running", "failed", "cancelled", "succeeded"])
def test_a_job_in_any_state_has_its_networks_retrained(store: Store, end: str) -> None:
    job_id = add_job(store, trials=2)
    run_trial(store, accuracy=0.5)
    second = run_trial(store, accuracy=0.7)
    with store.write() as session:
        if end == "failed":
            moves.fail(session, session.get_one(Job, job_id), "broken")
        elif end == "cancelled":
            control.cancel(session, job_id)
    if end == "succeeded":
        succeed(store, digest(second.trial_id))
    before = job_of(store, job_id)
    assert before.state == end
    number = ask(store, job_id, 0).number
    taken = retrain(store)
    assert (taken.number, taken.job_id) == (number, job_id)
    after = job_of(store, job_id)
    assert (after.state, after.best_trial, after.best_accuracy) == (
        before.state,
        before.best_trial,
        before.best_accuracy,
    )
    assert package(store, job_id, 0) == stored("package").sha256


def test_a_retraining_whose_worker_vanishes_is_taken_by_another_one(store: Store) -> None:
    job_id = add_job(store)
    run_trial(store)
    with store.write() as session:
        control.cancel(session, job_id)
    ask(store, job_id, 0)
    lost = claim(store, "ada")
    assert lost is not None
    expire(store)
    assert trials.reap(store) == 1
    again = claim(store, "bob")
    assert again is not None
    assert (again.trial_id, again.attempt) == (lost.trial_id, 2)


def test_a_job_does_not_wait_for_a_retraining(store: Store) -> None:
    job_id = add_job(store, trials=1)
    run_trial(store)
    ask(store, job_id, 0)
    with store.read() as session:
        seen = phases.standstill(session)
    assert seen is not None
    assert seen.job_id == job_id
    assert seen.finals == ()


def test_a_trial_without_a_candidate_is_not_ready_for_it(store: Store) -> None:
    job_id = add_job(store)
    taken = take(store)
    with pytest.raises(NotReady, match=f"trial 0 of job {job_id} has no candidate yet; ask again in a moment"):
        ask(store, job_id, 0)
    propose(store, taken, 0)
    assert ask(store, job_id, 0).digest == digest(0)


def test_what_has_no_network_to_train_cannot_be_retrained(store: Store) -> None:
    job_id = add_job(store)
    refused = take(store)
    with store.write() as session:
        trials.refuse(session, refused, candidate(0), digest(0), trials.Costs(1, 1), "too large")
    finish(store, take(store), TrialState.FAILED, reason=Reason.ERROR)
    add_queued(store, job_id, 1)
    for number, words in ((0, "infeasible"), (1, "failed"), (2, "of the phase finalist")):
        with pytest.raises(IllegalTransition, match=f"trial {number} of job {job_id} is {words}; it cannot become"):
            ask(store, job_id, number)
        with pytest.raises(NotReady, match=f"trial {number} of job {job_id} has no model yet: it is {words}, and will"):
            package(store, job_id, number)
    tallies, _ = counted(store)
    assert not any(phase == Phase.RETRAIN for _, phase, _ in tallies)


def test_what_is_not_there_is_not_found(store: Store) -> None:
    job_id = add_job(store)
    for call in (ask, package):
        with pytest.raises(NotFound, match="there is no job 'nope'"):
            call(store, "nope", 0)
        with pytest.raises(NotFound, match=f"job {job_id} has no trial 7"):
            call(store, job_id, 7)


# --- taking it home


def test_a_package_is_found_by_either_number(store: Store) -> None:
    job_id = add_job(store)
    for _ in range(2):
        run_trial(store)
    asked = [ask(store, job_id, number).number for number in (1, 0)]
    for word in ("of 1", "of 0"):
        retrain(store, word)
    assert package(store, job_id, 1) == package(store, job_id, asked[0]) == stored("of 1").sha256
    assert package(store, job_id, 0) == package(store, job_id, asked[1]) == stored("of 0").sha256


def test_what_is_not_ready_says_how_it_comes_to_be(store: Store) -> None:
    job_id = add_job(store)
    run_trial(store)
    with pytest.raises(NotReady, match=f"POST /v1/jobs/{job_id}/trials/0/retrain trains it"):
        package(store, job_id, 0)
    number = ask(store, job_id, 0).number
    with pytest.raises(NotReady, match=f"its retraining, trial {number}, is queued after 0 of 4 epochs"):
        package(store, job_id, 0)
    taken = claim(store)
    assert taken is not None
    report(store, taken, 1)
    with pytest.raises(NotReady, match=f"trial {number} of job {job_id} has no model yet: it is running after 1 of 4"):
        package(store, job_id, number)
    finish(store, taken, TrialState.FAILED, reason=Reason.ERROR, error="Traceback\n  line\nValueError: too bad")
    with pytest.raises(NotReady, match=r"is failed \(ValueError: too bad\); POST …/retrain of the trial"):
        package(store, job_id, 0)
    ask(store, job_id, 0)
    retrain(store, "at last")
    assert package(store, job_id, 0) == stored("at last").sha256


def test_the_winner_has_the_jobs_own_package_until_it_is_retrained_alone(store: Store) -> None:
    job_id = add_job(store, trials=2)
    run_trial(store, accuracy=0.5)
    winner = run_trial(store, accuracy=0.7)
    with pytest.raises(NotReady):
        package(store, job_id, 1)
    succeed(store, digest(winner.trial_id))
    assert job_of(store, job_id).state == JobState.SUCCEEDED
    assert package(store, job_id, 1) == stored("package of the job").sha256
    with pytest.raises(NotReady):
        package(store, job_id, 0)
    ask(store, job_id, 1)
    assert package(store, job_id, 1) == stored("package of the job").sha256
    retrain(store, "alone")
    assert package(store, job_id, 1) == stored("alone").sha256


def test_the_same_network_of_another_job_is_another_one(store: Store) -> None:
    job_ids = [add_job(store, trials=1) for _ in range(2)]
    for _ in job_ids:
        taken = take(store)
        propose(store, taken, 0)
        report(store, taken, 1)
        finish(store, taken)
    first = ask(store, job_ids[0], 0)
    retrain(store)
    with pytest.raises(NotReady, match="retrain trains it"):
        package(store, job_ids[1], 0)
    second = ask(store, job_ids[1], 0)
    assert (second.job_id, second.digest, second.state) == (job_ids[1], first.digest, TrialState.QUEUED)
    with store.read() as session:
        assert retrains.origin(session, second) == 0


def test_the_search_trial_of_a_retraining_is_known(store: Store) -> None:
    job_id = add_job(store)
    for _ in range(3):
        run_trial(store)
    asked = ask(store, job_id, 2)
    with store.read() as session:
        assert retrains.origin(session, asked) == 2


def test_a_lease_is_renewed_for_a_retraining_of_a_job_that_has_ended(store: Store) -> None:
    job_id = add_job(store)
    run_trial(store)
    with store.write() as session:
        control.cancel(session, job_id)
    ask(store, job_id, 0)
    taken = claim(store)
    assert taken is not None
    with store.write() as session:
        assert trials.renew_all(session, [taken], LEASE_S)
    assert trial_of(store, taken.trial_id).state == TrialState.RUNNING
