"""Who had which trial when, on both databases."""

from collections.abc import Callable
from datetime import datetime

import pytest
from sqlalchemy.orm import Session

from nas.store import control, setbacks, trials
from nas.store.claims import Claim
from nas.store.figures import timeline
from nas.store.session import Store, now
from nas.store.states import TrialState
from tests.store.drawn import read, trials_of
from tests.store.scattered import scatter
from tests.support import (
    LONG_AGO,
    add_job,
    finish,
    hand_back,
    promote_in,
    propose,
    report,
    rungs_in,
    take,
    trial_of,
)


def test_a_worker_has_a_span_for_each_of_its_trials(store: Store) -> None:
    job_id = add_job(store)
    scatter(store, job_id, 100)
    rows = [row for row in trials_of(store, job_id) if row.started_at is not None]
    newest = sorted(rows, key=lambda row: row.started_at or LONG_AGO)[-30:]
    found = read(store, timeline, job_id, 30)
    assert found.total == len(rows)
    assert [(span.trial, span.phase, span.state) for span in found.spans] == [
        (row.number, row.phase, row.state) for row in newest
    ]
    assert [(span.worker, span.start, span.end) for span in found.spans] == [
        (row.owner, row.started_at, row.finished_at) for row in newest
    ]
    assert [span.trial for span in found.spans if span.end is None] == [
        row.number for row in newest if row.state == TrialState.RUNNING
    ]
    assert found.workers == tuple(dict.fromkeys(row.owner for row in newest))
    assert len(found.workers) == 4


Span = tuple[str, int, datetime, datetime | None]


def spans(store: Store, job_id: str, limit: int = 10) -> list[Span]:
    return [(one.worker, one.trial, one.start, one.end) for one in read(store, timeline, job_id, limit).spans]


@pytest.mark.parametrize("wait", [trials.pause, trials.hand_back])
def test_a_trial_that_waits_holds_nobody_up(store: Store, wait: Callable[[Session, Claim], None]) -> None:
    """However long it waits, and whoever goes on with it: each has a span for the time that they had it."""
    job_id = add_job(store, epochs=9, pruning="halving")
    expected: list[Span] = []
    for worker in ("ada", "bob"):
        with store.write() as session:
            taken = promote_in(session, rungs_in(session)[0], 0, worker) if expected and wait is trials.pause else None
        taken = taken or take(store, worker)
        begin = trial_of(store, taken.trial_id).began_at
        assert begin is not None
        assert spans(store, job_id) == [*expected, (worker, 0, begin, None)]
        if not expected:
            propose(store, taken, 0)
        report(store, taken, taken.epoch + 1)
        with store.read() as session:
            before = now(session)
        with store.write() as session:
            wait(session, taken)
        *earlier, (who, number, start, end) = spans(store, job_id)
        assert (earlier, who, number, start) == (expected, worker, 0, begin)
        with store.read() as session:
            assert end is not None
            assert before <= end <= now(session)
        expected = [*earlier, (who, number, start, end)]
    with store.write() as session:
        control.cancel(session, job_id)
    assert spans(store, job_id) == expected
    assert read(store, timeline, job_id, 10).workers == ("ada", "bob")
    assert spans(store, job_id, limit=1) == expected[-1:]


def test_a_trial_that_was_taken_and_never_begun_was_nobodys(store: Store) -> None:
    job_id = add_job(store)
    taken = take(store, "ada")
    with store.write() as session:
        setbacks.put_back(session, taken)
    assert spans(store, job_id) == []
    again = take(store, "bob")
    finish(store, again)
    [(worker, _, start, end)] = spans(store, job_id)
    row = trial_of(store, again.trial_id)
    assert (worker, start, end) == ("bob", row.began_at, row.finished_at)


def test_of_a_trial_that_is_given_back_without_end_the_last_spans_are_kept(store: Store) -> None:
    job_id = add_job(store)
    for number in range(53):
        hand_back(store, take(store, f"worker {number}"))
    assert [worker for worker, *_ in spans(store, job_id, 100)] == [f"worker {number}" for number in range(3, 53)]
