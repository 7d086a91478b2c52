"""What figures are drawn from: compared with what one reads and sorts in the plainest way, on both databases."""

from collections import Counter
from collections.abc import Callable
from time import perf_counter
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.orm import Session

from bench.service_data import add_job as add_large_job
from nas.errors import InvalidInput, NotFound
from nas.store import figures, jobs, trials
from nas.store.curves import Curves, curves
from nas.store.figures import AXES, Point, Points, Timeline, evolution, points, timeline
from nas.store.session import Store
from nas.store.states import Phase, TrialState
from nas.store.tables import Trial
from tests.store.cost import count_rows, reading, selects
from tests.store.drawn import SEARCH, epochs_of, in_reverse, read, trials_of
from tests.store.scattered import add_incumbents, scatter
from tests.support import (
    LONG_AGO,
    add_job,
    candidate,
    report,
    take,
)

# --- points


@pytest.mark.parametrize(("x", "y"), [("params", "accuracy"), ("latency_ms", "macs"), ("number", "epoch")])
@pytest.mark.parametrize("limit", [2000, 40])
def test_points_are_the_best_the_front_and_an_even_sample(store: Store, x: str, y: str, limit: int) -> None:
    job_id = add_job(store)
    scatter(store, job_id, 300, seed=limit)
    rows = [row for row in trials_of(store, job_id) if row.phase == Phase.SEARCH]
    known = [row for row in rows if getattr(row, x) is not None and getattr(row, y) is not None]
    with store.read() as session:
        best = jobs.get(session, job_id).best_trial
    chosen = [row for row in known if row.front or row.number == best]
    chosen += sorted(known, key=lambda row: in_reverse(row.number))
    expected = sorted(list(dict.fromkeys(chosen))[:limit], key=lambda row: row.number)
    found = read(store, points, job_id, x, y, limit)
    assert (found.total, found.without, found.best) == (len(known), len(rows) - len(known), best)
    assert found.points == tuple(
        Point(row.number, getattr(row, x), getattr(row, y), row.state, row.front) for row in expected
    )


def test_the_front_is_shown_whole_however_few_points_are_asked_for(store: Store) -> None:
    job_id = add_job(store)
    scatter(store, job_id, 300)
    found = read(store, points, job_id, "number", "accuracy", 1)
    rows = trials_of(store, job_id)
    front = {row.number for row in rows if row.front and row.accuracy is not None}
    assert len(front) > 1
    assert {point.trial for point in found.points} == front | {found.best}


def test_every_axis_can_be_drawn_against_every_other_one(store: Store) -> None:
    job_id = add_job(store)
    taken = take(store)
    with store.write() as session:
        costs = trials.Costs(100, 200, latency_ms=3.5, memory_mb=4.5)
        trials.set_candidate(session, taken, candidate(0), "digest", costs)
    report(store, taken, 1, 0.25)
    values = dict(zip(AXES, (0.25, 100, 200, 3.5, 4.5, 1, 0), strict=True))
    for x in AXES:
        for y in AXES:
            if x != y:
                [point] = read(store, points, job_id, x, y, 10).points
                assert (point.x, point.y) == (values[x], values[y])


@pytest.mark.parametrize(("x", "y", "field"), [("size", "accuracy", "x"), ("params", "id", "y"), ("macs", "macs", "y")])
def test_an_axis_that_there_is_not_or_twice_the_same_is_refused(store: Store, x: str, y: str, field: str) -> None:
    job_id = add_job(store)
    with pytest.raises(InvalidInput, match=rf"^{field}: .*allowed: accuracy, params, ") as caught:
        read(store, points, job_id, x, y, 10)
    assert caught.value.field == field


# --- how the best network came to be


@pytest.mark.parametrize("count", [1, 5, 30, 31, 100])
def test_the_incumbents_are_shown_from_the_first_to_the_last(store: Store, count: int) -> None:
    job_id = add_job(store)
    add_incumbents(store, job_id, count)
    found = read(store, evolution, job_id)
    assert found.total == count
    shown = [step.trial for step in found.steps]
    assert len(shown) == min(count, 30)
    assert (shown[0], shown[-1]) == (0, count - 1)
    assert shown == sorted(set(shown))
    for step in found.steps:
        assert (step.at_s, step.accuracy, step.params) == (7.0 * step.trial, step.trial / count, 1000 + step.trial)
        assert step.candidate == candidate(step.trial).to_json()


# --- all of them


FIGURES: dict[str, Callable[[Session, str], Any]] = {
    "curves": lambda session, job_id: curves(session, job_id, SEARCH, 200),
    "points": lambda session, job_id: points(session, job_id, "params", "accuracy", 2000),
    "timeline": lambda session, job_id: timeline(session, job_id, 1000),
    "evolution": evolution,
    "stamp": figures.stamp,
}


@pytest.mark.parametrize("name", FIGURES)
def test_of_a_job_that_is_not_there_nothing_is_drawn(store: Store, name: str) -> None:
    with pytest.raises(NotFound, match="there is no job 'nope'"):
        read(store, FIGURES[name], "nope")


def test_a_job_without_trials_has_no_figures_but_empty_ones(store: Store) -> None:
    job_id = add_job(store)
    assert read(store, curves, job_id, SEARCH, 10) == Curves(0, ())
    assert read(store, points, job_id, "params", "accuracy", 10) == Points(0, 0, None, ())
    assert read(store, timeline, job_id, 10) == Timeline(0, (), ())
    assert read(store, evolution, job_id).steps == ()


def test_where_numbers_are_missing_others_take_their_place(store: Store) -> None:
    job_id = add_job(store)
    row = {"job_id": job_id, "phase": Phase.SEARCH, "state": TrialState.PRUNED, "epochs": 5, "created_at": LONG_AGO}
    odd = range(1, 401, 2)
    with store.write() as session:
        session.execute(insert(Trial), [row | {"number": n, "epoch": 1, "macs": n} for n in odd])
    expected = sorted(sorted(odd, key=in_reverse)[:50])
    assert [curve.trial for curve in read(store, curves, job_id, SEARCH, 50).curves] == expected
    assert [point.trial for point in read(store, points, job_id, "macs", "number", 50).points] == expected


def test_a_figure_is_of_one_job_only(store: Store) -> None:
    mine, other = add_job(store), add_job(store)
    scatter(store, mine, 50, seed=1)
    before = {name: read(store, figure, mine) for name, figure in FIGURES.items() if name != "evolution"}
    scatter(store, other, 80, seed=2)
    assert before == {name: read(store, FIGURES[name], mine) for name in before}


def test_of_ten_thousand_trials_little_is_read_and_fast(store: Store) -> None:
    job_id = add_large_job(store, 10_000)

    def timed_s(*what: Callable[[Session, str], Any]) -> float:
        begin = perf_counter()
        for each in what:
            read(store, each, job_id)
        return perf_counter() - begin

    whole_s = timed_s(lambda *_: trials_of(store, job_id), lambda *_: epochs_of(store, job_id))
    for name, figure in FIGURES.items():
        with reading(store) as statements:
            read(store, figure, job_id)
        assert count_rows(store, selects(statements)) <= {"curves": 2_000, "points": 3_000}.get(name, 1_100), name
        assert min(timed_s(figure) for _ in range(3)) < whole_s / 3, name


def test_a_growing_job_keeps_most_of_what_is_shown(store: Store) -> None:
    job_id = add_job(store)
    scatter(store, job_id, 400, running=0)
    kinds: dict[str, Callable[[], set[int]]] = {
        "curves": lambda: {curve.trial for curve in read(store, curves, job_id, SEARCH, 60).curves},
        "points": lambda: {point.trial for point in read(store, points, job_id, "macs", "number", 60).points},
    }
    before = {name: shown() for name, shown in kinds.items()}
    row = {"job_id": job_id, "phase": Phase.SEARCH, "state": TrialState.PRUNED, "epochs": 5, "created_at": LONG_AGO}
    with store.write() as session:
        session.execute(
            insert(Trial),
            [row | {"number": number, "epoch": 1, "macs": 1, "accuracy": 0.0} for number in range(1000, 1010)],
        )
    gone = Counter({name: len(before[name] - shown()) for name, shown in kinds.items()})
    assert max(gone.values()) <= 10
