"""A process renews all that it holds in one statement, and learns which of it is lost."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Event, Thread

import pytest
from sqlalchemy import event, select, update

from nas.store import control, trials
from nas.store.claims import Claim
from nas.store.session import Store, now
from nas.store.states import TrialState
from nas.store.tables import Trial
from tests.store.losing import cancelled, finished, handed_back, reaped, reaped_and_taken_again
from tests.support import LEASE_S, add_job, expire, open_store, propose, report, take, trial_of


def key(claim: Claim) -> tuple[int, int]:
    return claim.trial_id, claim.attempt


def renew(store: Store, *held: Claim) -> set[tuple[int, int]]:
    with store.write() as session:
        return trials.renew_all(session, held, LEASE_S)


def test_all_leases_are_renewed_by_one_statement_and_are_whole_ones(store: Store) -> None:
    add_job(store, trials=41)
    held = [take(store, f"lane {number % 3}") for number in range(40)]
    others = take(store, "another process")
    expire(store)
    asked: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *found: asked.append(found[2]))
    assert renew(store, *held) == {key(claim) for claim in held}
    assert len([text for text in asked if "UPDATE" in text]) == 1
    assert len(asked) <= 2  # SQLite has a statement to begin with
    with store.read() as session:
        until = now(session) + timedelta(seconds=LEASE_S)
    for claim in held:
        found = trial_of(store, claim.trial_id).lease_until
        assert found is not None
        assert until - timedelta(seconds=5) < found <= until
    assert trials.reap(store) == 1
    assert trial_of(store, others.trial_id).state == TrialState.QUEUED


def test_nothing_held_asks_nothing(store: Store) -> None:
    asked: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *found: asked.append(found[2]))
    assert renew(store) == set()
    assert not [text for text in asked if "BEGIN" not in text]


@pytest.mark.parametrize("lose", [reaped, reaped_and_taken_again, cancelled, handed_back, finished])
def test_what_is_lost_is_not_among_what_is_held(store: Store, lose: Callable[[Store, Claim], None]) -> None:
    add_job(store)
    lost = take(store, "ada")
    propose(store, lost, 0)
    report(store, lost, 1)
    lose(store, lost)
    add_job(store)
    _, kept = take(store, "ada"), take(store, "ada")  # the first may be another attempt at the one that is lost
    before = lease_of(store, lost)
    assert renew(store, lost, kept) == {key(kept)}
    assert lease_of(store, lost) == before


def lease_of(store: Store, claim: Claim) -> datetime | None:
    with store.read() as session:
        return session.scalar(select(Trial.lease_until).where(Trial.id == claim.trial_id))


def test_a_row_that_another_has_locked_is_held_and_not_waited_for(tmp_path_factory: pytest.TempPathFactory) -> None:
    """PostgreSQL only: SQLite has one writer at a time."""
    with open_store("postgresql", tmp_path_factory.mktemp("renewal")) as store:
        add_job(store)
        first, second = take(store, "ada"), take(store, "ada")
        expire(store)
        locked, renewed = Event(), Event()

        def write() -> None:
            with store.write() as session:
                session.execute(update(Trial).where(Trial.id == second.trial_id).values(epoch=1))
                locked.set()
                assert renewed.wait(10)

        thread = Thread(target=write)
        thread.start()
        assert locked.wait(10)
        assert renew(store, first, second) == {key(first), key(second)}
        renewed.set()
        thread.join()
        assert trials.reap(store) == 1
        assert trial_of(store, first.trial_id).state == TrialState.RUNNING


def test_a_claim_of_an_earlier_attempt_is_lost_though_the_trial_runs(store: Store) -> None:
    add_job(store)
    taken = take(store, "ada")
    assert renew(store, replace(taken, attempt=taken.attempt + 1)) == set()
    assert renew(store, taken) == {key(taken)}


def test_the_trial_of_a_job_that_was_deleted_is_lost(store: Store) -> None:
    job_id = add_job(store)
    lost = take(store, "ada")
    with store.write() as session:
        control.cancel(session, job_id)
    add_job(store)
    kept = take(store, "ada")
    with store.write() as session:
        control.delete(session, job_id)
    assert renew(store, lost, kept) == {key(kept)}
