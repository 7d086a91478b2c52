"""What the dashboard shows, from the first moment to the last."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, update

from nas.errors import NotFound
from nas.store import control, moves, phases, retrains, trials
from nas.store.phases import NewTrial
from nas.store.progress import Progress
from nas.store.session import Store, now
from nas.store.states import JobState, Phase, TrialState
from nas.store.tables import Epoch, Job, Worker
from tests.store.looks import (
    FINAL_EPOCHS,
    PLANNED,
    TRIALS,
    finished,
    left_epochs,
    reason,
    register,
    retraining,
    show,
    train_supernet,
)
from tests.store.steering import go_on
from tests.support import (
    LEASE_S,
    LONG_AGO,
    add_job,
    age,
    candidate,
    digest,
    finish,
    job_of,
    propose,
    report,
    run_trial,
    stored,
    take,
)


def test_a_job_that_is_not_there_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="there is no job 'nope'"):
        show(store, "nope")


def test_a_queued_job_without_a_worker_waits_for_one(store: Store) -> None:
    job_id = add_job(store, name="mine")
    shown = show(store, job_id)
    assert (shown.rows.job.id, shown.rows.job.name, shown.rows.job.state) == (job_id, "mine", JobState.QUEUED)
    assert (shown.rows.dataset, shown.rows.phase) == ("squares", "search")
    assert shown.progress == Progress(fraction=0.0, trials_finished=0, trials_planned=TRIALS, elapsed_s=0.0, eta_s=None)
    assert shown.rows.counts == dict.fromkeys(TrialState, 0)
    assert shown.rows.phases == {phase: {"finished": 0, "planned": planned} for phase, planned in PLANNED.items()}
    assert (shown.rows.best, shown.rows.incumbents, shown.rows.running) == (None, [], [])
    assert reason(shown) == "no_worker"


def test_a_queued_job_with_a_worker_waits_for_seconds(store: Store) -> None:
    job_id = add_job(store)
    register(store, "ada")
    assert reason(show(store, job_id)) == "starting"


def test_a_worker_that_was_not_seen_for_a_lease_is_none(store: Store) -> None:
    job_id = add_job(store)
    register(store, "ada")
    with store.write() as session:
        session.execute(update(Worker).values(seen_at=now(session) - timedelta(seconds=LEASE_S + 1)))
    assert reason(show(store, job_id)) == "no_worker"


def test_a_queued_job_waits_for_those_before_it(store: Store) -> None:
    job_ids = [add_job(store) for _ in range(3)]
    register(store, "ada")
    waits = [show(store, job_id).waiting for job_id in job_ids]
    assert [(wait.reason, wait.position) for wait in waits if wait] == [
        ("starting", 1),
        ("all_busy", 2),
        ("all_busy", 3),
    ]
    with store.write() as session:
        control.cancel(session, job_ids[0])
    assert reason(show(store, job_ids[1])) == "starting"


def test_a_running_job_shows_its_trials_at_work(store: Store) -> None:
    job_id = add_job(store)
    register(store, "ada", "bob")
    done = run_trial(store, accuracy=0.6)
    first, second = take(store, "ada"), take(store, "bob")
    propose(store, first, 50)
    report(store, first, 1, accuracy=0.4)
    age(store, job_id, 100)
    shown = show(store, job_id)
    assert (shown.rows.job.state, shown.rows.phase, shown.waiting) == (JobState.RUNNING, "search", None)
    assert [(trial.number, trial.owner, trial.epoch, trial.accuracy) for trial in shown.rows.running] == [
        (1, "ada", 1, 0.4),
        (2, "bob", 0, None),
    ]
    assert shown.rows.running[1].id == second.trial_id
    assert {state: count for state, count in shown.rows.counts.items() if count} == {"complete": 1, "running": 2}
    assert finished(shown) == dict.fromkeys(Phase, 0) | {"search": 1}
    assert shown.rows.best is not None
    assert (shown.rows.best.id, shown.rows.best.number, shown.rows.best.accuracy) == (done.trial_id, 0, 0.6)
    assert [(row.number, row.accuracy) for row in shown.rows.incumbents] == [(0, 0.6)]
    assert (shown.progress.trials_finished, shown.progress.trials_planned) == (1, TRIALS)
    assert 100 <= shown.progress.elapsed_s < 130


# --- before the search


def test_screening_comes_before_the_search(store: Store) -> None:
    job_id = add_job(store, strategy="auto", options={"warm_start": 60})
    batches = job_of(store, job_id).prepared
    assert batches > 0
    shown = show(store, job_id)
    assert (shown.rows.phase, shown.rows.phases["screening"]) == ("screening", {"finished": 0, "planned": batches})
    assert (shown.progress.trials_planned, shown.rows.phases["search"]["planned"]) == (TRIALS, TRIALS)
    assert shown.progress.trials_finished == 0
    for done in range(batches):
        assert show(store, job_id).rows.phase == "screening"
        finish(store, take(store))
        assert show(store, job_id).rows.phases["screening"]["finished"] == done + 1
    shown = show(store, job_id)
    assert (shown.rows.phase, shown.progress.trials_finished, shown.rows.supernet) == ("search", 0, None)


def test_the_supernet_shows_its_epochs_and_why_it_stopped(store: Store) -> None:
    job_id = add_job(store, epochs=27, strategy="darts", options={"epochs": 20}, pruning="halving")
    before = show(store, job_id)
    assert before.rows.phase == "supernet"
    assert before.rows.supernet is not None
    assert (before.rows.supernet.trial.epochs, before.rows.supernet.epochs) == (20, [])
    taken = train_supernet(store, 3)
    shown = show(store, job_id)
    assert (shown.rows.phase, shown.rows.phases["supernet"]) == ("supernet", {"finished": 0, "planned": 1})
    assert shown.rows.supernet is not None
    assert [(row.epoch, (row.metrics or {})["alpha_entropy"]) for row in shown.rows.supernet.epochs] == [
        (1, 2.0),
        (2, 1.0),
        (3, pytest.approx(2 / 3)),
    ]
    assert left_epochs(store, job_id) == pytest.approx(17 + TRIALS * 7 + FINAL_EPOCHS)  # 7: 3 + 6 / 3 + 18 / 9
    finish(store, taken, error="it collapsed")
    shown = show(store, job_id)
    assert shown.rows.supernet is not None
    assert (shown.rows.supernet.trial.state, shown.rows.supernet.trial.error) == (TrialState.COMPLETE, "it collapsed")
    assert (shown.rows.phase, shown.progress.trials_planned, shown.progress.trials_finished) == ("search", TRIALS, 0)
    assert left_epochs(store, job_id) == pytest.approx(TRIALS * 7 + FINAL_EPOCHS)


def test_no_more_than_the_newest_200_epochs_of_a_supernet_are_shown(store: Store) -> None:
    job_id = add_job(store, strategy="darts", options={"epochs": 300})
    taken = take(store)
    row = {
        "trial_id": taken.trial_id,
        "job_id": job_id,
        "train_loss": 1,
        "validation_loss": 1,
        "validation_accuracy": 0.5,
        "lr": 0.1,
    }
    with store.write() as session:
        session.execute(insert(Epoch), [row | {"epoch": number, "seconds": 1} for number in range(1, 251)])
    shown = show(store, job_id)
    assert shown.rows.supernet is not None
    assert [found.epoch for found in shown.rows.supernet.epochs] == list(range(51, 251))


# --- several objectives


def complete(store: Store, job_id: str, *found: tuple[float, int]) -> None:
    """Search trials of the job that end with these accuracies and parameters."""
    for number, (accuracy, params) in enumerate(found):
        taken = take(store)
        assert taken.job_id == job_id
        with store.write() as session:
            trials.set_candidate(session, taken, candidate(number), digest(number), trials.Costs(params, 1))
        report(store, taken, 1, accuracy)
        finish(store, taken)


def test_a_job_of_one_objective_has_no_pareto_set(store: Store) -> None:
    job_id = add_job(store)
    run_trial(store)
    shown = show(store, job_id)
    assert (shown.rows.pareto, [found.metric for found in shown.rows.objectives]) == (None, ["accuracy"])


def test_the_pareto_set_is_what_nothing_beats_the_best_first(store: Store) -> None:
    job_id = add_job(store, objectives=["params", "accuracy"], epochs=1)
    assert show(store, job_id).rows.pareto == []
    complete(store, job_id, (0.5, 100), (0.9, 500), (0.4, 200), (0.7, 300), (0.7, 400), (0.95, 900))
    shown = show(store, job_id)
    assert [(found.metric, found.direction) for found in shown.rows.objectives] == [
        ("accuracy", "maximize"),
        ("params", "minimize"),
    ]
    assert shown.rows.pareto is not None
    assert [(member.trial.number, member.values) for member in shown.rows.pareto] == [
        (5, {"accuracy": 0.95, "params": 900}),
        (1, {"accuracy": 0.9, "params": 500}),
        (3, {"accuracy": 0.7, "params": 300}),
        (0, {"accuracy": 0.5, "params": 100}),
    ]


# --- networks that users have retrained


def test_a_retraining_is_no_phase_of_a_job(store: Store) -> None:
    job_id = add_job(store)
    run_trial(store)
    done = show(store, job_id).progress
    with store.write() as session:
        number = retrains.ask(session, job_id, 0).number
    shown = show(store, job_id)
    assert (shown.rows.phase, shown.rows.phases["retrain"]) == ("search", {"finished": 0, "planned": 1})
    assert shown.progress.fraction == done.fraction
    register(store, "ada")
    taken = take(store)
    assert (taken.phase, taken.number) == (Phase.RETRAIN, number)
    report(store, taken, 1)
    shown = show(store, job_id)
    assert (shown.rows.phase, [trial.number for trial in shown.rows.running]) == ("search", [number])
    assert shown.progress.fraction == done.fraction
    with store.write() as session:
        session.execute(update(Job).values(state=JobState.SUCCEEDED))
    assert show(store, job_id).rows.phase == "done"


def test_a_retraining_waits_for_a_worker_when_its_job_has_ended(store: Store) -> None:
    job_id = add_job(store)
    run_trial(store)
    with store.write() as session:
        control.cancel(session, job_id)
    assert show(store, job_id).waiting is None
    with store.write() as session:
        retrains.ask(session, job_id, 0)
    assert reason(show(store, job_id)) == "no_worker"


def test_a_job_between_trials_says_what_it_waits_for(store: Store) -> None:
    job_id = add_job(store)
    run_trial(store)
    assert reason(show(store, job_id)) == "no_worker"
    register(store, "ada")
    assert reason(show(store, job_id)) == "starting"


def test_the_phase_is_the_first_one_with_work_left(store: Store) -> None:
    job_id = add_job(store, trials=1)
    run_trial(store, epochs=3)
    assert show(store, job_id).rows.phase == "search"
    go_on(store, retraining(Phase.FINALIST, 1), retraining(Phase.CONTROL, 2), retraining(Phase.REFERENCE, 3))
    shown = show(store, job_id)
    assert (shown.rows.job.state, shown.rows.phase) == (JobState.FINALIZING, "finalist")
    assert shown.progress.fraction == pytest.approx(3 / (3 + 12))  # three retrainings, fewer than were asked for
    run_trial(store, epochs=4)
    shown = show(store, job_id)
    assert (shown.rows.phase, finished(shown)["finalist"]) == ("control", 1)
    assert shown.progress.fraction == pytest.approx(7 / (3 + 12))
    assert shown.progress.trials_finished == 1  # of the search
    control = take(store)
    assert show(store, job_id).rows.phase == "control"
    finish(store, control)
    run_trial(store, epochs=4)
    shown = show(store, job_id)
    assert shown.rows.phase == "reference"  # the last one that has begun, until somebody moves the job on
    go_on(store, NewTrial(Phase.REPORT, 0))
    assert show(store, job_id).rows.phase == "report"


def test_a_job_that_has_succeeded_is_done(store: Store) -> None:
    job_id = add_job(store, trials=2)
    register(store, "ada")
    for accuracy in (0.5, 0.7):
        taken = run_trial(store, accuracy)
    go_on(store, NewTrial(Phase.REPORT, 0))
    final = take(store)
    age(store, job_id, 100)
    with store.write() as session:
        phases.succeed(session, final, {"won": True}, stored("package"), digest(taken.trial_id))
    shown = show(store, job_id)
    assert (shown.rows.job.state, shown.rows.phase, shown.waiting) == (JobState.SUCCEEDED, "done", None)
    assert shown.rows.job.verdict == {"won": True}
    assert (shown.progress.fraction, shown.progress.eta_s) == (1.0, None)
    assert finished(shown)["report"] == 1
    assert shown.rows.best is not None
    assert shown.rows.best.number == 1
    assert [row.number for row in shown.rows.incumbents] == [0, 1]
    assert shown.progress.elapsed_s >= 100
    with store.write() as session:  # the clock of a job that has ended stands still
        session.execute(update(Job).values(finished_at=LONG_AGO + timedelta(seconds=42), started_at=LONG_AGO))
    assert show(store, job_id).progress.elapsed_s == 42


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_job_that_ended_otherwise_is_done_as_far_as_it_came(store: Store, end: str) -> None:
    job_id = add_job(store)
    register(store, "ada")
    run_trial(store)
    take(store)
    with store.write() as session:
        if end == "failed":
            moves.fail(session, session.get_one(Job, job_id), "broken")
        else:
            control.cancel(session, job_id)
    shown = show(store, job_id)
    assert (shown.rows.job.state, shown.rows.phase, shown.waiting) == (end, "done", None)
    assert 0 < shown.progress.fraction < 1
    assert shown.progress.eta_s is None
    assert shown.rows.running == []
    assert {state: count for state, count in shown.rows.counts.items() if count} == {"complete": 1, "cancelled": 1}
