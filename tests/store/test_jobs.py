"""Jobs: created, read, listed."""

from collections.abc import Callable

import pytest
from sqlalchemy import select, update

from nas.complete import complete
from nas.errors import InvalidInput, NotFound
from nas.spec import JobSpec
from nas.store import control, jobs
from nas.store.session import Store
from nas.store.states import JobState, Phase, TrialState
from nas.store.tables import Dataset, Job, Tally
from tests.support import (
    LONG_AGO,
    add_dataset,
    add_job,
    job_of,
)


def test_a_new_job_waits_and_holds_its_whole_spec(store: Store) -> None:
    body = {"dataset": "squares", "name": "mine", "budget": {"trials": 7, "parallel": 2}}
    spec = complete(body, image=(1, 8, 8), images=64, outputs=2)
    dataset_id = add_dataset(store)
    with store.write() as session:
        job_id = jobs.create(session, spec, session.get_one(Dataset, dataset_id)).id
    job = job_of(store, job_id)
    assert JobSpec.model_validate(job.spec) == spec
    assert (job.state, job.name, job.dataset_id) == (JobState.QUEUED, "mine", dataset_id)
    batches = 3  # of candidates to screen: twenty for each trial
    assert (job.trials_planned, job.parallel, job.next_number, job.prepared) == (7 + batches, 2, batches, batches)
    assert (job.started_at, job.finished_at, job.reason, job.note, job.verdict) == (None,) * 5
    assert (job.best_trial, job.best_accuracy) == (None, None)
    with store.read() as session:
        tallies = session.execute(select(Tally.phase, Tally.state, Tally.count).where(Tally.job_id == job_id)).all()
    screened = (Phase.SCREENING, TrialState.QUEUED)
    expected = {(phase, state, batches if (phase, state) == screened else 0) for phase in Phase for state in TrialState}
    assert {tuple(row) for row in tallies} == expected


def test_jobs_have_ids_of_their_own(store: Store) -> None:
    assert len({add_job(store) for _ in range(20)}) == 20


@pytest.mark.parametrize("find", [jobs.get, control.cancel])
def test_a_job_that_is_not_there_is_named(store: Store, find: Callable[..., Job]) -> None:
    with store.write() as session, pytest.raises(NotFound, match="there is no job 'nope'; GET /v1/jobs lists them"):
        find(session, "nope")


def test_pages_go_from_the_newest_job_to_the_oldest(store: Store) -> None:
    ids = [add_job(store) for _ in range(7)]
    found: list[str] = []
    after = None
    while True:
        with store.read() as session:
            page = jobs.page(session, 3, after)
        found += [job.id for job in page]
        if len(page) < 3:
            break
        after = found[-1]
    assert found == ids[::-1]


def test_jobs_of_the_same_moment_stand_on_one_page_each(store: Store) -> None:
    ids = [add_job(store) for _ in range(5)]
    with store.write() as session:
        session.execute(update(Job).values(created_at=LONG_AGO))
    after, found = None, []
    for _ in range(5):
        with store.read() as session:
            (job,) = jobs.page(session, 1, after)
        after = job.id
        found.append(job.id)
    assert found == sorted(ids, reverse=True)
    with store.read() as session:
        assert jobs.page(session, 1, after) == []


def test_a_page_after_no_job_is_refused(store: Store) -> None:
    with (
        store.read() as session,
        pytest.raises(InvalidInput, match=r"^cursor: 'nope' is not possible: take next_cursor"),
    ):
        jobs.page(session, 3, "nope")


def test_a_page_holds_an_owners_jobs_only(store: Store) -> None:
    own, other = add_job(store), add_job(store)
    with store.write() as session:
        session.execute(update(Job).where(Job.id == other).values(owner="bob"))
    with store.read() as session:
        assert [job.id for job in jobs.page(session, 9, None, "local")] == [own]
        assert [job.id for job in jobs.page(session, 9, None)] == [other, own]
        for cursor in (other, "nope"):
            with pytest.raises(InvalidInput, match="take next_cursor from the page before"):
                jobs.page(session, 9, cursor, "local")
