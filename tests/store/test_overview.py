"""The list of jobs: what it says of each, how jobs are found in it, and what it costs."""

from collections.abc import Callable

import pytest
from sqlalchemy import update

from nas.store import control, jobs, trials, workers
from nas.store.overview import Overview, overviews
from nas.store.session import Store
from nas.store.states import JobState, Phase
from nas.store.tables import Dataset, Job
from tests.store.cost import count_rows, plans, reading, selects
from tests.store.looks import register, retraining, show, train_supernet
from tests.store.scattered import add_incumbents
from tests.store.steering import extend, go_on, succeeded
from tests.support import (
    LEASE_S,
    add_dataset,
    add_job,
    age,
    propose,
    report,
    reserve_in,
    run_trial,
    take,
)


def listed(store: Store) -> dict[str, Overview]:
    with store.read() as session:
        return {found.job.id: found for found in overviews(session, jobs.page(session, 500, None), LEASE_S)}


def found(store: Store, *states: JobState, words: str = "", limit: int = 500, after: str | None = None) -> list[str]:
    with store.read() as session:
        return [job.id for job in jobs.page(session, limit, after, states=states, words=words)]


# --- what it says of a job


def queued(store: Store) -> None:
    add_job(store)


def searching(store: Store) -> None:
    add_job(store)
    run_trial(store)
    report(store, take(store), 2)


def halving(store: Store) -> None:
    add_job(store, pruning="halving", epochs=9)
    for number in range(2):
        taken = take(store)
        propose(store, taken, number)
        report(store, taken, 1)


def promoted(store: Store) -> None:
    add_job(store, trials=1, pruning="halving", epochs=9)
    taken = take(store)
    propose(store, taken, 0)
    with store.write() as session:
        trials.advance_stage(session, taken, 9)
    for number in range(1, 5):
        report(store, taken, number)


def with_supernet(store: Store) -> None:
    add_job(store, epochs=27, strategy="darts", options={"epochs": 20})
    train_supernet(store, 2)


def finals(store: Store) -> None:
    add_job(store, trials=1, epochs=1)
    run_trial(store, epochs=1)
    go_on(store, retraining(Phase.FINALIST, 1), retraining(Phase.FINALIST, 1, 1), retraining(Phase.CONTROL, 2))
    report(store, take(store), 2)


def ended(store: Store) -> None:
    succeeded(store)


def searching_again(store: Store) -> None:
    extend(store, succeeded(store), trials=5)
    run_trial(store)


def finals_again(store: Store) -> None:
    extend(store, succeeded(store), trials=3)
    run_trial(store)
    go_on(store, retraining(Phase.FINALIST, 5), retraining(Phase.FINALIST, 5, 1))
    report(store, take(store), 1)


def cancelled(store: Store) -> None:
    job_id = add_job(store)
    run_trial(store)
    take(store)
    with store.write() as session:
        control.cancel(session, job_id)


def by_the_clock(store: Store) -> None:
    register(store, "ada", "bob")
    job_id = add_job(store, seconds=1000)
    run_trial(store)
    age(store, job_id, 400)


def on_a_gpu(store: Store) -> None:
    register(store, "ada")
    with store.write() as session:
        workers.register(session, "bob", "cuda")
    job_id = add_job(store, seconds=10_000, device="gpu", epochs=100)
    with store.write() as session:
        taken = reserve_in(session, device="cuda")
    assert taken is not None
    report(store, taken, 1)
    age(store, job_id, 400)


STAGES: tuple[Callable[[Store], None], ...] = (
    queued,
    searching,
    halving,
    promoted,
    with_supernet,
    finals,
    ended,
    searching_again,
    finals_again,
    cancelled,
    by_the_clock,
    on_a_gpu,
)


@pytest.mark.parametrize("stage", STAGES)
def test_a_list_says_of_a_job_what_its_dashboard_says(store: Store, stage: Callable[[Store], None]) -> None:
    stage(store)
    add_job(store, trials=1)
    shown = listed(store)
    assert len(shown) == 2
    for job_id, overview in shown.items():
        dashboard = show(store, job_id)
        assert (overview.metric, overview.phase) == (dashboard.rows.metric, dashboard.rows.phase)
        by_time = overview.job.spec["budget"]["seconds"] is not None  # which has gone on between the two
        assert overview.fraction == pytest.approx(dashboard.progress.fraction, rel=0, abs=0.002 if by_time else 1e-12)
        assert overview.spark == [incumbent.accuracy for incumbent in dashboard.rows.incumbents]
    fractions = [overview.fraction for overview in shown.values()]
    assert min(fractions) == 0.0
    assert max(fractions) > 0.0 or stage is queued


def test_a_score_is_named_by_the_task_of_its_data(store: Store) -> None:
    names = {}
    for task in ("single_label", "multi_label", "regression"):
        with store.write() as session:
            session.execute(update(Dataset).values(name="other", owner=task).where(Dataset.name == "squares"))
        job_id = add_job(store)
        with store.write() as session:
            session.execute(update(Dataset).values(task=task).where(Dataset.name == "squares"))
        names[job_id] = {"single_label": "accuracy", "multi_label": "map", "regression": "r2"}[task]
    assert {job_id: overview.metric for job_id, overview in listed(store).items()} == names
    assert {job_id: show(store, job_id).rows.metric for job_id in names} == names


def test_a_sparkline_goes_from_the_first_incumbent_to_the_best(store: Store) -> None:
    small, large, none = (add_job(store) for _ in range(3))
    add_incumbents(store, small, 7)
    add_incumbents(store, large, 200)
    shown = listed(store)
    assert shown[small].spark == [number / 7 for number in range(7)]
    assert shown[none].spark == []
    line = shown[large].spark
    assert len(line) == 30
    assert line == sorted(set(line))
    assert (line[0], line[-1]) == (0, 199 / 200)


def test_a_list_of_many_jobs_takes_as_many_questions_as_one_of_two(store: Store, backend: str) -> None:
    costs = []
    add_job(store, trials=1)
    for count in (1, 19):
        for _ in range(count):
            add_job(store, trials=3, objectives=["accuracy", "params"])
            run_trial(store, epochs=1)
            report(store, take(store), 1)
        with reading(store) as statements:
            shown = listed(store)
        costs.append(len(statements))
        assert len(shown) == {1: 2, 19: 21}[count]
        # of each job few rows: itself, its tallies, its incumbents, what runs
        assert count_rows(store, selects(statements)) <= 15 * len(shown) + 5
        if backend == "sqlite":
            about_trials = [asked for asked in statements if "FROM trials" in asked[0]]
            steps = [step for plan in plans(store, about_trials) for step in plan]
            assert [step for step in steps if step.startswith("SCAN")] == []
    assert costs[0] == costs[1] <= 10


def test_a_list_of_no_jobs_asks_nothing(store: Store) -> None:
    with store.read() as session, reading(store) as statements:
        assert overviews(session, [], LEASE_S) == []
    assert statements == []


# --- finding jobs


def test_jobs_are_found_by_their_states(store: Store) -> None:
    running, waiting, gone = add_job(store), add_job(store), add_job(store)
    with store.write() as session:
        control.cancel(session, gone)
    take(store)
    assert found(store) == [gone, waiting, running]
    assert found(store, JobState.RUNNING) == [running]
    assert found(store, JobState.CANCELLED, JobState.QUEUED) == [gone, waiting]
    assert found(store, JobState.FAILED) == []


def test_jobs_are_found_by_id_name_data_set_and_strategy(store: Store) -> None:
    plain = add_job(store)
    named = add_job(store, name="Äpfel & 100 % Birnen_1")
    evolved = add_job(store, strategy="evolution", name="x")
    other = add_dataset(store, "Waldtiere")
    with store.write() as session:
        session.execute(update(Job).where(Job.id == plain).values(dataset_id=other))
    for words, expected in {
        "": [evolved, named, plain],
        plain[2:9].upper(): [plain],
        "äPFEL": [named],
        "ÄPFEL &": [named],
        "birnen_": [named],
        "100 %": [named],
        "WALD": [plain],
        "squares": [evolved, named],
        "Evolution": [evolved],
        "random": [named, plain],
        "%": [named],
        "_": [named],
        "\\": [],
        "'": [],
        "nothing like it": [],
    }.items():
        assert found(store, words=words) == expected, words


def test_what_is_found_comes_in_pages_that_cost_the_same(store: Store) -> None:
    wanted = [add_job(store, name=f"wanted {number}") for number in range(9)]
    for _ in range(3):
        add_job(store, name="other")
    for job_id in wanted[::2]:
        with store.write() as session:
            control.cancel(session, job_id)
    for states, expected in (((), wanted[::-1]), ((JobState.CANCELLED,), wanted[::-2])):
        pages: list[str] = []
        costs = []
        while not pages or len(pages) % 2 == 0:
            with reading(store) as statements:
                page = found(store, *states, words="WANTED", limit=2, after=pages[-1] if pages else None)
            costs.append(len(statements))
            pages += page
        assert pages == expected
        assert len(set(costs[1:])) == 1


def test_a_later_page_is_of_the_owners_jobs_alone(store: Store) -> None:
    mine, other = add_job(store), add_job(store)
    with store.write() as session:
        session.execute(update(Job).where(Job.id == other).values(owner="bob"))
        assert [job.id for job in jobs.page(session, 5, None, "local", words="squares")] == [mine]
        assert [job.id for job in jobs.page(session, 5, None, "bob", states=[JobState.QUEUED])] == [other]
