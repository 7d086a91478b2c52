"""Jobs that are deleted, and what goes with them."""

import pytest
from sqlalchemy import select

from nas.errors import NotFound, NotReady
from nas.store import control, jobs, phases, trials
from nas.store.session import Store
from nas.store.states import JobState, Reason
from nas.store.tables import Artifact, Base, Trial
from tests.store.steering import cancel, delete, extend, pause, retraining, succeeded
from tests.support import (
    add_job,
    everything,
    job_of,
    run_trial,
    take,
)


def test_a_deleted_job_leaves_no_row_behind(store: Store) -> None:
    kept = succeeded(store)
    before = everything(store)
    job_id = succeeded(store)
    extend(store, job_id, trials=3)
    retried = take(store)
    with store.write() as session:
        trials.retry(session, retried, Reason.ERROR, "broken")
    with pytest.raises(NotReady, match=f"job {job_id} is running and cannot be deleted yet; cancel it first"):
        delete(store, job_id)
    cancel(store, job_id)
    with store.read() as session:
        own = select(Trial.id).where(Trial.job_id == job_id)
        expected = set(session.scalars(select(Artifact.sha256).where(Artifact.trial_id.in_(own))))
    assert expected
    assert set(delete(store, job_id)) == expected
    left = everything(store)
    assert left.pop("counters") != before.pop("counters"), "what only grows is of no job"
    assert left == before
    for what in (pause, cancel, delete, lambda s, j: extend(s, j, trials=9)):
        with pytest.raises(NotFound):
            what(store, job_id)
    assert job_of(store, kept).state == JobState.SUCCEEDED


def test_the_weights_that_a_transfer_started_from_are_named_as_well(store: Store) -> None:
    job_id = add_job(store)
    with store.write() as session:
        job = jobs.get(session, job_id)
        job.spec = job.spec | {"transfer": {"job": "gone", "candidate": {}, "weights": "f" * 64}}
    assert delete(store, job_id, force=True) == ["f" * 64]


def test_every_table_that_refers_to_a_job_or_a_trial_is_emptied_with_it() -> None:
    for parent, known in (("trials", control.OF_TRIALS), ("jobs", control.OF_JOBS)):
        referring = {
            table.name
            for table in Base.metadata.sorted_tables
            if any(key.column.table.name == parent for key in table.foreign_keys)
        }
        assert referring == {table.__tablename__ for table in known}


def test_a_job_that_is_deleted_while_it_is_moved_on_is_left_alone(store: Store) -> None:
    job_id = add_job(store, trials=1)
    run_trial(store)
    with store.read() as session:
        seen = phases.standstill(session)
    assert seen is not None
    delete(store, job_id, force=True)
    before = everything(store)
    with store.write() as session:
        assert not phases.go_on(session, seen, [retraining(0)])
        phases.fail(session, seen, "nothing")
        assert phases.end_paused(session, job_id) == []
    assert trials.reap(store) == 0
    assert everything(store) == before
