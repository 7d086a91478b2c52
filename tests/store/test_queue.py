"""Whose turn it is: by priority, then fairly between owners, and between the jobs of each."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Event

import pytest
import torch
from sqlalchemy import event, update

from nas.settings import Settings
from nas.store import claims, control, jobs, queue, trials
from nas.store.artifacts import ArtifactStore
from nas.store.claims import Claim
from nas.store.leases import Lease
from nas.store.queue import Standing
from nas.store.session import Store, now
from nas.store.states import JobState, Reason, TrialState, advance
from nas.store.tables import Job
from tests.store.looking import offered, serve, survey
from tests.support import (
    LEASE_S,
    add_job,
    add_queued,
    claim_in,
    finish,
    job_of,
    reserve_in,
    run_trial,
    take,
)
from worker.context import Context
from worker.lease import Heartbeat
from worker.step import step


def owned(store: Store, owner: str, **spec: object) -> str:
    """A job of an owner; its id."""
    job_id = add_job(store, **spec)  # type: ignore[arg-type]
    with store.write() as session:
        session.execute(update(Job).where(Job.id == job_id).values(owner=owner))
    return job_id


# --- turns


def test_a_higher_priority_is_served_first_however_much_it_has(store: Store) -> None:
    low, high = owned(store, "ada", priority=-1), owned(store, "ada", trials=5, priority=7)
    usual = owned(store, "bob")
    assert offered(store) == [high, usual, low]
    assert [taken.job_id for taken in islice(iter(lambda: take(store), None), 5)] == [high] * 5
    assert offered(store) == [usual, low]


def test_one_worker_serves_owners_in_turn_and_each_ones_jobs_in_turn(store: Store) -> None:
    ada = [owned(store, "ada") for _ in range(3)]
    bob = [owned(store, "bob")]
    assert [run_trial(store).job_id for _ in range(8)] == [
        ada[0], bob[0], ada[1], bob[0], ada[2], bob[0], ada[0], bob[0],
    ]  # fmt: skip


def test_an_owner_is_not_served_first_for_every_new_job(store: Store) -> None:
    """Otherwise whoever adds many small jobs would be served before whoever has a large one, each time."""
    large = owned(store, "bob", trials=50)
    served = []
    for _ in range(6):
        owned(store, "ada", trials=1)
        served.append(run_trial(store).job_id == large)
    assert served == [True, False] * 3


def test_a_job_of_an_ended_search_still_counts_for_when_its_owner_was_served(store: Store) -> None:
    first, other = owned(store, "ada", trials=1), owned(store, "bob")
    second = owned(store, "ada")
    assert run_trial(store).job_id == first
    with store.write() as session:
        control.cancel(session, first)
    assert [run_trial(store).job_id for _ in range(2)] == [other, second]


def test_within_a_job_queued_trials_come_first_and_in_their_order(store: Store) -> None:
    job_id = add_job(store, trials=20)
    taken = [take(store) for _ in range(4)]
    for found in (taken[2], taken[0]):
        with store.write() as session:
            trials.hand_back(session, found)
    assert [serve(store).number for _ in range(3)] == [0, 2, 4]  # type: ignore[union-attr]
    assert job_of(store, job_id).next_number == 5


def test_whoever_comes_second_looks_again_whose_turn_it_is(store: Store) -> None:
    first, second = owned(store, "ada"), owned(store, "bob")
    seen = survey(store).offers
    assert [job.job_id for job in seen] == [first, second]
    with store.write() as session:
        assert claims.reserve(session, seen[0], Lease("ada", "cpu", LEASE_S), exact=True) is not None
    with store.write() as session:
        assert claims.reserve(session, seen[0], Lease("bob", "cpu", LEASE_S), exact=True) is None
    assert offered(store) == [second, first]
    assert job_of(store, first).next_number == 1


# --- many workers and owners


@dataclass(eq=False)
class Plain:
    """The plainest fair queue there is, for one to compare with: lists and loops, no database.

    Attributes:
        owner, priority, left: job → of it.
        running: job → trials of it that run.
        served: job → when it was served last, as a count; 0 before it was.
    """

    owner: dict[str, str]
    priority: dict[str, int]
    left: dict[str, int]
    running: Counter[str]
    served: dict[str, int]
    clock: int = 0

    def next(self) -> str | None:
        best = None
        for job in self.owner:
            if self.left[job] and (best is None or self.rank(job) < self.rank(best)):
                best = job
        if best is not None:
            self.clock += 1
            self.left[best] -= 1
            self.running[best] += 1
            self.served[best] = self.clock
        return best

    def rank(self, job: str) -> tuple[int, ...]:
        mine = [other for other in self.owner if self.owner[other] == self.owner[job]]
        return (
            -self.priority[job],
            sum(self.running[other] for other in mine),
            max(self.served[other] for other in mine),
            min(list(self.owner).index(other) for other in mine),
            self.running[job],
            self.served[job],
            list(self.owner).index(job),
        )


def ends(rng: random.Random) -> Iterator[int]:
    """Which of those who work is done next."""
    while True:
        yield rng.randrange(10**6)


@pytest.mark.parametrize("seed", range(2))
def test_many_workers_serve_as_the_plainest_fair_queue_does(store: Store, seed: int) -> None:
    rng = random.Random(seed)
    owners = {}
    for name in ("ada", "bob", "cy"):
        for _ in range(rng.randrange(1, 4)):
            trials_planned, priority = rng.randrange(3, 12), rng.choice([0, 0, 0, 5])
            owners[owned(store, name, trials=trials_planned, priority=priority)] = (name, priority, trials_planned)
    plain = Plain(
        owner={job: name for job, (name, _, _) in owners.items()},
        priority={job: priority for job, (_, priority, _) in owners.items()},
        left={job: planned for job, (_, _, planned) in owners.items()},
        running=Counter(),
        served=dict.fromkeys(owners, 0),
    )
    at_work: list[Claim] = []
    for choice in islice(ends(rng), 60):
        if len(at_work) == 7 or (at_work and choice % 3 == 0):
            done = at_work.pop(choice % len(at_work))
            finish(store, done, TrialState.PRUNED)
            plain.running[done.job_id] -= 1
        else:
            found = serve(store)
            assert (found.job_id if found else None) == plain.next()
            at_work += [found] if found else []
    assert sum(plain.left.values()) < sum(planned for _, _, planned in owners.values()) - 20  # much has happened


def test_three_owners_share_workers_evenly_however_many_jobs_each_has(store: Store) -> None:
    for name, count in (("ada", 1), ("bob", 4), ("cy", 8)):
        for _ in range(count):
            owned(store, name, trials=30)
    taken = [take(store) for _ in range(12)]
    with store.read() as session:
        owner_of = {seen.job_id: seen.owner for seen in queue.standings(session)}
    assert Counter(owner_of[found.job_id] for found in taken) == {"ada": 4, "bob": 4, "cy": 4}
    assert set(Counter(found.job_id for found in taken if owner_of[found.job_id] == "bob").values()) == {1}


# --- its cost


def test_what_a_look_costs_does_not_grow_with_jobs_and_trials_that_have_ended(store: Store) -> None:
    """A year of a team's jobs is behind those that run: only the few that have work are read."""
    add_job(store, name="the one that runs")
    ended = [add_job(store, trials=1) for _ in range(30)]
    with store.write() as session:
        for job_id in ended:
            control.cancel(session, job_id)
    with store.read() as session:
        statement = queue.STANDINGS
        rows = session.execute(statement).all()
        plan = "\n".join(str(line) for line in session.connection().exec_driver_sql(_explain(store, statement)))
    assert len(rows) == 1
    assert "ix_tallies_open" in plan or not store.is_sqlite, plan
    assert "SCAN jobs" not in plan, plan


def _explain(store: Store, statement: object) -> str:
    compiled = statement.compile(store.engine, compile_kwargs={"literal_binds": True})  # type: ignore[attr-defined]
    return f"EXPLAIN {'QUERY PLAN ' if store.is_sqlite else ''}{compiled}".replace("%", "%%")


def test_a_look_writes_nothing_and_is_one_question(store: Store) -> None:
    for _ in range(5):
        add_job(store)
    asked: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *found: asked.append(found[2]))
    survey(store)
    questions = [text for text in asked if not text.startswith("BEGIN")]
    assert len(questions) == 1
    assert all(isinstance(seen, Standing) for seen in survey(store).offers)


@pytest.fixture
def context(store: Store, tmp_path: Path) -> Context:
    """A worker that has all but data and a heartbeat that beats."""
    settings = Settings.read({"NAS_HOME": str(tmp_path)})
    artifacts, heartbeat = ArtifactStore(settings.artifacts_url), Heartbeat(store, "ada", LEASE_S)
    return Context(store, artifacts, settings, "ada", torch.device("cpu"), heartbeat.grip(), Event().is_set)


def test_a_worker_with_nothing_to_do_writes_nothing(store: Store, context: Context) -> None:
    add_job(store, device="gpu")
    with store.write() as session:
        advance(jobs.get(session, add_job(store)), JobState.PAUSED)
    asked: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *found: asked.append(found[2]))
    assert not step(context)
    assert asked
    assert {text.split()[0] for text in asked} <= {"BEGIN", "SELECT"}
    assert "BEGIN IMMEDIATE" not in asked


def test_a_job_that_is_through_is_moved_on_before_others_are_served(store: Store, context: Context) -> None:
    """Otherwise it would wait for its end as long as anybody has work."""
    owned(store, "bob", trials=1000, priority=9)
    job_id = add_job(store, trials=1, priority=10)
    failed = take(store)
    assert failed.job_id == job_id
    finish(store, failed, TrialState.FAILED, reason=Reason.ERROR, error="broken")
    assert step(context)
    assert job_of(store, job_id).state == JobState.FAILED  # no trial came to its end
    assert {seen.running for seen in survey(store).offers} == {0}


def test_both_ways_to_take_a_trial_say_when_the_job_was_served(store: Store) -> None:
    job_id = add_job(store)
    add_queued(store, job_id, 1)
    with store.write() as session:
        before = now(session)
        assert claim_in(session) is not None
    first = job_of(store, job_id).served_at
    with store.write() as session:
        assert reserve_in(session) is not None
    second = job_of(store, job_id).served_at
    assert first is not None
    assert second is not None
    assert before <= first < second
