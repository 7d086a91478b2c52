"""What a poll costs: the same at every size, next to nothing where nothing has changed."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, text, update

from nas.store import control, jobs, trials, workers
from nas.store.dashboard import Dashboard, dashboard
from nas.store.session import Store, now
from nas.store.states import JobState, Phase, TrialState
from nas.store.tables import Incumbent, Job, Tally, Trial, Worker
from tests.store.cost import count_rows, plans, reading, rows_touched, selects
from tests.store.looks import register, retraining, show, train_supernet
from tests.store.steering import go_on
from tests.support import (
    LEASE_S,
    LONG_AGO,
    add_job,
    age,
    candidate,
    claim_in,
    digest,
    finish,
    propose,
    report,
    reserve_in,
    run_trial,
    take,
)

FRONT = 20
"""Of the last so many trials those that are complete make the Pareto set: five, whatever the number of trials."""


def again(store: Store, before: Dashboard) -> Dashboard:
    """The next poll."""
    with store.read() as session:
        return dashboard(session, before.rows.job.id, LEASE_S, before)


def later(before: Dashboard) -> Dashboard:
    """As if it had been read longer ago than a reason to wait holds."""
    return replace(before, waiting_at=before.waiting_at - timedelta(seconds=2))


def just_read(store: Store, before: Dashboard) -> Dashboard:
    """As if it had been read a moment ago, however slow the machine is."""
    with store.read() as session:
        return replace(before, waiting_at=now(session))


def add_trials(store: Store, job_id: str, count: int) -> None:
    """Finished trials of an old job, and three that run."""
    ended = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.PRUNED, TrialState.FAILED]
    with store.write() as session:
        job = jobs.get(session, job_id)
        states = [ended[number % len(ended)] for number in range(count - 3)] + [TrialState.RUNNING] * 3
        rows = [
            {
                "job_id": job_id,
                "number": number,
                "phase": Phase.SEARCH,
                "state": state,
                "candidate": {},
                "digest": f"{job_id}{number}",
                "epochs": 3,
                "epoch": 3,
                "accuracy": number / count,
                "params": number,
                "front": state == TrialState.COMPLETE and number >= count - FRONT,
                "created_at": LONG_AGO,
            }
            for number, state in enumerate(states)
        ]
        session.execute(insert(Trial), rows)
        for state in set(states):
            of = (Tally.job_id == job_id, Tally.phase == Phase.SEARCH, Tally.state == state)
            session.execute(update(Tally).where(*of).values(count=states.count(state)))
        session.add_all(
            Incumbent(job_id=job_id, number=number, at_s=number, accuracy=0.1 * number) for number in range(5)
        )
        job.state, job.started_at = JobState.RUNNING, LONG_AGO
        job.next_number, job.trials_planned, job.best_trial = count, count, 4


# --- the first time


def test_the_cost_does_not_grow_with_the_trials(store: Store) -> None:
    costs = []
    for count in (52, 2000):
        job_id = add_job(store, trials=count, objectives=["accuracy", "params"])
        add_trials(store, job_id, count)
        with reading(store) as statements:
            shown = show(store, job_id)
        assert sum(shown.rows.counts.values()) == count
        assert len(shown.rows.running) == 3
        assert len(shown.rows.pareto or ()) == 5
        costs.append((len(statements), count_rows(store, selects(statements))))
    assert costs[0] == costs[1]
    assert costs[0][0] <= 15


def test_all_that_a_dashboard_can_show_takes_few_questions(store: Store) -> None:
    add_job(store, trials=1, epochs=1, strategy="darts", objectives=["accuracy", "params"])
    job_id = job_of_supernet(store)
    with reading(store) as statements:
        shown = show(store, job_id)
    assert shown.rows.supernet is not None
    assert shown.rows.pareto
    assert shown.rows.phase == "finalist"
    assert len(statements) <= 25


def job_of_supernet(store: Store) -> str:
    """A one-shot job among its finalists; its id."""
    taken = train_supernet(store, 2)
    finish(store, taken)
    run_trial(store, epochs=1)
    go_on(store, retraining(Phase.FINALIST, 1))
    return taken.job_id


def test_an_index_leads_to_every_row_that_is_read(store: Store, backend: str) -> None:
    """Whether the database has looked at how its values are spread, or not."""
    job_id = add_job(store, trials=2000, objectives=["accuracy", "params"])
    add_trials(store, job_id, 2000)
    for analysed in (False, True):
        if analysed:
            with store.write() as session:
                session.execute(text("ANALYZE"))
        elif backend == "postgresql":
            continue  # it does so by itself
        with reading(store) as statements:
            show(store, job_id)
        about_trials = [found for found in statements if "FROM trials" in found[0]]
        assert len(about_trials) == 3  # the running ones, the best, and the Pareto set
        if backend == "sqlite":
            for plan in plans(store, about_trials):
                assert [step for step in plan if step.startswith("SCAN")] == []
                # by all of its columns: the number alone would lead to every trial of the job
                assert any("(job_id=? AND" in step for step in plan)
        else:
            assert max(rows_touched(store, about_trials)) <= 5


def test_what_is_shown_is_bounded(store: Store) -> None:
    job_id = add_job(store, trials=1000)
    add_trials(store, job_id, 500)
    with store.write() as session:
        session.execute(update(Trial).values(state=TrialState.RUNNING))
        session.add_all(Incumbent(job_id=job_id, number=number, at_s=number, accuracy=0.1) for number in range(5, 400))
    shown = show(store, job_id)
    assert len(shown.rows.running) == 100
    assert len(shown.rows.incumbents) == 200


def test_of_a_large_pareto_set_the_newest_members_are_shown(store: Store) -> None:
    job_id = add_job(store, trials=1000, objectives=["accuracy", "params"])
    add_trials(store, job_id, 500)
    with store.write() as session:
        session.execute(update(Trial).values(front=True))
    shown = show(store, job_id)
    assert [member.trial.number for member in shown.rows.pareto or ()] == list(range(499, 399, -1))


# --- the next time


def test_what_has_not_changed_is_not_read_again(store: Store) -> None:
    job_id = add_job(store, objectives=["accuracy", "params"])
    register(store, "ada", "bob")
    run_trial(store)
    report(store, take(store), 1)
    before = show(store, job_id)
    age_s = 100
    with reading(store) as statements:
        shown = again(store, before)
    questions = [found for found in selects(statements) if "clock_timestamp" not in found[0]]
    assert len(questions) == count_rows(store, questions) == 1
    assert shown.rows is before.rows
    assert shown.progress.elapsed_s > before.progress.elapsed_s
    assert replace(shown.progress, elapsed_s=0) == replace(before.progress, elapsed_s=0)
    age(store, job_id, age_s)  # a job that began earlier is another one, though nobody counted a change
    assert again(store, shown).progress.elapsed_s > before.progress.elapsed_s + age_s


def test_whatever_workers_do_is_read_again(store: Store) -> None:
    job_id = add_job(store, trials=2)
    shown = show(store, job_id)

    def changed() -> None:
        nonlocal shown
        before, shown = shown, again(store, shown)
        assert shown.rows is not before.rows
        now_read = show(store, job_id)
        assert (shown.rows.counts, shown.rows.phases) == (now_read.rows.counts, now_read.rows.phases)
        assert [trial.epoch for trial in shown.rows.running] == [trial.epoch for trial in now_read.rows.running]

    with store.write() as session:
        taken = reserve_in(session)
    assert taken is not None
    changed()
    propose(store, taken, 0)
    report(store, taken, 1)
    changed()
    with store.write() as session:
        trials.hand_back(session, taken)
    changed()
    with store.write() as session:
        taken = claim_in(session)
    assert taken is not None
    changed()
    finish(store, taken)
    changed()
    assert [found.number for found in shown.rows.incumbents] == [0]


def test_a_job_that_is_gone_is_not_found_though_it_was_read_before(store: Store) -> None:
    before = show(store, add_job(store))
    with store.write() as session:
        session.execute(delete(Tally))
        session.execute(delete(Job))
    with pytest.raises(Exception, match="there is no job"):
        again(store, before)


def test_why_a_job_waits_is_found_anew_when_a_worker_comes_and_after_a_second(store: Store) -> None:
    job_ids = [add_job(store) for _ in range(2)]
    shown = show(store, job_ids[1])
    assert reason(shown) == ("no_worker", None)
    register(store, "ada")
    shown = again(store, shown)
    assert reason(shown) == ("all_busy", 2)
    with store.write() as session:
        control.cancel(session, job_ids[0])
    assert reason(again(store, just_read(store, shown))) == ("all_busy", 2)  # of that no question was asked
    assert reason(again(store, later(shown))) == ("starting", 1)
    with store.write() as session:
        session.execute(update(Worker).values(seen_at=LONG_AGO))
    assert reason(again(store, shown)) == ("no_worker", None)


def reason(shown: Dashboard) -> tuple[str, int | None]:
    assert shown.waiting is not None
    return shown.waiting.reason, shown.waiting.position


def test_only_workers_on_its_device_count_for_what_is_left_of_a_job(store: Store) -> None:
    left: dict[str, Any] = {}
    for device in ("any", "cpu", "gpu"):
        job_id = add_job(store, device=device)
        with store.write() as session:
            taken = reserve_in(session, device="cuda" if device == "gpu" else "cpu")
        assert taken is not None
        assert taken.job_id == job_id
        report(store, taken, 1)
        left[device] = show(store, job_id)
    with store.write() as session:
        for name, device in (("ada", "cpu"), ("bob", "cuda"), ("eve", "cuda:1")):
            workers.register(session, name, device)
    left_s = {device: again(store, shown).progress.eta_s or 0 for device, shown in left.items()}
    assert left_s["any"] * 3 == pytest.approx(left_s["cpu"]) == pytest.approx(left_s["gpu"] * 2)


def test_a_best_network_and_its_front_are_read_without_the_candidates_of_others(store: Store) -> None:
    job_id = add_job(store, objectives=["accuracy", "params"], epochs=1)
    for number in range(3):
        taken = take(store)
        with store.write() as session:
            trials.set_candidate(session, taken, candidate(number), digest(number), trials.Costs(9 - number, 1))
        report(store, taken, 1, 0.9 - number / 10)
        finish(store, taken)
    with reading(store) as statements:
        shown = show(store, job_id)
    assert len(shown.rows.pareto or ()) == 3
    with_candidate = [statement for statement, _ in statements if "candidate" in statement]
    assert len(with_candidate) == 1
