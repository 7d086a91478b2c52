"""The sequence of a job's events: read from any place, it goes on exactly there."""

import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event as listening
from sqlalchemy import text, update

from nas.errors import InvalidInput, NotFound
from nas.store import control, feed
from nas.store.feed import BEGINNING, Event, Place
from nas.store.session import Store
from nas.store.states import JobState, Reason, TrialState
from nas.store.tables import Epoch, Job, Trial
from tests.support import (
    add_job,
    add_queued,
    claim_in,
    everything,
    finish,
    hand_back,
    job_of,
    propose,
    report,
    reserve_in,
    run_trial,
    take,
)


def read(store: Store, job_id: str, after: Place, limit: int = 500) -> feed.Page:
    with store.read() as session:
        page = feed.since(session, job_id, after, limit)
    assert page is not None
    return page


def whole(store: Store, job_id: str, after: Place = BEGINNING, limit: int = 500) -> list[Event]:
    """Everything since a place, page by page."""
    found: list[Event] = []
    while True:
        page = read(store, job_id, after, limit)
        assert len(page.events) <= limit
        found += page.events
        if not page.more:
            return found
        after = page.events[-1].place


def test_a_trial_is_told_as_its_epochs_and_what_became_of_it(store: Store) -> None:
    job_id = add_job(store, trials=1)
    run_trial(store, accuracy=0.75)
    events = whole(store, job_id)
    assert [event.name for event in events] == ["epoch", "epoch", "epoch", "trial", "job"]
    assert events[1].data == {
        "trial": 0,
        "phase": "search",
        "epoch": 2,
        "accuracy": 0.75,
        "train_loss": 0.5,
        "validation_loss": 0.75,
        "lr": 0.1,
        "seconds": 2.0,
    }
    assert events[3].data | {"params": 0, "macs": 0} == {
        "trial": 0,
        "phase": "search",
        "state": "complete",
        "reason": None,
        "epoch": 3,
        "epochs": 3,
        "accuracy": 0.75,
        "params": 0,
        "macs": 0,
        "attempt": 1,
        "cached_from": None,
    }
    best = {"trial": 0, "accuracy": 0.75}
    assert events[4].data["state"] == "running"
    assert events[4].data["best"] == best


def test_what_happens_later_follows_what_was_read(store: Store) -> None:
    job_id = add_job(store, trials=2)
    first = whole(store, job_id)
    assert [event.name for event in first] == ["job"]
    taken = take(store)
    begun = whole(store, job_id, first[-1].place)
    assert [(event.name, event.data["state"]) for event in begun] == [("job", "running"), ("trial", "running")]
    propose(store, taken, 0)
    report(store, taken, 1)
    reported = whole(store, job_id, begun[-1].place)
    assert [event.name for event in reported] == ["epoch", "trial"]
    assert reported[0].place.version == reported[1].place.version  # one change, one version
    assert whole(store, job_id, reported[-1].place) == []


def test_what_a_reader_has_half_of_is_told_from_there(store: Store) -> None:
    """One change can be two events, and the connection can end between them."""
    job_id = add_job(store, trials=2)
    run_trial(store)
    events = whole(store, job_id)
    for index, event in enumerate(events):
        assert whole(store, job_id, event.place) == events[index + 1 :]


def test_rows_from_before_there_were_versions_are_told_once_each(store: Store) -> None:
    job_id = add_job(store, trials=4)
    for _ in range(3):
        run_trial(store)
    with store.write() as session:
        session.execute(update(Trial).values(changed=0))
        session.execute(update(Epoch).values(version=0))
        session.execute(update(Job).values(version=0, changed=0))
    events = whole(store, job_id, limit=2)
    assert [event.name for event in events] == ["epoch"] * 9 + ["trial"] * 3 + ["job"]
    assert [(e.data["trial"], e.data["epoch"]) for e in events[:9]] == [(t, e) for t in range(3) for e in (1, 2, 3)]
    run_trial(store)
    assert [event.name for event in whole(store, job_id, events[-1].place)] == ["epoch"] * 3 + ["trial"]


def test_only_the_jobs_own_events_are_told(store: Store) -> None:
    other = add_job(store, trials=1)
    run_trial(store)
    job_id = add_job(store, trials=1)
    assert [event.name for event in whole(store, job_id)] == ["job"]
    run_trial(store, accuracy=0.25)
    assert {event.data["accuracy"] for event in whole(store, job_id) if event.name == "epoch"} == {0.25}
    assert {event.data["accuracy"] for event in whole(store, other) if event.name == "epoch"} == {0.5}


def test_a_job_that_has_ended_is_over_when_all_is_read(store: Store) -> None:
    job_id = add_job(store, trials=5)
    take(store)
    take(store)
    assert read(store, job_id, BEGINNING).ended is None
    with store.write() as session:
        control.cancel(session, job_id)
    page = read(store, job_id, BEGINNING, limit=2)
    assert (page.more, page.ended) == (True, None)
    page = read(store, job_id, page.events[-1].place)
    assert (page.more, page.ended) == (False, JobState.CANCELLED)
    assert read(store, job_id, page.events[-1].place).ended == JobState.CANCELLED
    states = {event.data["state"] for event in whole(store, job_id)}
    assert states == {"cancelled"}


def test_an_ended_job_with_a_trial_at_work_is_not_over(store: Store) -> None:
    job_id = add_job(store, trials=1)
    taken = take(store)
    with store.write() as session:
        session.execute(update(Job).values(state=JobState.SUCCEEDED))
    assert read(store, job_id, BEGINNING).ended is None
    finish(store, taken)
    assert read(store, job_id, BEGINNING).ended == JobState.SUCCEEDED


def test_a_place_that_the_job_has_not_come_to_is_none_of_it(store: Store) -> None:
    job_id = add_job(store)
    take(store)
    version = job_of(store, job_id).version
    with store.read() as session:
        assert feed.since(session, job_id, Place(version, feed.JOB), 10) is not None
        assert feed.since(session, job_id, Place(version + 1), 10) is None
        with pytest.raises(NotFound):
            feed.since(session, "nothing", BEGINNING, 10)


def test_the_present_is_behind_everything(store: Store) -> None:
    job_id = add_job(store)
    run_trial(store)
    with store.read() as session:
        place = feed.present(session, job_id)
        assert feed.versions(session, [job_id, "nothing"]) == {job_id: job_of(store, job_id).version}
    assert whole(store, job_id, place) == []
    taken = take(store)
    assert [event.data["trial"] for event in whole(store, job_id, place)] == [taken.number]


@pytest.mark.parametrize(
    "given", ["", "7", "now", "1.2.3", "1.3.0.0", "-1.0.0.0", "1.0.0.0.0", "1.0.0.0\n", "١.0.0.0", "1.0.0.2147483648"]
)
def test_a_place_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(InvalidInput, match=r"Last-Event-ID: .* has to be the id of an event"):
        Place.read("Last-Event-ID", given)


def test_a_place_is_read_as_it_was_written() -> None:
    place = Place(2**31 - 1, 2, 40, 7)
    assert Place.read("after", str(place)) == place


def test_a_page_of_a_large_job_reads_no_more_than_a_page(store: Store) -> None:
    """By the plan of each query: an index gives the rows in their order, and nothing is sorted."""
    job_id = add_job(store, trials=3)
    for _ in range(3):
        run_trial(store)
    asked: list[tuple[str, object]] = []

    def note(connection: object, cursor: object, statement: str, parameters: object, *_: object) -> None:
        asked.append((statement, parameters))

    listening.listen(store.engine, "before_cursor_execute", note)
    read(store, job_id, Place(3, feed.EPOCH, 1, 1))
    listening.remove(store.engine, "before_cursor_execute", note)
    lists = [(statement, parameters) for statement, parameters in asked if "ORDER BY" in statement]
    assert len(lists) == 2
    with store.read() as session:
        connection = session.connection()
        if not store.is_sqlite:  # on a few rows it reads them all, which costs nothing
            for setting in ("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin"):
                connection.execute(text(f"SET LOCAL {setting} = off"))
        for statement, parameters in lists:
            explain = f"{'EXPLAIN QUERY PLAN' if store.is_sqlite else 'EXPLAIN'} {statement}"
            plan = "\n".join(map(str, connection.exec_driver_sql(explain, parameters)))  # type: ignore[arg-type]
            assert "ix_epochs_job_id_version" in plan or "ix_trials_job_id_changed" in plan, plan
            if "ix_epochs" in plan:
                assert "Sort" not in plan, plan
            assert "TEMP B-TREE" not in plan, plan


# --- whatever happens


def moves(store: Store, job_id: str, seed: int) -> Iterator[None]:
    """A random history: trials begin, report, end well and badly, are lost, handed back and cancelled."""
    rng = random.Random(seed)
    held: list[list[int]] = []  # [index of a claim, epochs done]
    claims = []

    def begin() -> None:
        with store.write() as session:
            claim = claim_in(session, "worker", 30) or reserve_in(session, "worker", 30)
        if claim is not None:
            claims.append(claim)
            held.append([len(claims) - 1, claim.epoch])

    def on(step: Callable[[list[int]], bool]) -> None:
        if held:
            one = rng.choice(held)
            if not step(one):
                held.remove(one)

    def one_epoch(one: list[int]) -> bool:
        one[1] += 1
        report(store, claims[one[0]], one[1], rng.random())
        return True

    def ends(one: list[int]) -> bool:
        if rng.random() < 0.7:
            finish(store, claims[one[0]])
        else:
            finish(store, claims[one[0]], TrialState.FAILED, reason=Reason.DIVERGED, error="no number")
        return False

    def back(one: list[int]) -> bool:
        hand_back(store, claims[one[0]])
        return False

    for _ in range(rng.randrange(5, 40)):
        action = rng.choices(["begin", "epoch", "end", "back", "queue", "cancel"], [4, 10, 3, 2, 1, 0.3])[0]
        if job_of(store, job_id).state == JobState.CANCELLED:
            return
        match action:
            case "begin":
                begin()
            case "epoch":
                on(one_epoch)
            case "end":
                on(ends)
            case "back":
                on(back)
            case "queue":
                add_queued(store, job_id, 1)
            case "cancel":
                with store.write() as session:
                    control.cancel(session, job_id)
        yield


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**31), limit=st.integers(1, 7))
def test_a_reader_that_comes_and_goes_misses_nothing_and_repeats_nothing(store: Store, seed: int, limit: int) -> None:
    job_id = add_job(store, trials=8, epochs=100)
    rng = random.Random(seed)
    steady: list[Event] = []
    patchy: list[Event] = []
    for _ in moves(store, job_id, seed):
        steady += whole(store, job_id, steady[-1].place if steady else BEGINNING)
        if rng.random() < 0.3:  # it reads a part, and loses the connection somewhere in it
            page = read(store, job_id, patchy[-1].place if patchy else BEGINNING, limit)
            patchy += page.events[: rng.randrange(len(page.events) + 1)]
    patchy += whole(store, job_id, patchy[-1].place if patchy else BEGINNING, limit)

    for events in (steady, patchy):
        places = [event.place for event in events]
        assert places == sorted(set(places))  # in order, and none twice
    with store.read() as session:
        written = {(e.trial_id, e.epoch, e.validation_accuracy) for e in session.query(Epoch).filter_by(job_id=job_id)}
    for events in (steady, patchy):
        told = [event for event in events if event.name == "epoch"]
        assert len(told) == len(written)  # every epoch
        assert {(e.place.trial_id, e.data["epoch"], e.data["accuracy"]) for e in told} == written
    assert epochs(steady) == epochs(patchy)
    assert last_states(steady) == last_states(patchy) == now(store, job_id)  # and every last state
    with store.write() as session:
        if job_of(store, job_id).state != JobState.CANCELLED:
            control.cancel(session, job_id)  # the next example has the database to itself


def epochs(events: list[Event]) -> list[Event]:
    return [event for event in events if event.name == "epoch"]


def last_states(events: list[Event]) -> dict[int, tuple[str, int]]:
    return {e.data["trial"]: (e.data["state"], e.data["epoch"]) for e in events if e.name == "trial"}


def now(store: Store, job_id: str) -> dict[int, tuple[str, int]]:
    rows = everything(store)["trials"]
    names = [column.name for column in Trial.__table__.columns]
    found = [dict(zip(names, row, strict=True)) for row in rows]
    return {row["number"]: (row["state"], row["epoch"]) for row in found if row["job_id"] == job_id}
