"""What figures are drawn from: compared with what one reads and sorts in the plainest way, on both databases."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from time import perf_counter
from typing import Any

import pytest
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from bench.service_data import add_job as add_large_job
from nas.errors import InvalidInput, NotFound
from nas.store import figures, jobs, setbacks, trials
from nas.store.claims import Claim
from nas.store.curves import BEST, Curve, Curves, curves
from nas.store.figures import AXES, Point, Points, Timeline, evolution, points, timeline
from nas.store.session import Store, now
from nas.store.states import Phase, TrialState
from nas.store.tables import Epoch, Trial
from nas.store.thinning import ends_and_between, spread, stride, turned
from tests.store.cost import count_rows, reading, selects
from tests.store.scattered import add_incumbents, scatter
from tests.support import (
    LONG_AGO,
    add_job,
    candidate,
    finish,
    hand_back,
    promote_in,
    propose,
    report,
    rungs_in,
    take,
    trial_of,
)

SEARCH = (Phase.SEARCH,)


def read(store: Store, what: Callable[..., Any], *given: Any) -> Any:
    with store.read() as session:
        return what(session, *given)


def trials_of(store: Store, job_id: str) -> list[Trial]:
    with store.read() as session:
        return list(session.scalars(select(Trial).where(Trial.job_id == job_id).order_by(Trial.number)))


def epochs_of(store: Store, job_id: str) -> dict[int, list[tuple[int, float]]]:
    """Trial → its whole curve."""
    found: dict[int, list[tuple[int, float]]] = {}
    with store.read() as session:
        rows = session.execute(
            select(Trial.number, Epoch.epoch, Epoch.validation_accuracy)
            .join(Epoch, Epoch.trial_id == Trial.id)
            .where(Trial.job_id == job_id)
            .order_by(Epoch.epoch)
        )
        for number, epoch, accuracy in rows:
            found.setdefault(number, []).append((epoch, accuracy))
    return found


# --- which ones are shown


def in_reverse(number: int) -> list[int]:
    """The bits of a number, the lowest first."""
    return [number >> bit & 1 for bit in range(31)]


def test_an_even_sample_takes_numbers_by_their_bits_in_reverse() -> None:
    assert [turned(number) for number in (0, 1, 2, 3, 2**30)] == [0, 2**30, 2**29, 2**30 + 2**29, 1]
    assert spread(range(16), 6, int) == [0, 8, 4, 12, 2, 10]
    assert spread(range(5), 9, int) == [0, 4, 2, 1, 3]


def test_an_even_sample_is_even_at_every_size() -> None:
    for count in (1, 3, 7, 64, 100, 333):
        shown = sorted(spread(range(1000), count, int))
        assert len(shown) == count
        gaps = [b - a for a, b in pairwise([*shown, 1000 + shown[0]])]
        assert max(gaps) <= 2 * max(1000 / count, min(gaps)) + 1024 / count


def test_one_more_trial_puts_at_most_one_out_of_the_sample() -> None:
    before: set[int] = set()
    for total in range(1, 300):
        shown = set(spread(range(total), 20, int))
        assert len(before - shown) <= 1
        before = shown


def test_a_stride_leaves_as_many_as_are_wanted() -> None:
    for count in (0, 1, 5, 64, 1000):
        for wanted in (1, 2, 7, 200):
            step = stride(count, wanted)
            assert step & (step - 1) == 0
            assert step == 1 or len(range(0, count, step)) >= wanted
            assert 2 * step * wanted > count


def test_of_a_series_both_ends_are_shown_and_what_lies_evenly_between() -> None:
    assert ends_and_between([], 3) == []
    assert ends_and_between([1, 2], 3) == [1, 2]
    assert ends_and_between(range(101), 5) == [0, 25, 50, 75, 100]
    assert ends_and_between(range(10), 2) == [0, 9]


# --- curves


def plain_choice(rows: list[Trial], best: int | None, limit: int) -> list[Trial]:
    """The trials whose curves are to be shown, by sorting all of them."""
    rank = sorted((row for row in rows if row.accuracy is not None), key=lambda row: (-(row.accuracy or 0), row.number))
    chosen = [row for row in rows if row.number == best]
    chosen += [row for row in rows if row.state == TrialState.RUNNING]
    chosen += rank[:BEST]
    chosen += sorted(rows, key=lambda row: in_reverse(row.number))
    return sorted(list(dict.fromkeys(chosen))[:limit], key=lambda row: row.number)


@pytest.mark.parametrize(("count", "limit"), [(15, 200), (150, 60), (400, 37), (400, 5)])
def test_the_best_trials_those_that_run_and_an_even_sample_have_curves(store: Store, count: int, limit: int) -> None:
    job_id = add_job(store)
    scatter(store, job_id, count, seed=limit)
    whole = epochs_of(store, job_id)
    rows = [row for row in trials_of(store, job_id) if row.phase == Phase.SEARCH and row.epoch]
    with store.read() as session:
        best = jobs.get(session, job_id).best_trial
    expected = plain_choice(rows, best, limit)
    found = read(store, curves, job_id, SEARCH, limit)
    assert found.total == len(rows)
    assert found.curves == tuple(Curve(row.number, row.phase, row.state, tuple(whole[row.number])) for row in expected)
    assert best in [curve.trial for curve in found.curves]


def test_where_numbers_are_missing_others_take_their_place(store: Store) -> None:
    job_id = add_job(store)
    row = {"job_id": job_id, "phase": Phase.SEARCH, "state": TrialState.PRUNED, "epochs": 5, "created_at": LONG_AGO}
    odd = range(1, 401, 2)
    with store.write() as session:
        session.execute(insert(Trial), [row | {"number": n, "epoch": 1, "macs": n} for n in odd])
    expected = sorted(sorted(odd, key=in_reverse)[:50])
    assert [curve.trial for curve in read(store, curves, job_id, SEARCH, 50).curves] == expected
    assert [point.trial for point in read(store, points, job_id, "macs", "number", 50).points] == expected


def test_curves_of_other_phases_are_there_for_who_asks(store: Store) -> None:
    job_id = add_job(store)
    scatter(store, job_id, 60)
    rows = [row for row in trials_of(store, job_id) if row.epoch]
    for phases in (SEARCH, (Phase.FINALIST,), (Phase.FINALIST, Phase.SEARCH), (Phase.CONTROL,)):
        found = read(store, curves, job_id, phases, 200)
        assert [curve.trial for curve in found.curves] == [row.number for row in rows if row.phase in phases]
        assert {curve.phase for curve in found.curves} == set(phases) - {Phase.CONTROL}


def test_a_job_without_trials_has_no_figures_but_empty_ones(store: Store) -> None:
    job_id = add_job(store)
    assert read(store, curves, job_id, SEARCH, 10) == Curves(0, ())
    assert read(store, points, job_id, "params", "accuracy", 10) == Points(0, 0, None, ())
    assert read(store, timeline, job_id, 10) == Timeline(0, (), ())
    assert read(store, evolution, job_id).steps == ()


def long_curves(store: Store, lengths: list[int]) -> str:
    """A job whose trials have trained so many epochs, each with its peak at a place of its own; its id."""
    job_id = add_job(store)
    with store.write() as session:
        for number, length in enumerate(lengths):
            row = Trial(
                job_id=job_id,
                number=number,
                phase=Phase.SEARCH,
                state=TrialState.PRUNED,
                epochs=length,
                epoch=length,
                created_at=LONG_AGO,
            )
            session.add(row)
            session.flush()
            # the peak, which comes twice, lies where no even sample would meet it
            peak = length * 2 // 3 | 1
            values = [0.9 if epoch in (peak, peak + 4) else 0.5 for epoch in range(length)]
            rows = [
                {
                    "trial_id": row.id,
                    "job_id": job_id,
                    "epoch": epoch,
                    "train_loss": 1.0,
                    "validation_loss": 1.0,
                    "validation_accuracy": value,
                    "lr": 0.1,
                    "seconds": 1.0,
                }
                for epoch, value in enumerate(values, 1)
            ]
            session.execute(insert(Epoch), rows)
    return job_id


@pytest.mark.parametrize("most", [100, 10])
def test_a_long_curve_keeps_its_ends_and_its_peak(store: Store, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.store.curves.ALL_POINTS", 6 * most)
    lengths = [1, most - 1, most, most + 1, 7 * most, 1000]
    job_id = long_curves(store, lengths)
    whole = epochs_of(store, job_id)
    for curve in read(store, curves, job_id, SEARCH, 200).curves:
        length, full = lengths[curve.trial], whole[curve.trial]
        if length <= most:
            assert curve.points == tuple(full)
            continue
        assert len(curve.points) <= most
        assert len(curve.points) >= most // 2 - 1
        assert set(curve.points) <= set(full)
        assert list(curve.points) == sorted(curve.points)
        assert (curve.points[0], curve.points[-1]) == (full[0], full[-1])
        assert max(full, key=lambda point: point[1]) in curve.points  # the first of the two
        steps = {b[0] - a[0] for a, b in pairwise(curve.points)}
        assert max(steps) <= 4 * length / most


def test_points_of_a_growing_curve_stay_where_they_are(store: Store) -> None:
    job_id = long_curves(store, [127, 255, 511])
    short, longer, longest = read(store, curves, job_id, SEARCH, 200).curves
    inner = [{epoch for epoch, value in curve.points[:-1] if value < 0.9} for curve in (short, longer, longest)]
    assert {epoch for epoch in inner[2] if epoch <= 127} <= {epoch for epoch in inner[1] if epoch <= 127} <= inner[0]


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


# --- the timeline


def test_a_worker_has_a_span_for_each_of_its_trials(store: Store) -> None:
    job_id = add_job(store)
    scatter(store, job_id, 100)
    rows = [row for row in trials_of(store, job_id) if row.started_at is not None]
    newest = sorted(rows, key=lambda row: row.started_at or LONG_AGO)[-30:]
    found = read(store, timeline, job_id, 30)
    assert found.total == len(rows)
    assert [(span.trial, span.phase, span.state) for span in found.spans] == [
        (row.number, row.phase, row.state) for row in newest
    ]
    assert [(span.worker, span.start, span.end) for span in found.spans] == [
        (row.owner, row.started_at, row.finished_at) for row in newest
    ]
    assert [span.trial for span in found.spans if span.end is None] == [
        row.number for row in newest if row.state == TrialState.RUNNING
    ]
    assert found.workers == tuple(dict.fromkeys(row.owner for row in newest))
    assert len(found.workers) == 4


Span = tuple[str, int, datetime, datetime | None]


def spans(store: Store, job_id: str, limit: int = 10) -> list[Span]:
    return [(one.worker, one.trial, one.start, one.end) for one in read(store, timeline, job_id, limit).spans]


@pytest.mark.parametrize("wait", [trials.pause, trials.hand_back])
def test_a_trial_that_waits_holds_nobody_up(store: Store, wait: Callable[[Session, Claim], None]) -> None:
    """However long it waits, and whoever goes on with it: each has a span for the time that they had it."""
    job_id = add_job(store, epochs=9, pruning="halving")
    expected: list[Span] = []
    for worker in ("ada", "bob"):
        with store.write() as session:
            taken = promote_in(session, rungs_in(session)[0], 0, worker) if expected and wait is trials.pause else None
        taken = taken or take(store, worker)
        begin = trial_of(store, taken.trial_id).began_at
        assert begin is not None
        assert spans(store, job_id) == [*expected, (worker, 0, begin, None)]
        if not expected:
            propose(store, taken, 0)
        report(store, taken, taken.epoch + 1)
        with store.read() as session:
            before = now(session)
        with store.write() as session:
            wait(session, taken)
        *earlier, (who, number, start, end) = spans(store, job_id)
        assert (earlier, who, number, start) == (expected, worker, 0, begin)
        with store.read() as session:
            assert end is not None
            assert before <= end <= now(session)
        expected = [*earlier, (who, number, start, end)]
    with store.write() as session:
        jobs.cancel(session, job_id)
    assert spans(store, job_id) == expected
    assert read(store, timeline, job_id, 10).workers == ("ada", "bob")
    assert spans(store, job_id, limit=1) == expected[-1:]


def test_a_trial_that_was_taken_and_never_begun_was_nobodys(store: Store) -> None:
    job_id = add_job(store)
    taken = take(store, "ada")
    with store.write() as session:
        setbacks.put_back(session, taken)
    assert spans(store, job_id) == []
    again = take(store, "bob")
    finish(store, again)
    [(worker, _, start, end)] = spans(store, job_id)
    row = trial_of(store, again.trial_id)
    assert (worker, start, end) == ("bob", row.began_at, row.finished_at)


def test_of_a_trial_that_is_given_back_without_end_the_last_spans_are_kept(store: Store) -> None:
    job_id = add_job(store)
    for number in range(53):
        hand_back(store, take(store, f"worker {number}"))
    assert [worker for worker, *_ in spans(store, job_id, 100)] == [f"worker {number}" for number in range(3, 53)]


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
