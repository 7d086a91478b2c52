"""What is written of attempts that came to a bad end, and of trials that begin anew."""

import pytest
from sqlalchemy import select

from nas.errors import LeaseLost
from nas.store import moves, setbacks, trials
from nas.store.session import Store
from nas.store.setbacks import MAX_ERROR_CHARS, SHOWN, tidy
from nas.store.states import Phase, Reason, TrialState
from nas.store.tables import Epoch, Setback
from tests.support import add_job, add_queued, counted, expire, job_of, propose, report, reserve, take, trial_of


def test_any_error_can_be_stored_and_keeps_its_beginning_and_its_end(store: Store) -> None:
    job_id = add_job(store)
    taken = take(store)
    error = "Traceback\x00 of \ud800\n" + "x" * 100_000 + "\nValueError: é"
    with store.write() as session:
        setbacks.record(session, taken, Reason.ERROR, error)
    trial = trial_of(store, taken.trial_id)
    assert trial.error is not None
    assert trial.error.startswith("Traceback\\x00 of \\ud800\nxxx")
    assert trial.error.endswith("xxx\nValueError: é")
    assert "characters are left out" in trial.error
    assert len(trial.error) < MAX_ERROR_CHARS + 100
    with store.read() as session:
        [setback] = setbacks.newest(session, trial.id)
    assert (setback.attempt, setback.reason, setback.again, setback.worker) == (1, "error", False, "worker")
    assert setback.error == trial.error
    assert job_of(store, job_id).reasons == {"error": [1, 0]}


def test_a_short_error_stays_as_it_is() -> None:
    assert tidy("Traceback\nValueError: é\n") == "Traceback\nValueError: é\n"
    assert tidy("x" * MAX_ERROR_CHARS) == "x" * MAX_ERROR_CHARS


@pytest.mark.parametrize(
    ("reason", "search", "final"),
    [
        (Reason.PREEMPTED, [True] * 5, [True] * 5),
        (Reason.OUT_OF_MEMORY, [True, False], [True, False]),
        (Reason.DIVERGED, [False], [False]),
        (Reason.DISK_FULL, [False], [True, True, False]),
        (Reason.ERROR, [False], [True, True, False]),
    ],
)
def test_each_reason_has_its_number_of_tries(
    store: Store, reason: Reason, search: list[bool], final: list[bool]
) -> None:
    for phase, expected in ((Phase.SEARCH, search), (Phase.FINALIST, final)):
        job_id = add_job(store, trials=1)
        if phase == Phase.FINALIST:
            add_queued(store, job_id, 1)
        found = []
        for _ in expected:
            taken = take(store)
            assert taken.phase == phase
            with store.write() as session:
                setbacks.record(session, taken, reason, "why")
            found.append(trial_of(store, taken.trial_id).state == TrialState.QUEUED)
        assert found == expected
        ended = sum(not again for again in expected)
        assert job_of(store, job_id).reasons == {reason: [ended, len(expected) - ended]}
        with store.read() as session:
            shown = setbacks.newest(session, taken.trial_id)
        assert [(row.attempt, row.again) for row in shown] == list(enumerate(expected, start=1))
        with store.write() as session:
            if found[-1]:
                moves.fail(session, moves.locked(session, job_id), "the test is through")
            else:
                session.get_one(type(job_of(store, job_id)), job_id).search_over = True


def test_the_newest_setbacks_are_shown_the_newest_last(store: Store) -> None:
    add_job(store)
    for attempt in range(1, SHOWN + 3):
        taken = take(store)
        assert taken.attempt == attempt
        with store.write() as session:
            setbacks.record(session, taken, Reason.PREEMPTED, f"note {attempt}")
    with store.read() as session:
        shown = setbacks.newest(session, taken.trial_id)
        assert len(session.scalars(select(Setback)).all()) == SHOWN + 2
    assert [row.error for row in shown] == [f"note {attempt}" for attempt in range(3, SHOWN + 3)]


def test_a_trial_that_is_put_back_leaves_no_trace_but_its_attempt(store: Store) -> None:
    job_id = add_job(store)
    taken = take(store)
    version = job_of(store, job_id).version
    with store.write() as session:
        setbacks.put_back(session, taken)
    trial, job = trial_of(store, taken.trial_id), job_of(store, job_id)
    assert (trial.state, trial.owner, trial.lease_until, trial.losses) == (TrialState.QUEUED, None, None, 0)
    assert (job.reasons, job.version) == (None, version + 1)
    tallies, found = counted(store)
    assert tallies == found
    assert take(store).attempt == 2


def test_a_trial_that_begins_anew_takes_its_epochs_back_and_keeps_where_it_was_compared(store: Store) -> None:
    halving = {"method": "halving", "first": 1, "eta": 3}
    job_id = add_job(store, trials=3, epochs=9, pruning=halving)
    other = take(store)
    propose(store, other, 0)
    report(store, other, 1)
    taken = reserve(store)
    assert taken is not None
    propose(store, taken, 1)
    report(store, taken, 1, 0.7)
    with store.write() as session:
        trials.advance_stage(session, taken, 3)
    report(store, taken, 2)
    report(store, taken, 3, 0.8)
    before = job_of(store, job_id)
    assert (before.search_epochs, before.train_seconds) == (4, 8.0)
    with store.write() as session:
        again = setbacks.restart(session, taken)
    trial, job = trial_of(store, taken.trial_id), job_of(store, job_id)
    assert (again.epoch, again.stage, again.attempt) == (0, 3, taken.attempt)
    assert (trial.epoch, trial.accuracy, trial.stage, trial.rungs) == (0, None, 3, [[1, 0.7]])
    assert (job.search_epochs, job.train_seconds, job.version) == (1, 2.0, before.version + 1)
    assert trial.changed == job.version
    for number in (1, 2, 3):
        report(store, again, number, 0.1 * number)
    trial = trial_of(store, taken.trial_id)
    assert [at for at, _ in trial.rungs or []] == [1, 3]
    with store.read() as session:
        rows = session.scalars(select(Epoch.epoch).where(Epoch.trial_id == trial.id).order_by(Epoch.epoch)).all()
    assert rows == [1, 2, 3]
    assert job_of(store, job_id).search_epochs == 4


@pytest.mark.parametrize("name", ["record", "put_back", "restart"])
def test_a_worker_that_lost_its_lease_writes_nothing(store: Store, name: str) -> None:
    add_job(store)
    taken = take(store)
    report(store, taken, 1)
    expire(store)
    trials.reap(store)
    take(store)
    before = trial_of(store, taken.trial_id)
    more = (Reason.ERROR, "late") if name == "record" else ()
    with pytest.raises(LeaseLost), store.write() as session:
        getattr(setbacks, name)(session, taken, *more)
    after = trial_of(store, taken.trial_id)
    assert (after.state, after.attempt, after.epoch, after.error) == (before.state, 2, 1, None)
