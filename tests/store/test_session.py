"""Sessions: whole or not at all, one snapshot, no `database is locked`."""

import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import IntegrityError

from nas.store.session import Store, now
from nas.store.tables import Dataset, Epoch, Worker
from tests.support import add_dataset, everything, together

MOMENT = datetime(2024, 2, 29, 23, 59, 58, 123456, tzinfo=UTC)


def add_worker(store: Store, name: str, seen: datetime = MOMENT) -> None:
    with store.write() as session:
        session.add(Worker(id=name, device="cpu", started_at=seen, seen_at=seen))


def device_of(store: Store, name: str) -> str:
    with store.read() as session:
        return session.get_one(Worker, name).device


def test_a_write_is_there_once_it_is_through(store: Store) -> None:
    add_worker(store, "ada")
    assert device_of(store, "ada") == "cpu"


def test_a_write_is_not_seen_before_it_is_through(store: Store) -> None:
    with store.write() as session:
        session.add(Worker(id="ada", device="cpu", started_at=MOMENT, seen_at=MOMENT))
        session.flush()
        with store.read() as other:
            assert other.get(Worker, "ada") is None


def test_an_exception_undoes_the_whole_write(store: Store) -> None:
    add_worker(store, "ada")
    before = everything(store)

    def write() -> None:
        with store.write() as session:
            session.execute(update(Worker).values(device="cuda"))
            session.add(Worker(id="eve", device="cpu", started_at=MOMENT, seen_at=MOMENT))
            session.flush()
            raise KeyError("half-way")

    with pytest.raises(KeyError, match="half-way"):
        write()
    assert everything(store) == before


def test_a_statement_that_fails_undoes_the_whole_write(store: Store) -> None:
    add_dataset(store)
    before = everything(store)

    def write() -> None:
        with store.write() as session:
            session.execute(update(Dataset).values(height=9))
            session.add(
                Epoch(trial_id=404, epoch=1, train_loss=1, validation_loss=1, validation_accuracy=1, lr=1, seconds=1)
            )

    with pytest.raises(IntegrityError):  # there is no trial 404: foreign keys are kept on both databases
        write()
    assert everything(store) == before


def test_what_was_written_can_be_used_after_the_session(store: Store) -> None:
    with store.write() as session:
        worker = Worker(id="ada", device="cpu", started_at=MOMENT, seen_at=MOMENT)
        session.add(worker)
    assert worker.device == "cpu"


def test_a_read_sees_one_snapshot(store: Store) -> None:
    add_worker(store, "ada")
    with store.read() as session:
        before = session.scalar(select(func.count()).select_from(Worker))
        add_worker(store, "eve")
        after = session.scalar(select(func.count()).select_from(Worker))
    assert (before, after) == (1, 1)
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Worker)) == 2


def test_writers_at_the_same_time_lose_nothing(store: Store) -> None:
    add_worker(store, "counter")
    with store.write() as session:
        session.execute(update(Worker).values(device="0"))

    def count(_: int) -> None:
        for _ in range(50):
            with store.write() as session:
                worker = session.get_one(Worker, "counter", with_for_update=True)
                worker.device = str(int(worker.device) + 1)

    together(8, count)
    assert device_of(store, "counter") == "400"


def test_a_writer_that_reads_first_waits_for_the_one_before_it(store: Store) -> None:
    add_worker(store, "ada")
    first_has_read, second_began = threading.Event(), threading.Event()

    def append(index: int) -> None:
        if index == 1:
            assert first_has_read.wait(10)
            second_began.set()
        with store.write() as session:
            worker = session.get_one(Worker, "ada", with_for_update=True)
            if index == 0:
                first_has_read.set()
                assert second_began.wait(10)
            worker.device = f"{worker.device}+{index}"

    together(2, append)
    assert device_of(store, "ada") == "cpu+0+1"


@pytest.mark.parametrize(
    "given",
    [
        MOMENT,
        MOMENT.replace(microsecond=0),
        MOMENT.astimezone(timezone(timedelta(hours=5, minutes=30))),
        MOMENT.astimezone(timezone(timedelta(hours=-11))),
    ],
)
def test_times_come_back_as_the_same_moment_in_utc(store: Store, given: datetime) -> None:
    add_worker(store, "ada", seen=given)
    with store.read() as session:
        found = session.get_one(Worker, "ada").seen_at
    assert found == given
    assert found.tzinfo is UTC


def test_times_are_compared_as_moments(store: Store) -> None:
    east = timezone(timedelta(hours=9))
    add_worker(store, "early", seen=MOMENT)
    add_worker(store, "late", seen=(MOMENT + timedelta(seconds=1)).astimezone(east))
    with store.read() as session:
        later = session.scalars(select(Worker.id).where(Worker.seen_at > MOMENT.astimezone(east))).all()
    assert later == ["late"]


def test_the_time_is_aware_utc_and_goes_on_within_a_transaction(store: Store) -> None:
    with store.write() as session:
        first, second = now(session), now(session)
    assert first.tzinfo is UTC
    assert first < second
    assert abs(first - datetime.now(UTC)) < timedelta(minutes=1)


def test_an_sqlite_file_comes_with_its_folder_and_keeps_a_write_ahead_log(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'new' / 'folder' / 'nas.db'}")
    with store.read() as session:
        pragmas = {
            name: session.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "foreign_keys", "busy_timeout")
        }
    store.close()
    assert pragmas == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 60_000}
