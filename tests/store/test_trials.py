"""The life of a trial: proposed, trained, ended; and what that does to its job."""

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from nas.errors import IllegalTransition
from nas.search.strategy import Observation
from nas.spec import JobSpec
from nas.store import files, jobs, moves, trials
from nas.store.artifacts import Stored
from nas.store.claims import Claim
from nas.store.history import Replay
from nas.store.moves import MAX_FAILURES_IN_ROW
from nas.store.session import Store
from nas.store.states import JobState, Phase, Reason, TrialState
from nas.store.tables import Artifact, Epoch, Incumbent
from nas.store.trials import Costs, Twin
from tests.support import (
    LEASE_S,
    add_job,
    add_queued,
    candidate,
    digest,
    epoch,
    everything,
    expire,
    finish,
    hand_back,
    job_of,
    propose,
    report,
    reserve,
    run_trial,
    states_of,
    stored,
    take,
    trial_of,
)


def artifacts_of(store: Store, claim: Claim) -> dict[str, tuple[str, int]]:
    with store.read() as session:
        rows = session.scalars(select(Artifact).where(Artifact.trial_id == claim.trial_id)).all()
    return {row.kind: (row.sha256, row.size_bytes) for row in rows}


def epochs_of(store: Store, claim: Claim) -> list[Epoch]:
    with store.read() as session:
        return list(session.scalars(select(Epoch).where(Epoch.trial_id == claim.trial_id).order_by(Epoch.epoch)))


def incumbents_of(store: Store, job_id: str) -> list[tuple[int, float]]:
    with store.read() as session:
        rows = session.scalars(select(Incumbent).where(Incumbent.job_id == job_id).order_by(Incumbent.number)).all()
    return [(row.number, row.accuracy) for row in rows]


def fail(store: Store, reason: Reason, error: str = "Traceback\nValueError: broken\n") -> Claim:
    """Runs a trial that fails for this reason."""
    taken = take(store)
    finish(store, taken, TrialState.FAILED, reason=reason, error=error)
    return taken


# --- the candidate


def test_a_proposal_is_written_to_the_trial(store: Store) -> None:
    add_job(store)
    taken = take(store)
    with store.write() as session:
        trials.set_candidate(session, taken, candidate(7), digest(7), Costs(123, 456, 7.5, 1.25))
    trial = trial_of(store, taken.trial_id)
    assert trial.candidate == candidate(7).to_json()
    assert (trial.digest, trial.params, trial.macs) == (digest(7), 123, 456)
    assert (trial.latency_ms, trial.memory_mb) == (7.5, 1.25)


def test_the_largest_networks_and_files_have_room(store: Store) -> None:
    """256 channels and 40 cells, which a job may ask for, take billions of operations and gigabytes."""
    add_job(store)
    taken = take(store)
    with store.write() as session:
        trials.set_candidate(session, taken, candidate(0), digest(0), Costs(2**31 - 1, 2**40))
        trials.attach(session, taken, "weights", Stored("a" * 64, 2**36))
    assert trial_of(store, taken.trial_id).macs == 2**40
    assert artifacts_of(store, taken)["weights"] == ("a" * 64, 2**36)


def test_the_twin_of_a_trial_is_refused_and_another_proposal_is_taken(store: Store) -> None:
    add_job(store)
    first, second = take(store), take(store)
    propose(store, first, 0)
    before = everything(store)
    with pytest.raises(Twin):
        propose(store, second, 0)
    assert everything(store) == before
    propose(store, second, 1)
    assert trial_of(store, second.trial_id).digest == digest(1)


def test_two_jobs_may_train_the_same_network(store: Store) -> None:
    add_job(store, trials=1)
    add_job(store, trials=1)
    first, second = take(store), take(store)
    propose(store, first, 0)
    propose(store, second, 0)
    assert trial_of(store, first.trial_id).digest == trial_of(store, second.trial_id).digest


def test_a_network_is_retrained_once_for_each_seed(store: Store) -> None:
    job_id = add_job(store)
    with store.write() as session:
        job = jobs.get(session, job_id)
        for phase in (Phase.SEARCH, Phase.FINALIST, Phase.CONTROL):
            for seed_index in range(2):
                moves.add(
                    session, job, phase, epochs=1, candidate=candidate(0), digest=digest(0), seed_index=seed_index
                )
    before = everything(store)

    def again() -> None:
        with store.write() as session:
            job = jobs.get(session, job_id)
            moves.add(session, job, Phase.CONTROL, epochs=1, candidate=candidate(0), digest=digest(0), seed_index=1)

    with pytest.raises(IntegrityError):
        again()
    assert everything(store) == before


# --- epochs


def test_every_epoch_is_recorded_as_it_was_reported(store: Store) -> None:
    add_job(store)
    taken = take(store)
    for number in (1, 2, 3):
        report(store, taken, number, accuracy=number / 10)
        trial = trial_of(store, taken.trial_id)
        assert (trial.epoch, trial.accuracy) == (number, number / 10)
    found = [
        (row.epoch, row.train_loss, row.validation_loss, row.validation_accuracy, row.lr, row.seconds)
        for row in epochs_of(store, taken)
    ]
    assert found == [(number, 1.0 / number, 1.5 / number, number / 10, 0.1, 2.0) for number in (1, 2, 3)]


def test_epochs_go_on_across_attempts(store: Store) -> None:
    add_job(store)
    for _ in range(3):
        taken = take(store)
        report(store, taken, taken.epoch + 1)
        expire(store)
        trials.reap(store)
    assert [row.epoch for row in epochs_of(store, taken)] == [1, 2, 3]
    assert trial_of(store, taken.trial_id).epoch == 3


def test_an_epoch_is_counted_with_its_seconds_in_the_job(store: Store) -> None:
    job_id = add_job(store)
    taken = take(store)
    report(store, taken, 1)
    report(store, taken, 2)
    add_queued(store, job_id, 1)
    report(store, take(store), 1)
    job = job_of(store, job_id)
    assert (job.search_epochs, job.final_epochs, job.train_seconds) == (2, 1, 6.0)


def test_an_epoch_that_was_reported_cannot_be_reported_again(store: Store) -> None:
    add_job(store)
    taken = take(store)
    report(store, taken, 1)
    before = everything(store)
    with pytest.raises(IntegrityError):
        report(store, taken, 1, accuracy=0.9)
    assert everything(store) == before


def test_a_checkpoint_takes_the_place_of_the_one_before_it(store: Store) -> None:
    add_job(store)
    taken = take(store)
    first, second = stored("first"), stored("the second")

    def write(number: int, word: str) -> str | None:
        with store.write() as session:
            return trials.report(session, taken, epoch(number), stored(word), LEASE_S)

    assert write(1, "first") is None
    assert artifacts_of(store, taken) == {"checkpoint": (first.sha256, 5)}
    assert write(2, "the second") == first.sha256
    assert artifacts_of(store, taken) == {"checkpoint": (second.sha256, 10)}
    assert write(3, "the second") is None  # the file is in use: nobody may delete it
    assert artifacts_of(store, taken) == {"checkpoint": (second.sha256, 10)}


def test_an_epoch_renews_the_lease(store: Store) -> None:
    add_job(store)
    taken = take(store)
    expire(store)
    report(store, taken, 1)
    assert trials.reap(store) == 0


# --- the end


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED, TrialState.INFEASIBLE, TrialState.CANCELLED])
def test_a_trial_ends_in_the_state_it_is_given(store: Store, state: TrialState) -> None:
    add_job(store)
    taken = take(store)
    finish(store, taken, state, reason=Reason.RUNG, error="why")
    trial = trial_of(store, taken.trial_id)
    assert (trial.state, trial.reason, trial.error) == (state, Reason.RUNG, "why")
    assert trial.lease_until is None
    assert trial.finished_at is not None


def test_a_trial_that_runs_cannot_end_in_running(store: Store) -> None:
    add_job(store)
    taken = take(store)
    before = everything(store)
    with pytest.raises(IllegalTransition, match=f"trial 0 of job {taken.job_id} is running; it cannot become running"):
        finish(store, taken, TrialState.RUNNING)
    assert everything(store) == before


def test_the_checkpoint_of_a_trial_that_ended_is_given_up_and_its_weights_stay(store: Store) -> None:
    add_job(store)
    taken = take(store)
    report(store, taken, 1)
    checkpoint = stored(f"{taken.trial_id}.1").sha256
    assert finish(store, taken, weights=stored("weights")) == checkpoint
    assert artifacts_of(store, taken) == {"weights": (stored("weights").sha256, 7)}


def test_a_trial_without_a_checkpoint_gives_none_up(store: Store) -> None:
    add_job(store)
    assert finish(store, take(store)) is None


def test_each_new_best_is_an_incumbent(store: Store) -> None:
    job_id = add_job(store)
    for accuracy in (0.5, 0.4, 0.5, 0.7, 0.6, 0.71):
        run_trial(store, accuracy)
    assert incumbents_of(store, job_id) == [(0, 0.5), (3, 0.7), (5, 0.71)]
    job = job_of(store, job_id)
    assert (job.best_trial, job.best_accuracy) == (5, 0.71)
    with store.read() as session:
        times = session.scalars(select(Incumbent.at_s).order_by(Incumbent.number)).all()
    assert times == sorted(times)
    assert times[0] > 0


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (TrialState.PRUNED, Reason.RUNG),
        (TrialState.INFEASIBLE, None),
        (TrialState.FAILED, Reason.DIVERGED),
        (TrialState.CANCELLED, None),
    ],
)
def test_only_a_trial_that_was_trained_to_its_end_is_an_incumbent(
    store: Store, state: TrialState, reason: Reason | None
) -> None:
    job_id = add_job(store)
    taken = take(store)
    report(store, taken, 1, accuracy=0.9)
    finish(store, taken, state, reason=reason)
    assert incumbents_of(store, job_id) == []
    assert (job_of(store, job_id).best_trial, job_of(store, job_id).best_accuracy) == (None, None)


def test_a_retraining_is_no_incumbent(store: Store) -> None:
    job_id = add_job(store)
    run_trial(store, 0.5)
    add_queued(store, job_id, 1)
    run_trial(store, 0.9)
    assert incumbents_of(store, job_id) == [(0, 0.5)]


# --- failures


@pytest.mark.parametrize("reason", [Reason.ERROR, Reason.LOST])
def test_failures_in_a_row_fail_the_job_with_the_last_ones_words(store: Store, reason: Reason) -> None:
    job_id = add_job(store, trials=50)
    bystander = take(store)
    add_queued(store, job_id, 2)
    for index in range(MAX_FAILURES_IN_ROW):
        taken = reserve(store)
        assert taken is not None
        assert job_of(store, job_id).state == JobState.RUNNING
        assert job_of(store, job_id).failures_in_row == index
        finish(store, taken, TrialState.FAILED, reason=reason, error=f"Traceback\n  line\nValueError: number {index}\n")
    job = job_of(store, job_id)
    assert job.state == JobState.FAILED
    assert job.reason == "3 trials in a row failed, the last one with: ValueError: number 2"
    assert job.finished_at is not None
    assert states_of(store, job_id) == [TrialState.CANCELLED] * 3 + [TrialState.FAILED] * MAX_FAILURES_IN_ROW
    assert trial_of(store, bystander.trial_id).finished_at is not None
    assert reserve(store) is None


@pytest.mark.parametrize("error", [None, "", " \n "])
def test_failures_without_words_say_so(store: Store, error: str | None) -> None:
    job_id = add_job(store)
    for _ in range(MAX_FAILURES_IN_ROW):
        finish(store, take(store), TrialState.FAILED, reason=Reason.ERROR, error=error)
    assert job_of(store, job_id).reason == "3 trials in a row failed, the last one with: no message"


def test_trials_that_are_lost_again_and_again_fail_the_job(store: Store) -> None:
    job_id = add_job(store)
    for _ in range(MAX_FAILURES_IN_ROW * trials.MAX_LOSSES):
        take(store)
        expire(store)
        trials.reap(store)
    assert job_of(store, job_id).state == JobState.FAILED
    assert job_of(store, job_id).reason == (
        "3 trials in a row failed, the last one with: its worker vanished 3 times without finishing an epoch"
    )


@pytest.mark.parametrize(
    ("state", "reason"),
    [(TrialState.COMPLETE, None), (TrialState.PRUNED, Reason.RUNG), (TrialState.FAILED, Reason.DIVERGED)],
)
def test_a_trial_that_ends_otherwise_starts_the_count_of_failures_again(
    store: Store, state: TrialState, reason: Reason | None
) -> None:
    job_id = add_job(store, trials=50)
    for _ in range(3):
        for _ in range(MAX_FAILURES_IN_ROW - 1):
            fail(store, Reason.ERROR)
        assert job_of(store, job_id).failures_in_row == MAX_FAILURES_IN_ROW - 1
        finish(store, take(store), state, reason=reason)
        assert job_of(store, job_id).failures_in_row == 0
    assert job_of(store, job_id).state == JobState.RUNNING


def test_diverged_trials_alone_fail_no_job(store: Store) -> None:
    job_id = add_job(store, trials=20)
    for _ in range(10):
        fail(store, Reason.DIVERGED)
    assert job_of(store, job_id).state == JobState.RUNNING


def test_one_jobs_failures_are_not_anothers(store: Store) -> None:
    first, second = add_job(store, parallel=1), add_job(store, parallel=1)
    for _ in range(MAX_FAILURES_IN_ROW - 1):
        for claim in [take(store), take(store)]:
            finish(store, claim, TrialState.FAILED, reason=Reason.ERROR, error="broken")
    assert [job_of(store, job_id).state for job_id in (first, second)] == [JobState.RUNNING] * 2


# --- what is read


def test_the_history_is_what_is_known_of_the_search(store: Store) -> None:
    job_id = add_job(store, trials=20)
    run_trial(store, 0.8)
    add_queued(store, job_id, 1)  # number 1: a finalist is no part of it
    reserved = reserve(store)  # number 2: without a candidate
    assert reserved is not None
    ends = {
        3: (TrialState.PRUNED, Reason.RUNG),
        4: (TrialState.FAILED, Reason.DIVERGED),
        5: (TrialState.FAILED, Reason.ERROR),
        6: None,
    }
    for number, end in ends.items():
        taken = reserve(store)
        assert taken is not None
        assert taken.number == number
        propose(store, taken, number + 100)
        report(store, taken, 1, accuracy=number / 10)
        if end:
            finish(store, taken, end[0], reason=end[1])
    handed_back = reserve(store)
    assert handed_back is not None
    propose(store, handed_back, 107)
    hand_back(store, handed_back)

    with store.read() as session:
        found = Replay(JobSpec.model_validate(job_of(store, job_id).spec)).read(session, job_id)
    assert [(seen.number, seen.finished, seen.complete, seen.epoch, seen.score) for seen in found] == [
        (0, True, True, 3, 0.8),
        (3, True, False, 1, 0.3),
        (4, True, False, 1, None),
        (5, True, False, 1, None),
        (6, False, False, 1, 0.6),
        (7, False, False, 0, None),
    ]
    assert found[1] == Observation(3, candidate(103), finished=True, complete=False, epoch=1, score=0.3)


def test_files_of_a_trial_are_found_by_their_kind(store: Store) -> None:
    add_job(store)
    taken = take(store)
    with store.write() as session:
        trials.attach(session, taken, "weights", stored("weights"))
        trials.attach(session, taken, "weights", stored("better weights"))
    with store.read() as session:
        assert files.artifact(session, taken.trial_id, "weights") == stored("better weights").sha256
        assert files.artifact(session, taken.trial_id, "checkpoint") is None
        assert files.artifact(session, taken.trial_id + 1, "weights") is None
        assert files.package(session, taken.job_id) is None
