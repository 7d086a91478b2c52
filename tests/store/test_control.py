"""Jobs that are paused, resumed, cancelled and changed while workers are at them."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from nas.errors import IllegalTransition, LeaseLost, NotFound, TooMany
from nas.spec import JobSpec
from nas.store import budget, control, dashboard, files, jobs, phases, queue, retrains, trials
from nas.store.session import Store, now
from nas.store.states import ENDED_JOB, JobState, Phase, TrialState, standing
from nas.store.tables import Dataset, Incumbent
from tests.store.losing import WRITES
from tests.store.steering import cancel, delete, extend, go_on, pause, resume, retraining, succeeded
from tests.store.test_phases import reporting
from tests.support import (
    LEASE_S,
    add_dataset,
    add_job,
    add_queued,
    age,
    claim,
    counted,
    digest,
    everything,
    expire,
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


def test_a_paused_job_gives_its_running_trials_back_free_and_with_what_they_have(store: Store) -> None:
    job_id = add_job(store)
    taken = take(store)
    propose(store, taken, 0)
    report(store, taken, 1)

    job = pause(store, job_id)

    assert (job.state, job.resumes) == (JobState.PAUSED, JobState.RUNNING)
    row = trial_of(store, taken.trial_id)
    assert (row.state, row.losses, row.epoch, row.owner, row.lease_until) == (TrialState.QUEUED, 0, 1, None, None)
    assert job_of(store, job_id).reasons == {"preempted": [0, 1]}
    with store.read() as session:
        assert files.artifact(session, row.id, "checkpoint") is not None
    tallies, rows = counted(store)
    assert tallies == rows


@pytest.mark.parametrize("what", [pause, lambda store, job_id: delete(store, job_id, force=True)])
def test_the_worker_of_a_job_that_is_paused_or_deleted_writes_nothing(store: Store, what: Any) -> None:
    job_id = add_job(store)
    lost = take(store)
    propose(store, lost, 0)
    report(store, lost, 1)
    what(store, job_id)
    before = everything(store)
    for name, write in WRITES.items():
        with pytest.raises(LeaseLost):
            write(store, lost)
        assert everything(store) == before, name


def test_nothing_of_a_paused_job_is_taken_or_moved_on(store: Store) -> None:
    job_id = add_job(store, trials=3, parallel=3)
    taken = [take(store) for _ in range(2)]
    finish(store, taken[0])
    pause(store, job_id)
    assert (claim(store), reserve(store)) == (None, None)
    with store.read() as session:
        found = queue.survey(session, "cpu")
        assert (found.offers, found.ripe, phases.standstill(session)) == ((), (), None)
    expire(store)
    assert trials.reap(store) == 0
    resume(store, job_id)
    assert take(store).trial_id == taken[1].trial_id
    assert take(store).number == 2


def test_a_paused_trial_of_a_paused_job_stays_where_it_is(store: Store) -> None:
    job_id = add_job(store, trials=1, pruning={"method": "halving", "first": 1})
    taken = take(store)
    propose(store, taken, 0)
    report(store, taken, 1)
    with store.write() as session:
        trials.pause(session, taken)
    pause(store, job_id)
    with store.write() as session:
        assert phases.leftover(session) is None
        assert phases.end_paused(session, job_id) == []
    assert states_of(store, job_id) == [TrialState.PAUSED]


def test_a_job_resumes_in_the_state_that_it_was_paused_in(store: Store) -> None:
    job_id = add_job(store, trials=1)
    for state in (JobState.QUEUED, JobState.RUNNING, JobState.FINALIZING):
        if state == JobState.RUNNING:
            taken = take(store)
        elif state == JobState.FINALIZING:
            finish(store, taken)
            go_on(store, retraining(0))
        assert standing(pause(store, job_id)) == state
        paused = pause(store, job_id)
        assert (paused.state, paused.resumes) == (JobState.PAUSED, state), "a second time changes nothing"
        resumed = resume(store, job_id)
        assert (resumed.state, resumed.resumes, resumed.paused_at) == (state, None, None)
        before = everything(store)
        assert resume(store, job_id).state == state
        assert everything(store) == before
        if state == JobState.RUNNING:
            taken = take(store)


@pytest.mark.parametrize("what", [pause, resume])
def test_what_has_ended_or_is_not_there_is_neither_paused_nor_resumed(store: Store, what: Any) -> None:
    job_id = add_job(store)
    cancel(store, job_id)
    with pytest.raises(IllegalTransition, match=f"job {job_id} is cancelled; it cannot become"):
        what(store, job_id)
    with pytest.raises(NotFound, match="there is no job 'nope'"):
        what(store, "nope")


def test_the_clock_of_a_paused_job_stands(store: Store) -> None:
    job_id = add_job(store, seconds=100, trials=4)
    finish(store, take(store))
    age(store, job_id, 20)
    pause(store, job_id)
    with store.write() as session:
        job = jobs.get(session, job_id)
        assert job.started_at is not None
        assert job.paused_at is not None
        job.started_at -= timedelta(seconds=1000)  # it was paused a thousand seconds ago
        job.paused_at -= timedelta(seconds=1000)
    with store.read() as session:
        shown = dashboard.dashboard(session, job_id, LEASE_S)
    assert 20 <= shown.progress.elapsed_s < 25
    assert shown.progress.eta_s is None
    job = resume(store, job_id)
    assert job.paused_s == pytest.approx(1000, abs=5)
    with store.read() as session:
        assert 20 <= dashboard.dashboard(session, job_id, LEASE_S).progress.elapsed_s < 25
        spec = JobSpec.model_validate(job.spec)
        deadline = budget.search_deadline(session, job, spec, LEASE_S)
        left_s = (deadline - now(session)).total_seconds() if deadline else 0
    assert left_s == pytest.approx(30, abs=5), "half of 100 s, of which 20 are gone"
    second = run_trial(store)
    with store.read() as session:
        at_s = session.scalars(select(Incumbent.at_s).where(Incumbent.number == second.number)).one()
    assert at_s < 25


def test_a_job_that_is_paused_before_it_begins_has_lost_no_time(store: Store) -> None:
    job_id = add_job(store, seconds=100)
    pause(store, job_id)
    with store.write() as session:
        job = jobs.get(session, job_id)
        assert job.paused_at is not None
        job.paused_at -= timedelta(seconds=1000)
    resume(store, job_id)
    taken = take(store)
    started = job_of(store, job_id).started_at
    assert started is not None
    assert taken.deadline == started + timedelta(seconds=50)


def test_a_paused_job_can_be_cancelled(store: Store) -> None:
    job_id = add_job(store)
    taken = take(store)
    report(store, taken, 1)
    pause(store, job_id)
    job = cancel(store, job_id)
    assert (job.state, job.resumes, job.paused_at) == (JobState.CANCELLED, None, None)
    assert states_of(store, job_id) == [TrialState.CANCELLED]
    with store.write() as session:
        assert control.drop_checkpoints(session, job_id) == [stored(f"{taken.trial_id}.1").sha256]
        assert control.drop_checkpoints(session, job_id) == []


def test_a_retraining_of_a_paused_job_waits(store: Store) -> None:
    job_id = succeeded(store)
    extend(store, job_id, trials=3)
    pause(store, job_id)
    with store.write() as session:
        retrains.ask(session, job_id, 0)
    assert claim(store) is None
    resume(store, job_id)
    found = claim(store)
    assert found is not None
    assert found.phase == Phase.RETRAIN


# --- cancelled


def test_a_cancelled_job_takes_its_trials_with_it(store: Store) -> None:
    job_id = add_job(store, trials=4)
    done, running = run_trial(store), take(store)
    add_queued(store, job_id, 2)
    other = add_job(store, trials=1)
    with store.write() as session:
        assert control.cancel(session, job_id).state == JobState.CANCELLED
    job = job_of(store, job_id)
    assert (job.state, job.reason) == (JobState.CANCELLED, "cancelled by the user")
    assert job.finished_at is not None
    assert states_of(store, job_id) == [TrialState.COMPLETE] + [TrialState.CANCELLED] * 3
    assert trial_of(store, running.trial_id).finished_at is not None
    assert trial_of(store, done.trial_id).state == TrialState.COMPLETE
    assert job_of(store, other).state == JobState.QUEUED
    tallies, found = counted(store)
    assert tallies == found
    assert claim(store) is None
    with pytest.raises(LeaseLost):
        report(store, running, 1)


def test_cancelling_again_changes_nothing(store: Store) -> None:
    job_id = add_job(store)
    take(store)
    with store.write() as session:
        control.cancel(session, job_id)
    before = everything(store)
    with store.write() as session:
        assert control.cancel(session, job_id).state == JobState.CANCELLED
    assert everything(store) == before


def test_a_job_that_has_succeeded_cannot_be_cancelled(store: Store) -> None:
    final = reporting(store)
    with store.write() as session:
        phases.succeed(session, final, {"won": True}, stored("package"), digest(1))
    before = everything(store)
    with (
        pytest.raises(IllegalTransition, match=f"job {final.job_id} is succeeded; it cannot become cancelled"),
        store.write() as session,
    ):
        control.cancel(session, final.job_id)
    assert everything(store) == before


def test_threads_that_cancel_and_train_at_once_leave_a_cancelled_job(store: Store) -> None:
    job_id = add_job(store, trials=30)
    taken = [take(store) for _ in range(6)]

    def work(index: int) -> None:
        if index == 6:
            with store.write() as session:
                control.cancel(session, job_id)
            return
        try:
            for number in range(1, 6):
                report(store, taken[index], number)
            finish(store, taken[index])
        except LeaseLost:
            return

    together(7, work)
    assert job_of(store, job_id).state == JobState.CANCELLED
    assert set(states_of(store, job_id)) <= {TrialState.CANCELLED, TrialState.COMPLETE}
    tallies, found = counted(store)
    assert tallies == found


# --- how many may be open


def test_at_once_no_more_jobs_are_admitted_than_an_owner_may_have(store: Store) -> None:
    dataset = add_dataset(store)
    spec = JobSpec(dataset="squares")

    def ask(index: int) -> bool:
        try:
            with store.write() as session:
                control.admit(session, "ada", 3)
                jobs.create(session, spec, session.get_one(Dataset, dataset), "ada")
        except TooMany:
            return False
        return True

    assert sum(together(8, ask)) == 3
    with store.write() as session:
        control.admit(session, "bob", 3)
        control.admit(session, "ada", 0)
        with pytest.raises(TooMany, match="3 jobs of ada wait or run, and 3 may") as caught:
            control.admit(session, "ada", 3)
    assert caught.value.retry_after_s > 0


def test_a_paused_job_makes_room_and_needs_it_again(store: Store) -> None:
    first, _ = add_job(store), add_job(store)
    with store.write() as session, pytest.raises(TooMany):
        control.admit(session, "local", 2)
    pause(store, first)
    with store.write() as session:
        control.admit(session, "local", 2)
    with pytest.raises(TooMany):
        resume(store, first, 1)
    assert job_of(store, first).state == JobState.PAUSED
    assert resume(store, first, 2).state == JobState.QUEUED
    assert resume(store, first, 1).state == JobState.QUEUED, "nothing changes, so nothing is refused"


# --- change


def test_a_name_and_a_priority_change_in_any_state(store: Store) -> None:
    job_id = add_job(store, name="old")
    for state in (JobState.QUEUED, JobState.CANCELLED):
        version = job_of(store, job_id).version
        with store.write() as session:
            control.change(session, job_id, {"name": None, "priority": 7} if state in ENDED_JOB else {"priority": 3})
        job = job_of(store, job_id)
        assert job.version > version
        assert (job.name, job.priority) == (job.spec["name"], job.spec["priority"])
        cancel(store, job_id)
    assert (job.name, job.priority) == (None, 7)
