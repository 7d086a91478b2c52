"""Which workers are alive."""

from datetime import timedelta

from sqlalchemy import update

from nas.store import workers
from nas.store.session import Store, now
from nas.store.tables import Worker


def register(store: Store, *names: str) -> None:
    for name in names:
        with store.write() as session:
            workers.register(session, name, "cpu")


def unseen_for(store: Store, name: str, seconds: float) -> None:
    with store.write() as session:
        moment = now(session) - timedelta(seconds=seconds)
        session.execute(update(Worker).where(Worker.id == name).values(seen_at=moment))


def alive(store: Store, lease_s: float = 30.0) -> list[str]:
    with store.read() as session:
        return [worker.id for worker in workers.alive(session, lease_s)]


def test_a_worker_is_alive_from_its_start_to_its_end(store: Store) -> None:
    assert alive(store) == []
    register(store, "bob", "ada")
    assert alive(store) == ["ada", "bob"]
    with store.write() as session:
        workers.unregister(session, "bob")
    assert alive(store) == ["ada"]


def test_a_worker_that_was_not_seen_within_a_lease_is_not_alive_until_it_is_seen_again(store: Store) -> None:
    register(store, "ada", "bob")
    unseen_for(store, "ada", 31)
    unseen_for(store, "bob", 25)
    assert alive(store) == ["bob"]
    assert alive(store, lease_s=60) == ["ada", "bob"]
    with store.write() as session:
        workers.seen(session, ["ada"])
    assert alive(store) == ["ada", "bob"]


def test_a_new_worker_makes_those_forgotten_that_vanished_a_day_ago(store: Store) -> None:
    register(store, "ada", "bob")
    unseen_for(store, "ada", 86_401)
    unseen_for(store, "bob", 86_000)
    register(store, "eve")
    assert alive(store, lease_s=1e6) == ["bob", "eve"]


def test_a_worker_keeps_its_start_and_its_device(store: Store) -> None:
    register(store, "ada")
    with store.read() as session:
        before = session.get_one(Worker, "ada")
    with store.write() as session:
        workers.seen(session, ["ada"])
    with store.read() as session:
        after = session.get_one(Worker, "ada")
    assert (after.device, after.started_at) == ("cpu", before.started_at)
    assert after.seen_at > before.seen_at


def test_a_worker_that_nobody_knows_is_not_alive_because_it_was_seen(store: Store) -> None:
    with store.write() as session:
        workers.seen(session, ["nobody"])
        workers.unregister(session, "nobody")
    assert alive(store) == []
