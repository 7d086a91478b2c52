"""API keys in the database."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update

from nas.errors import InvalidInput, NotFound, Unauthorized
from nas.store import keys
from nas.store.keys import Scope
from nas.store.session import Store, now
from nas.store.tables import ApiKey


def make(store: Store, owner: str = "ada", scope: Scope = Scope.WRITE, lasts: timedelta | None = None) -> str:
    with store.write() as session:
        return keys.create(session, owner, scope, None if lasts is None else now(session) + lasts)[1]


def recognise(store: Store, key: str) -> keys.Known:
    with store.read() as session:
        return keys.recognise(session, key)


def change(store: Store, **values: datetime) -> None:
    with store.write() as session:
        session.execute(update(ApiKey).values(**values))


def test_a_key_stands_for_its_owner_and_scope(store: Store) -> None:
    found = {(known.owner, known.scope) for scope in Scope if (known := recognise(store, make(store, "ada", scope)))}
    assert found == {("ada", scope) for scope in Scope}


def test_nothing_that_is_stored_gives_a_key_away(store: Store) -> None:
    made = [make(store) for _ in range(20)]
    assert len(set(made)) == 20
    with store.read() as session:
        rows = session.execute(select(ApiKey.__table__)).all()
    for key, row in zip(made, rows, strict=True):
        _, prefix, secret = key.split("_")
        assert len(secret) == 43
        assert row.prefix == prefix
        assert not any(secret in str(value) for value in row)


def test_a_wrong_key_is_told_nothing_that_one_without_a_row_is_not(store: Store) -> None:
    key = make(store)
    last = "a" if key[-1] != "a" else "b"
    wrong = [key[:-1] + last, key.replace("nas_", "nas_x")[:-1], f"nas_00000000_{'a' * 43}", "", "nas", "🎉", key + " "]
    wrong += [key.upper(), key[:-1], key + "a", "\x00", "x" * 100_000, "\udc80"]
    said = set()
    for text in wrong:
        with pytest.raises(Unauthorized) as caught:
            recognise(store, text)
        said.add(str(caught.value))
    assert len(said) == 1


def test_a_key_ends_when_it_was_to(store: Store) -> None:
    key = make(store, lasts=timedelta(days=90))
    assert recognise(store, key).expires_at is not None
    with store.read() as session:
        change(store, expires_at=now(session) - timedelta(seconds=1))
    with pytest.raises(Unauthorized, match="has expired"):
        recognise(store, key)


def test_a_revoked_key_is_worth_nothing_and_opens_nothing(store: Store) -> None:
    with store.read() as session:
        assert (keys.required(session), keys.any_active(session)) == (False, False)
    key = make(store)
    with store.read() as session:
        assert (keys.required(session), keys.any_active(session)) == (True, True)
    with store.write() as session:
        first = keys.revoke(session, key.split("_")[1]).revoked_at
    with store.write() as session:
        assert keys.revoke(session, key).revoked_at == first  # the whole key names itself as well
    with pytest.raises(Unauthorized, match="was revoked"):
        recognise(store, key)
    with store.read() as session:
        assert (keys.required(session), keys.any_active(session)) == (True, False)


def test_an_expired_key_lets_nobody_listen_to_others(store: Store) -> None:
    make(store, lasts=timedelta(days=1))
    with store.read() as session:
        moment = now(session)
    change(store, expires_at=moment - timedelta(seconds=1))
    with store.read() as session:
        assert (keys.required(session), keys.any_active(session)) == (True, False)


@pytest.mark.parametrize("prefix", ["", "nope", "nas_", "%", "x" * 500])
def test_a_key_that_is_not_there_cannot_be_revoked(store: Store, prefix: str) -> None:
    make(store)
    with pytest.raises(NotFound, match="nas keys list"), store.write() as session:
        keys.revoke(session, prefix)


@pytest.mark.parametrize("owner", ["ada", "a", "0", "Ada.Lovelace@example.org", "team-1_x", "a" * 100])
def test_owners_that_can_be(store: Store, owner: str) -> None:
    assert recognise(store, make(store, owner)).owner == owner


@pytest.mark.parametrize("owner", ["", "*", ".", "-a", "@a", "a b", "ä", "a\n", "a" * 101, "a/b", "a\x00", "_"])
def test_owners_that_cannot_be(store: Store, owner: str) -> None:
    with pytest.raises(InvalidInput, match="1 to 100 of"):
        make(store, owner)


def test_a_key_cannot_have_ended_before_it_was_made(store: Store) -> None:
    with pytest.raises(InvalidInput, match="give a time to come"):
        make(store, lasts=timedelta(0))


def test_the_use_of_a_key_is_written_once_a_minute(store: Store) -> None:
    key = recognise(store, make(store))
    other = recognise(store, make(store))
    assert key.used_at is None

    def use() -> datetime | None:
        with store.write() as session:
            keys.note_use(session, key.id)
        with store.read() as session:
            assert session.get_one(ApiKey, other.id).used_at is None
            return session.get_one(ApiKey, key.id).used_at

    first = use()
    assert first is not None
    assert use() == first
    earlier = first - timedelta(seconds=keys.USED_EVERY_S + 1)
    with store.write() as session:
        session.execute(update(ApiKey).where(ApiKey.id == key.id).values(used_at=earlier))
    assert (use() or earlier) >= first


def test_scopes_include_those_before_them() -> None:
    assert [[one.includes(other) for other in Scope] for one in Scope] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]
