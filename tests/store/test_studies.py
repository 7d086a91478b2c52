"""The search trials of a job, read for a study and for a model of them."""

from dataclasses import replace
from typing import Any

import pytest

from nas.errors import InvalidInput, NotFound
from nas.search.strategy import Observation
from nas.search.study import Record
from nas.spec import JobSpec
from nas.store import jobs, studies
from nas.store.history import Replay
from nas.store.session import Store
from nas.store.states import Reason, TrialState
from tests.support import add_job, candidate, finish, propose, report, run_trial, take


def busy_job(store: Store) -> str:
    """A job with a trial of every kind: complete, pruned, diverged, running, and one without a candidate."""
    job_id = add_job(store, trials=10, epochs=3, objectives=["accuracy", "params"])
    for index, accuracy in enumerate((0.4, 0.8, 0.6)):
        taken = take(store)
        propose(store, taken, index)
        for number in range(1, 4 if index < 2 else 2):
            report(store, taken, number, accuracy + number / 100)
        finish(store, taken, TrialState.COMPLETE if index < 2 else TrialState.PRUNED)
    failed = take(store)
    propose(store, failed, 3)
    report(store, failed, 1, 0.9)
    finish(store, failed, TrialState.FAILED, reason=Reason.DIVERGED, error="the loss is not finite")
    running = take(store)
    propose(store, running, 4)
    report(store, running, 1, 0.3)
    take(store)
    return job_id


def test_pages_hold_every_search_trial_once_with_its_curve(store: Store) -> None:
    job_id = busy_job(store)
    found: list[Record] = []
    cursor = None
    while True:
        with store.read() as session:
            part = studies.page(session, job_id, 4, cursor)
        found += part.records
        cursor = part.next_cursor
        if cursor is None:
            break
    assert [record.index for record in found] == list(range(6))
    assert [record.state for record in found] == ["complete", "complete", "pruned", "failed", "running", "running"]
    assert dict(found[1].curve) == pytest.approx({1: 0.81, 2: 0.82, 3: 0.83})
    assert [len(record.curve) for record in found] == [3, 3, 1, 1, 1, 0]
    assert [record.candidate for record in found] == [*(candidate(index) for index in range(5)), None]
    assert found[0].costs["params"] == 1000
    assert found[0].finished is not None
    assert found[3].reason == "diverged"
    with store.read() as session:
        assert studies.page(session, job_id, 6, None).next_cursor is None


def test_retrainings_and_other_jobs_are_no_part_of_it(store: Store) -> None:
    busy_job(store)
    other = add_job(store, trials=1, epochs=3)
    with store.read() as session:
        assert studies.page(session, other, 10, None).records == ()


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "9" * 30, "²"])
def test_a_cursor_that_was_not_handed_out_is_refused(store: Store, cursor: str) -> None:
    job_id = add_job(store)
    with store.read() as session, pytest.raises(InvalidInput, match="cursor"):
        studies.page(session, job_id, 10, cursor)
    with store.read() as session, pytest.raises(NotFound):
        studies.page(session, "none", 10, None)


def test_what_is_observed_is_what_strategies_see(store: Store) -> None:
    job_id = busy_job(store)
    run_trial(store, 0.7)
    refused = take(store)
    propose(store, refused, 6)
    finish(store, refused, TrialState.INFEASIBLE, reason=Reason.INFEASIBLE, error="it has too many parameters")
    with store.read() as session:
        job = jobs.get(session, job_id)
        spec = JobSpec.model_validate(job.spec)
        seen = studies.observed(session, job, spec)
        networks = studies.candidates(session, job_id, spec, [one.number for _, one in seen])
        as_strategies_see: list[Observation[Any]] = [*Replay(spec).read(session, job_id)]
    assert [replace(one, candidate=None) for one in as_strategies_see] == [one for _, one in seen]
    assert {one.number: one.candidate for one in as_strategies_see} == networks
    found = [
        (one.number, str(state), one.finished, one.complete, one.epoch, one.score, one.infeasible, one.others)
        for state, one in seen
    ]
    assert found == [
        (0, "complete", True, True, 3, pytest.approx(0.43), False, (-1000.0,)),
        (1, "complete", True, True, 3, pytest.approx(0.83), False, (-1001.0,)),
        (2, "pruned", True, False, 1, pytest.approx(0.61), False, (-1002.0,)),
        (3, "failed", True, False, 1, None, False, ()),
        (4, "running", False, False, 1, pytest.approx(0.3), False, (-1004.0,)),
        (6, "complete", True, True, 3, pytest.approx(0.7), False, (-1007.0,)),
        (7, "infeasible", True, False, 0, None, True, ()),
    ]


def test_networks_are_read_whatever_their_number(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = busy_job(store)
    monkeypatch.setattr(studies, "AT_ONCE", 2)
    with store.read() as session:
        spec = JobSpec.model_validate(jobs.get(session, job_id).spec)
        found = studies.candidates(session, job_id, spec, [0, 1, 2, 3, 4, 5, 99])
    assert found == {index: candidate(index) for index in range(5)}
