"""Pages of trials: whatever the order, the pages put together are one sorted list."""

import base64
import json
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from math import inf
from typing import Any

import pytest
from sqlalchemy import text

from nas.errors import InvalidInput, NotFound
from nas.store import jobs, listing
from nas.store.session import Store, now
from nas.store.states import Phase, TrialState
from nas.store.tables import Tally, Trial
from tests.store.cost import plans, reading, rows_touched, selects
from tests.support import add_job, report, take

ACCURACIES = (None, -7.5e12, 0.0, 0.25, 1 / 3, 1 / 3, 0.1 + 0.2, 0.9, 1.0)
KEYS: dict[str, Callable[[Trial], float]] = {
    "number": lambda trial: trial.number,
    "accuracy": lambda trial: -inf if trial.accuracy is None else trial.accuracy,
    "params": lambda trial: -inf if trial.params is None else trial.params,
    "epoch": lambda trial: trial.epoch,
}


def add_trials(store: Store, job_id: str, count: int, seed: int = 0) -> list[Trial]:
    """Trials with few values, so that there are many ties."""
    rng = random.Random(seed)
    with store.write() as session:
        rows = [
            Trial(
                job_id=job_id,
                number=number,
                phase=rng.choice(list(Phase)),
                state=rng.choice(list(TrialState)),
                epochs=9,
                epoch=rng.choice([0, 1, 5]),
                accuracy=rng.choice(ACCURACIES),
                params=rng.choice([None, 1, 1000, 2_000_000_000]),
                created_at=now(session),
            )
            for number in range(count)
        ]
        session.add_all(rows)
        jobs.get(session, job_id).next_number = count
        for (phase, state), found in Counter((row.phase, row.state) for row in rows).items():
            session.get_one(Tally, (job_id, phase, state)).count = found
    return rows


def pages(
    store: Store,
    job_id: str,
    *,
    sort: str,
    limit: int,
    states: tuple[TrialState, ...] = (),
    phases: tuple[Phase, ...] = (),
) -> list[list[int]]:
    """The numbers on each page."""
    found, cursor = [], None
    while True:
        with store.read() as session:
            page = listing.page(session, job_id, states=states, phases=phases, sort=sort, limit=limit, cursor=cursor)
        found.append([trial.number for trial in page.trials])
        cursor = page.next_cursor
        if cursor is None:
            return found
        assert len(found) < 1000, "the pages have no end"


def in_order(rows: list[Trial], sort: str) -> list[int]:
    key = KEYS[sort.removeprefix("-")]
    found = sorted(rows, key=lambda trial: (key(trial), trial.number), reverse=sort.startswith("-"))
    return [trial.number for trial in found]


def test_pages_of_every_size_and_order_make_one_sorted_list(store: Store) -> None:
    job_id = add_job(store)
    rows = add_trials(store, job_id, 40)
    for sort, limit in product(listing.ALLOWED_SORTS, (3, 7, 40, 500)):
        found = pages(store, job_id, sort=sort, limit=limit)
        assert [number for page in found for number in page] == in_order(rows, sort), sort
        assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)
        assert found[-1]


@pytest.mark.parametrize(
    ("states", "phases"),
    [
        ((TrialState.COMPLETE,), ()),
        ((TrialState.COMPLETE, TrialState.PRUNED), ()),
        ((), (Phase.SEARCH,)),
        ((TrialState.COMPLETE, TrialState.FAILED), (Phase.SEARCH, Phase.CONTROL)),
    ],
)
def test_filters_leave_out_and_keep_the_order(
    store: Store, states: tuple[TrialState, ...], phases: tuple[Phase, ...]
) -> None:
    job_id = add_job(store)
    rows = add_trials(store, job_id, 200)
    kept = [row for row in rows if (not states or row.state in states) and (not phases or row.phase in phases)]
    assert 1 < len(kept) < len(rows)
    for sort in ("number", "-accuracy", "epoch"):
        found = pages(store, job_id, sort=sort, limit=2, states=states, phases=phases)
        assert [number for page in found for number in page] == in_order(kept, sort)


def test_other_jobs_trials_are_not_listed(store: Store) -> None:
    job_id, other = add_job(store), add_job(store)
    add_trials(store, job_id, 5)
    add_trials(store, other, 8, seed=1)
    assert pages(store, job_id, sort="number", limit=3) == [[0, 1, 2], [3, 4]]


def test_a_job_without_trials_has_one_empty_page(store: Store) -> None:
    assert pages(store, add_job(store), sort="-accuracy", limit=3) == [[]]


def test_a_page_holds_its_place_while_trials_are_added(store: Store) -> None:
    job_id = add_job(store, trials=50)
    for _ in range(4):
        take(store)
    with store.read() as session:
        first = listing.page(session, job_id, states=(), phases=(), sort="number", limit=2, cursor=None)
    for _ in range(4):
        take(store)
    with store.read() as session:
        second = listing.page(session, job_id, states=(), phases=(), sort="number", limit=2, cursor=first.next_cursor)
    assert [trial.number for trial in second.trials] == [2, 3]


@pytest.mark.parametrize("analysed", [False, True])
def test_a_page_costs_the_same_anywhere_in_a_large_job(store: Store, backend: str, analysed: bool) -> None:
    """Of each phase and state no more trials are looked at than the page has, and the last ones of the job at once."""
    if backend == "postgresql" and not analysed:
        pytest.skip("it does so by itself")
    job_id, limit = add_job(store), 10
    rows = add_trials(store, job_id, 2000)
    if analysed:
        with store.write() as session:
            session.execute(text("ANALYZE"))
    kinds = len({(row.phase, row.state) for row in rows})
    for sort, states in product(listing.ALLOWED_SORTS, ((), (TrialState.FAILED,))):
        expected = in_order([row for row in rows if not states or row.state in states], sort)
        for begin in (0, len(expected) // 2, len(expected) - limit):
            cursor = place(rows, expected[begin - 1], sort) if begin else None
            with reading(store) as statements, store.read() as session:
                page = listing.page(session, job_id, states=states, phases=(), sort=sort, limit=limit, cursor=cursor)
            assert [trial.number for trial in page.trials] == expected[begin : begin + limit]
            about_trials = [found for found in selects(statements) if "FROM trials" in found[0]]
            assert len(about_trials) == 2
            if backend == "sqlite":
                steps = [step for plan in plans(store, about_trials) for step in plan if "trials" in step]
                assert all("(job_id=? AND phase=? AND state=?" in step or "PRIMARY KEY" in step for step in steps)
            elif begin == 0:
                # of each kind those with a value and those without
                assert sum(rows_touched(store, about_trials)) <= 2 * kinds * (limit + 1) + limit


def place(rows: list[Trial], number: int, sort: str) -> str:
    """The cursor after that trial."""
    return encoded([sort, getattr(rows[number], sort.removeprefix("-")), number])


def page_after(store: Store, job_id: str, cursor: str, sort: str) -> listing.Page:
    with store.read() as session:
        return listing.page(session, job_id, states=(), phases=(), sort=sort, limit=2, cursor=cursor)


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


NO_CURSORS = (
    "",
    "garbage",
    "====",
    "ünïcode",
    "\x00",
    "\ud800",
    "0" * 500,
    base64.urlsafe_b64encode(b'["number", 1e999, 1]').decode(),
    base64.urlsafe_b64encode(b"[" * 300).decode(),
    base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    *map(
        encoded,
        (
            None,
            "abc",
            {},
            [],
            [1, 2],
            ["number", 1],
            ["number", 1, 1, 1],
            ["-number", 1, 1],  # of another order
            ["number", "1", 1],
            ["number", None, 1],
            ["number", True, 1],
            ["number", [1], 1],
            ["number", float("nan"), 1],
            ["number", float("inf"), 1],
            ["number", 10**300, 1],
            ["number", 2**64, 1],
            ["number", 1, True],
            ["number", 1, 1.5],
            ["number", 1, -1],
            ["number", 1, 2**64],
        ),
    ),
)


def test_a_cursor_that_is_none_is_refused(store: Store) -> None:
    job_id = add_job(store)
    for cursor in NO_CURSORS:
        with pytest.raises(InvalidInput, match="take next_cursor from the page before, with the same sort") as caught:
            page_after(store, job_id, cursor, "number")
        assert (caught.value.field, caught.value.value) == ("cursor", cursor)


def test_no_cursor_that_someone_makes_up_breaks_the_database(store: Store) -> None:
    job_id = add_job(store)
    add_trials(store, job_id, 5)
    values = (-1, 0.5, 2**31 - 1, 2**31, 2**53, -(2**31), -(2**53))
    for sort, value, number in product(listing.ALLOWED_SORTS, values, (0, 2**31 - 1, 2**31)):
        with suppress(InvalidInput):
            assert len(page_after(store, job_id, encoded([sort, value, number]), sort).trials) <= 2


def test_a_value_that_is_missing_has_its_place_in_the_order_too(store: Store) -> None:
    """In a regression scores are below zero, whatever stands for no score."""
    job_id = add_job(store)
    rows = add_trials(store, job_id, 40)
    for sort in ("accuracy", "-accuracy", "params", "-params"):
        expected = in_order(rows, sort)
        for begin in range(1, len(expected), 3):
            found = page_after(store, job_id, place(rows, expected[begin - 1], sort), sort)
            assert [trial.number for trial in found.trials] == expected[begin : begin + 2]
    for sort in ("number", "epoch"):  # these a trial always has
        with pytest.raises(InvalidInput):
            page_after(store, job_id, encoded([sort, None, 1]), sort)


@pytest.mark.parametrize("sort", ["", "-", "--number", "digest", "NUMBER", "number; DROP TABLE trials", "\x00"])
def test_an_order_that_is_none_is_answered_with_those_that_are(store: Store, sort: str) -> None:
    job_id = add_job(store)
    with (
        store.read() as session,
        pytest.raises(
            InvalidInput, match="allowed: number, -number, accuracy, -accuracy, params, -params, epoch"
        ) as caught,
    ):
        listing.page(session, job_id, states=(), phases=(), sort=sort, limit=2, cursor=None)
    assert caught.value.field == "sort"


def test_trials_of_a_job_that_is_not_there_are_not_found(store: Store) -> None:
    with store.read() as session, pytest.raises(NotFound, match="there is no job 'nope'"):
        listing.page(session, "nope", states=(), phases=(), sort="number", limit=2, cursor=None)


def test_a_trial_is_found_with_its_epochs_in_order(store: Store) -> None:
    job_id = add_job(store, trials=2)
    first, second = take(store), take(store)
    other = add_job(store)
    for number in (1, 2, 3):
        report(store, first, number, accuracy=number / 10)
        report(store, second, number)
    assert take(store).job_id == other
    with store.read() as session:
        trial, epochs = listing.trial(session, job_id, 0)
    assert (trial.id, trial.epoch) == (first.trial_id, 3)
    assert [(row.trial_id, row.epoch, row.validation_accuracy) for row in epochs] == [
        (first.trial_id, 1, 0.1),
        (first.trial_id, 2, 0.2),
        (first.trial_id, 3, 0.3),
    ]


def test_a_trial_that_is_not_there_is_not_found(store: Store) -> None:
    job_id = add_job(store, trials=1)
    take(store)
    with store.read() as session:
        with pytest.raises(NotFound, match=f"job {job_id} has no trial 1"):
            listing.trial(session, job_id, 1)
        with pytest.raises(NotFound, match="there is no job 'nope'"):
            listing.trial(session, "nope", 0)
