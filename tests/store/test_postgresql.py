"""A PostgreSQL that is restarted, killed, and asked by many at once."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from nas.store import session as sessions
from nas.store.migrate import migrate
from nas.store.session import Store
from nas.store.tables import Worker
from tests import postgres
from tests.support import LONG_AGO, together


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    """A server of this module's own."""
    with postgres.server() as started:
        store = Store(started.url())
        migrate(store)
        store.close()
        yield started


@pytest.fixture
def store(server: postgres.Server) -> Iterator[Store]:
    opened = Store(server.url(), connections=3, program="nas test")
    yield opened
    opened.close()


def ask(store: Store) -> int:
    with store.read() as session:
        return int(session.scalar(text("SELECT 1")) or 0)


ENDS: dict[str, Callable[[postgres.Server], None]] = {
    "stopped": postgres.Server.stop,
    "crashed": postgres.Server.crash,
    "killed": postgres.Server.kill,
}


@pytest.mark.parametrize("end", ENDS)
def test_a_server_that_comes_back_is_found_without_an_error(
    server: postgres.Server, store: Store, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(sessions, "_FRESH_S", 0.0)
    together(3, lambda _: ask(store))
    ENDS[end](server)
    server.start()
    assert together(3, lambda _: ask(store)) == [1, 1, 1]


@pytest.mark.parametrize("end", ENDS)
def test_a_server_that_is_away_is_one_kind_of_error(server: postgres.Server, store: Store, end: str) -> None:
    ask(store)
    ENDS[end](server)
    try:
        for _ in range(2):  # once on a connection that was good, once without any
            with pytest.raises(OperationalError):
                ask(store)
    finally:
        server.start()
    assert ask(store) == 1


def test_an_end_in_the_middle_of_a_write_undoes_it_and_is_that_error(server: postgres.Server, store: Store) -> None:
    def write() -> None:
        with store.write() as session:
            session.add(Worker(id="half", device="cpu", started_at=LONG_AGO, seen_at=LONG_AGO))
            session.flush()
            server.crash()
            server.start()

    with pytest.raises(OperationalError):
        write()
    with store.read() as session:
        assert session.get(Worker, "half") is None


def test_a_connection_that_was_just_used_is_not_asked_whether_it_lives(
    server: postgres.Server, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_FRESH_S", 60.0)
    ask(store)
    server.crash()
    server.start()
    with pytest.raises(OperationalError):
        ask(store)
    assert ask(store) == 1


def test_no_more_connections_are_made_than_allowed_and_whoever_waits_is_served(store: Store) -> None:
    there = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'nas test'")

    def hold(_: int) -> int:
        with store.read() as session:
            session.execute(text("SELECT pg_sleep(0.05)"))
            return int(session.scalar(there) or 0)

    assert max(together(12, hold)) == 3


def test_a_frozen_writer_is_ended_before_those_who_wait_for_it_give_up(
    server: postgres.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = sessions.LIMITS_MS
    assert limits["idle_in_transaction_session_timeout"] < limits["lock_timeout"] < limits["statement_timeout"]
    monkeypatch.setattr(sessions, "LIMITS_MS", limits | {"idle_in_transaction_session_timeout": 300})
    store = Store(server.url())
    with store.write() as session:
        session.merge(Worker(id="ada", device="cpu", started_at=LONG_AGO, seen_at=LONG_AGO))
    locked, waited = threading.Event(), threading.Event()

    def freeze() -> None:
        with store.write() as session:
            session.get_one(Worker, "ada", with_for_update=True).device = "frozen"
            session.flush()
            locked.set()
            assert waited.wait(10)

    def wait() -> None:
        assert locked.wait(10)
        begun = time.monotonic()
        with store.write() as session:
            session.get_one(Worker, "ada", with_for_update=True).device = "served"
        assert time.monotonic() - begun < 5
        waited.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    with pytest.raises(OperationalError):  # when it wakes up: a lost connection, like any other
        freeze()
    waiting.join()
    with store.read() as session:
        assert session.get_one(Worker, "ada").device == "served"
    store.close()
