"""What a search may spend: epochs, seconds, a target; and what is kept back for the end of its job."""

from datetime import timedelta

import pytest

from nas.spec import FinalSpec, JobSpec
from nas.store import budget, jobs, phases, trials, workers
from nas.store.budget import LARGEST_SHARE, MARGIN, REFERENCE, REPORT_S
from nas.store.claims import Claim
from nas.store.session import Store
from nas.store.states import JobState, TrialState
from tests.support import (
    LEASE_S,
    add_job,
    age,
    epoch,
    finish,
    job_of,
    promote_in,
    propose,
    reserve,
    run_trial,
    rungs_in,
    stored,
    take,
    trial_of,
)

HALVING = {"method": "halving", "eta": 2, "first": 2}
"""With eight epochs: rungs after 2 and 4."""


def spec_of(store: Store, job_id: str) -> JobSpec:
    return JobSpec.model_validate(job_of(store, job_id).spec)


def register(store: Store, count: int) -> None:
    with store.write() as session:
        for index in range(count):
            workers.register(session, f"worker {index}", "cpu")


def train(store: Store, claim: Claim, until: int, accuracy: float = 0.5, seconds: float = 2.0) -> None:
    if claim.candidate is None and claim.epoch == 0:
        propose(store, claim, claim.trial_id)
    for number in range(claim.epoch + 1, until + 1):
        with store.write() as session:
            found = epoch(number, accuracy, seconds)
            trials.report(session, claim, found, stored(f"{claim.trial_id}.{number}"), LEASE_S)


def to_a_rung(store: Store) -> Claim:
    taken = take(store)
    train(store, taken, taken.stage)
    with store.write() as session:
        trials.pause(session, taken)
    return taken


def promote(store: Store, index: int) -> Claim | None:
    with store.read() as session:
        [seen] = rungs_in(session)
    with store.write() as session:
        return promote_in(session, seen, index, "worker")


# --- epochs


def test_no_trial_begins_that_the_epochs_do_not_suffice_for(store: Store) -> None:
    job_id = add_job(store, trials=100, epochs=3, total_epochs=8)
    first, second = take(store), take(store)
    assert reserve(store) is None  # two times three are promised, and a third would make nine
    job = job_of(store, job_id)
    assert (job.next_number, job.trials_planned, job.search_over) == (2, 2, False)
    for taken in (first, second):
        train(store, taken, 3)
        finish(store, taken)
    assert job_of(store, job_id).search_epochs == 6


def test_a_search_of_exactly_so_many_epochs_fits(store: Store) -> None:
    job_id = add_job(store, trials=100, epochs=3, total_epochs=9)
    for _ in range(3):
        run_trial(store)
    assert reserve(store) is None
    assert job_of(store, job_id).search_epochs == 9
    assert job_of(store, job_id).note == "the search ended after 9 of 9 epochs: no stage fits any more"


def test_room_is_kept_for_one_trial_to_come_to_its_end(store: Store) -> None:
    """Ten epochs: two rungs of two epochs, and the six that one of them still needs."""
    add_job(store, trials=100, epochs=8, total_epochs=10, pruning=HALVING)
    to_a_rung(store)
    to_a_rung(store)
    assert reserve(store) is None
    again = promote(store, 0)
    assert again is not None
    train(store, again, 4)
    with store.write() as session:
        trials.pause(session, again)
    last = promote(store, 0)
    assert last is not None
    train(store, last, 8)
    finish(store, last)
    assert trial_of(store, last.trial_id).state == TrialState.COMPLETE


def test_a_promotion_that_does_not_fit_ends_the_search_once_nothing_runs(store: Store) -> None:
    job_id = add_job(store, trials=100, epochs=8, total_epochs=9, pruning=HALVING)
    for index in range(1):
        to_a_rung(store)
        again = promote(store, index)
        assert again is not None
        train(store, again, 4)
        with store.write() as session:
            trials.pause(session, again)
        last = promote(store, index)
        assert last is not None
        train(store, last, 8)
        finish(store, last)
    assert reserve(store) is None  # one epoch is left, and the first rung takes two
    with store.read() as session:
        seen = phases.standstill(session)
    assert seen is not None
    assert job_of(store, job_id).search_epochs == 8


# --- a target


def test_the_search_ends_when_a_whole_training_reaches_the_target(store: Store) -> None:
    job_id = add_job(store, trials=10, target=0.9)
    run_trial(store, accuracy=0.8)
    assert not job_of(store, job_id).search_over
    other = take(store)
    run_trial(store, accuracy=0.9)
    job = job_of(store, job_id)
    assert (job.search_over, job.trials_planned) == (True, 3)
    assert job.note == "the search ended at trial 2, which reached the target of 0.9"
    assert reserve(store) is None
    finish(store, other, TrialState.PRUNED)
    with store.read() as session:
        assert phases.standstill(session) is not None


def test_a_trial_that_passes_the_target_on_its_way_does_not_end_the_search(store: Store) -> None:
    job_id = add_job(store, trials=10, epochs=3, target=0.9)
    taken = take(store)
    train(store, taken, 2, accuracy=0.95)
    assert not job_of(store, job_id).search_over


# --- seconds


def test_time_is_kept_for_the_retraining_by_what_an_epoch_takes(store: Store) -> None:
    register(store, 2)
    job_id = add_job(store, trials=100, epochs=3, seconds=1000)
    taken = take(store)
    train(store, taken, 3, seconds=4.0)
    finish(store, taken)
    job, spec = job_of(store, job_id), spec_of(store, job_id)
    assert job.started_at is not None
    # A finalist and two controls, two seeds each, four epochs, on two workers: three rounds. Then the reference's two.
    # The test images by eight networks, and three times more to verify; they are 20, and an epoch is worth 3 × 64 + 16.
    kept = (3 + REFERENCE) * 4 * 4.0 * MARGIN + REPORT_S + 4.0 * 20 / 208 * (8 + 3)
    with store.read() as session:
        deadline = budget.search_deadline(session, job, spec, LEASE_S)
    assert deadline is not None
    assert deadline == job.started_at + timedelta(seconds=1000 - kept)
    assert take(store).deadline == deadline


def test_the_retraining_keeps_half_of_the_time_at_the_most(store: Store) -> None:
    job_id = add_job(store, trials=100, epochs=3, seconds=100)
    taken = take(store)
    train(store, taken, 3, seconds=50.0)
    finish(store, taken)
    job = job_of(store, job_id)
    assert job.started_at is not None
    with store.read() as session:
        deadline = budget.search_deadline(session, job, spec_of(store, job_id), LEASE_S)
    assert deadline == job.started_at + timedelta(seconds=100 - 100 * LARGEST_SHARE)


def test_there_is_a_first_trial_however_little_time_there_is(store: Store) -> None:
    job_id = add_job(store, trials=5, seconds=1e-6)
    assert reserve(store) is not None
    assert reserve(store) is None
    assert job_of(store, job_id).search_over


def test_paused_trials_are_not_promoted_when_the_time_is_up(store: Store) -> None:
    job_id = add_job(store, trials=5, epochs=8, seconds=60, pruning=HALVING)
    to_a_rung(store)
    age(store, job_id, 60)
    assert promote(store, 0) is None
    job = job_of(store, job_id)
    assert job.search_over
    assert job.note is not None
    assert "in time for a job of 60 s" in job.note


def planned(store: Store, job_id: str, claim: Claim) -> budget.Plan:
    with store.read() as session:
        job = jobs.get(session, job_id)
        return budget.plan_finals(session, job, spec_of(store, job_id), claim.trial_id, LEASE_S)


def a_search(store: Store, *, elapsed: float, epoch_s: float, **final: int) -> tuple[str, Claim]:
    """A job of 100 s, so far into it, with one trial whose epochs took so long."""
    whole = {"finalists": 1, "controls": 3, "epochs": 30, "seeds": 3} | final
    job_id = add_job(store, trials=1, epochs=2, seconds=100, final=whole)
    taken = take(store)
    train(store, taken, 2, seconds=epoch_s)
    finish(store, taken)
    age(store, job_id, elapsed)
    return job_id, taken


def test_what_fits_is_retrained_as_the_job_says(store: Store) -> None:
    job_id, taken = a_search(store, elapsed=20, epoch_s=0.01)
    assert planned(store, job_id, taken) == budget.Plan(spec_of(store, job_id).final)


@pytest.mark.parametrize(
    ("epoch_s", "expected"),
    [
        # (68 − 0.2 × 20 / 208 × 18) / (13.05 × 1.05 × 0.2)
        pytest.param(0.2, {"epochs": 24}, id="fewer epochs"),
        # (68 − 3 × 20 / 208 × 13) / (8.7 × 1.05 × 3)
        pytest.param(3.0, {"epochs": 2, "seeds": 2}, id="then fewer seeds"),
        pytest.param(8.0, {"epochs": 3, "seeds": 1, "controls": 1}, id="then a single control"),
        pytest.param(500.0, {"epochs": 1, "seeds": 1, "controls": 1}, id="at least something"),
    ],
)
def test_what_does_not_fit_becomes_less_and_the_job_says_so(
    store: Store, epoch_s: float, expected: dict[str, int]
) -> None:
    job_id, taken = a_search(store, elapsed=20, epoch_s=epoch_s)
    plan = planned(store, job_id, taken)
    assert plan.final == FinalSpec(**({"finalists": 1, "controls": 3, "epochs": 30, "seeds": 3} | expected))
    for name, value in expected.items():
        before = {"epochs": 30, "seeds": 3, "controls": 3}[name]
        assert f"final.{name} became {value} instead of {before}" in plan.note
    assert plan.note.startswith("to end within 100 s, ")


def test_controls_become_fewer_where_the_finalists_left_little_time(store: Store) -> None:
    job_id, taken = a_search(store, elapsed=50, epoch_s=1.0)
    with store.read() as session:
        job, spec = jobs.get(session, job_id), spec_of(store, job_id)
        asked = spec.final.model_copy(update={"epochs": 9, "seeds": 1})
        plan = budget.fit_controls(session, job, spec, asked, taken.trial_id, LEASE_S)
    # 38 s, less a half for the report, for runs of nine and a half seconds: three, and what the reference takes.
    assert plan.final.controls == 3
    with store.read() as session:
        asked = asked.model_copy(update={"epochs": 20})
        plan = budget.fit_controls(session, job, spec, asked, taken.trial_id, LEASE_S)
    assert plan.final.controls == 1
    assert plan.note == "to end within 100 s, final.controls became 1 instead of 3"


def test_a_job_without_a_limit_keeps_what_it_asks_for(store: Store) -> None:
    job_id = add_job(store, trials=1)
    taken = run_trial(store)
    assert planned(store, job_id, taken) == budget.Plan(spec_of(store, job_id).final)
    assert job_of(store, job_id).state == JobState.RUNNING


def test_a_retraining_that_has_to_be_made_smaller_keeps_only_what_the_smaller_one_takes(store: Store) -> None:
    """Half of the time would be too little for all seeds: the search goes on in what fewer seeds leave of that half."""
    final = {"finalists": 1, "controls": 3, "epochs": 30, "seeds": 3}
    job_id = add_job(store, trials=10, epochs=30, seconds=1000, final=final)
    taken = take(store)
    train(store, taken, 30, seconds=1.5)
    finish(store, taken)
    job = job_of(store, job_id)
    assert job.started_at is not None
    with store.read() as session:
        deadline = budget.search_deadline(session, job, spec_of(store, job_id), LEASE_S)
    # On one worker: 12 trainings of 23 epochs, and three of the reference, fit into 500 s; the report takes the rest.
    scoring = 1.5 * 20 / 208 * (5 * 3 + 3)
    trainings = 12 + 3 * REFERENCE
    assert (500 - REPORT_S - scoring) / (trainings * 1.5 * MARGIN) == pytest.approx(23.6, abs=0.1)
    kept = trainings * 23 * 1.5 * MARGIN + REPORT_S + scoring
    assert deadline == job.started_at + timedelta(seconds=1000 - kept)
