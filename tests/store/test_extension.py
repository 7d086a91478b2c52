"""Jobs whose budget is raised while they run, are retrained, or have ended."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from nas.errors import InvalidInput, TooMany
from nas.spec import JobSpec
from nas.store import dashboard, files, jobs, phases
from nas.store.history import Replay
from nas.store.numbering import index_of, number_of
from nas.store.phases import NewTrial
from nas.store.session import Store
from nas.store.states import JobState, Phase, Reason, TrialState
from nas.store.tables import Job
from tests.store.steering import cancel, extend, go_on, pause, resume, retrain, retraining, succeed, succeeded
from tests.support import (
    LEASE_S,
    add_job,
    candidate,
    claim,
    counted,
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
)

# --- extend


@pytest.mark.parametrize(
    ("changes", "field", "mend"),
    [
        ({}, "body", "name what is to grow: trials, total_epochs, seconds, target"),
        ({"trials": 2}, "trials", "the job has that already; name more"),
        ({"trials": 1}, "trials", "at least 2, which the job has; a budget can only grow"),
        ({"trials": None}, "trials", "a number above 2"),
        ({"trials": 9, "seconds": 10}, "seconds", "at least 60"),
        ({"trials": 9, "target": 0.9}, "target", "the job has no such limit"),
        ({"total_epochs": None}, "total_epochs", "the job has that already"),
    ],
)
def test_a_budget_only_grows(store: Store, changes: dict[str, Any], field: str, mend: str) -> None:
    job_id = add_job(store, trials=2, seconds=60)
    before = everything(store)
    with pytest.raises(InvalidInput, match=mend) as caught:
        extend(store, job_id, **changes)
    assert caught.value.field == field
    assert everything(store) == before


def test_a_job_that_runs_just_gets_more(store: Store) -> None:
    job_id = add_job(store, trials=1, target=0.5)
    run_trial(store, accuracy=0.6)
    assert job_of(store, job_id).search_over
    job = extend(store, job_id, trials=3, target=None)
    assert (job.state, job.trials_planned, job.search_over, job.searches) == (JobState.RUNNING, 3, False, None)
    assert [take(store).index for _ in range(2)] == [1, 2]
    assert reserve(store) is None


def test_more_time_reaches_the_trials_that_run(store: Store) -> None:
    job_id = add_job(store, seconds=60)
    first = take(store)
    extend(store, job_id, seconds=600)
    again = take(store)
    assert (again.trial_id, again.attempt) == (first.trial_id, 2)
    assert first.deadline is not None
    assert again.deadline == first.deadline + timedelta(seconds=270)


def test_an_extended_job_searches_on_where_it_was(store: Store) -> None:
    job_id = succeeded(store)
    with store.write() as session:
        job = jobs.get(session, job_id)
        assert job.started_at is not None
        assert job.finished_at is not None
        job.started_at -= timedelta(seconds=500)
        job.finished_at -= timedelta(seconds=400)
    job = extend(store, job_id, trials=4)
    assert (job.state, job.finished_at, job.reason, job.searches) == (JobState.RUNNING, None, None, [[5, 2]])
    assert job.paused_s == pytest.approx(400, abs=5), "the time after its end does not count"
    assert job.verdict is not None, "until there is a better one"
    assert "extended: trials from 2 to 4; verdict and model are the earlier ones" in (job.note or "")
    with store.read() as session:
        assert files.package(session, job_id) == stored("first package").sha256
        assert jobs.model(session, job_id).candidate == candidate(1)

    third, fourth = take(store), take(store)
    assert [(new.number, new.index) for new in (third, fourth)] == [(5, 2), (6, 3)]
    assert reserve(store) is None
    for new in (third, fourth):
        propose(store, new, new.index)
        report(store, new, 1, accuracy=0.4)
    with store.read() as session:
        history = Replay(JobSpec.model_validate(job.spec)).read(session, job_id)
        shown = dashboard.dashboard(session, job_id, LEASE_S)
    assert [(seen.number, seen.candidate) for seen in history] == [(index, candidate(index)) for index in range(4)]
    assert (shown.progress.trials_planned, shown.progress.trials_finished) == (4, 2)
    assert shown.rows.phase == "search"
    assert shown.progress.fraction == 12 / (12 + 4 + 8 * 4), "the search's rest, and eight retrainings of four epochs"
    job = job_of(store, job_id)
    assert [(index_of(job, number), number_of(job, index)) for number, index in ((0, 0), (1, 1), (5, 2), (6, 3))] == [
        (0, 0),
        (1, 1),
        (2, 5),
        (3, 6),
    ]


def test_retrainings_that_are_there_are_used_again_and_the_model_is_replaced_at_the_end(store: Store) -> None:
    job_id = succeeded(store)
    extend(store, job_id, trials=3)
    run_trial(store, accuracy=0.1)
    epochs = job_of(store, job_id).final_epochs

    go_on(store, *(retraining(1, seed) for seed in range(2)), retraining(7, phase=Phase.CONTROL))
    with store.read() as session:
        assert [run.number for run in phases.finals(session, job_id)] == [2, 3, 6]
        assert dashboard.dashboard(session, job_id, LEASE_S).rows.phases["finalist"] == {"finished": 2, "planned": 2}
    assert retrain(store) == 6, "only the new one is trained"
    assert job_of(store, job_id).final_epochs == epochs + 2
    assert retrain_nothing(store)
    go_on(store, NewTrial(Phase.REPORT, 0))
    with store.read() as session:
        assert files.package(session, job_id) == stored("first package").sha256
    assert succeed(store, 1, "second package") == [stored("first package").sha256]
    with store.read() as session:
        assert files.package(session, job_id) == stored("second package").sha256
    job = job_of(store, job_id)
    assert job.verdict is not None
    assert (job.state, job.verdict["text"]) == (JobState.SUCCEEDED, "second package")
    tallies, rows = counted(store)
    assert tallies == rows


def retrain_nothing(store: Store) -> bool:
    return claim(store) is None


def test_a_round_in_which_nothing_is_new_is_planned_once(store: Store) -> None:
    job_id = succeeded(store)
    extend(store, job_id, trials=3)
    run_trial(store, accuracy=0.1)
    rows = [retraining(1, seed) for seed in range(2)]
    go_on(store, rows[0])
    with store.read() as session:
        seen = phases.standstill(session)
    assert seen is not None
    outcomes = []
    for _ in range(2):
        with store.write() as session:
            outcomes.append(phases.go_on(session, seen, [rows[1]]))
    assert outcomes == [True, False]
    with store.read() as session:
        assert [run.number for run in phases.finals(session, job_id)] == [2, 3]
    with store.write() as session:
        phases.fail(session, seen, "outdated")
    assert job_of(store, job_id).state == JobState.FINALIZING


def test_a_retraining_that_came_to_nothing_is_done_anew_with_another_seed(store: Store) -> None:
    job_id = add_job(store, trials=1)
    taken = take(store)
    propose(store, taken, 1)
    report(store, taken, 1, accuracy=0.5)
    finish(store, taken)
    go_on(store, *(retraining(1, seed) for seed in range(3)))
    retrain(store)
    job = extend(store, job_id, trials=2)  # two of the retrainings had not ended
    assert (job.state, job.searches) == (JobState.RUNNING, [[4, 1]])
    cancelled = [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.CANCELLED, TrialState.CANCELLED]
    assert states_of(store, job_id) == cancelled
    run_trial(store, accuracy=0.1)
    go_on(store, *(retraining(1, seed) for seed in range(3)), retraining(1, 0, epochs=3, phase=Phase.CONTROL))
    with store.read() as session:
        found = [(run.number, run.seed_index, run.state) for run in phases.finals(session, job_id)]
    queued = TrialState.QUEUED
    assert found == [(1, 0, TrialState.COMPLETE), (5, 3, queued), (6, 4, queued), (7, 0, queued)]


def test_one_with_fewer_epochs_is_not_used_again(store: Store) -> None:
    job_id = succeeded(store)
    extend(store, job_id, trials=3)
    run_trial(store, accuracy=0.1)
    go_on(store, retraining(1, 0, epochs=3), retraining(1, 1, epochs=2))
    with store.read() as session:
        assert [(run.seed_index, run.epochs) for run in phases.finals(session, job_id)] == [(1, 2), (2, 3)]


def test_a_paused_job_that_was_retraining_searches_when_it_is_resumed(store: Store) -> None:
    job_id = add_job(store, trials=1)
    run_trial(store)
    go_on(store, retraining(1))
    pause(store, job_id)
    job = extend(store, job_id, trials=2)
    assert (job.state, job.resumes) == (JobState.PAUSED, JobState.RUNNING)
    assert reserve(store) is None
    assert resume(store, job_id).state == JobState.RUNNING
    assert take(store).index == 1


def test_cancelled_and_infeasible_trials_do_not_count(store: Store) -> None:
    job_id = add_job(store, trials=3)
    finish(store, take(store))
    finish(store, take(store), TrialState.INFEASIBLE, reason=Reason.INFEASIBLE)
    take(store)
    cancel(store, job_id)
    job = extend(store, job_id, trials=4)
    assert (job.state, job.reason, job.failures_in_row) == (JobState.RUNNING, None, 0)
    taken = [take(store).index for _ in range(3)]
    assert taken == [3, 4, 5]
    assert reserve(store) is None, "four that came to their end, with the one of before"


def test_a_job_that_was_cancelled_while_it_was_prepared_is_prepared_then(store: Store) -> None:
    job_id = add_job(store, strategy="auto", options={"warm_start": 150})
    screenings = len(states_of(store, job_id))
    assert screenings >= 2
    finish(store, take(store))
    cancel(store, job_id)
    job = extend(store, job_id, trials=11)
    assert job.prepared == screenings + screenings - 1
    taken = [take(store) for _ in range(screenings - 1)]
    assert {new.phase for new in taken} == {Phase.SCREENING}
    assert sorted(new.seed_index for new in taken) == list(range(1, screenings))
    assert reserve(store) is None
    for new in taken:
        finish(store, new)
    assert take(store).index == 0


def test_a_job_that_never_began_begins_when_it_is_extended(store: Store) -> None:
    job_id = add_job(store, trials=2, seconds=60)
    cancel(store, job_id)
    extend(store, job_id, trials=3)
    assert take(store).deadline is not None
    assert job_of(store, job_id).started_at is not None


def test_the_best_of_the_search_is_what_further_trials_are_compared_with(store: Store) -> None:
    job_id = succeeded(store)
    with store.write() as session:
        session.execute(update(Job).values(best_trial=0))  # the winner of the retrainings was the other one
    assert extend(store, job_id, trials=3).best_trial == 1
    run_trial(store, accuracy=0.55)
    assert job_of(store, job_id).best_trial == 1


def test_an_extended_job_counts_as_open(store: Store) -> None:
    job_id = succeeded(store)
    add_job(store)
    with pytest.raises(TooMany):
        extend(store, job_id, 1, trials=3)
    assert extend(store, job_id, 2, trials=3).state == JobState.RUNNING
    assert extend(store, job_id, 2, trials=4).state == JobState.RUNNING, "it is open already"
