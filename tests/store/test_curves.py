"""Learning curves, thinned: compared with what one chooses by sorting all of them, on both databases."""

from itertools import pairwise

import pytest
from sqlalchemy import insert

from nas.store import jobs
from nas.store.curves import BEST, Curve, curves
from nas.store.session import Store
from nas.store.states import Phase, TrialState
from nas.store.tables import Epoch, Trial
from tests.store.drawn import SEARCH, epochs_of, in_reverse, read, trials_of
from tests.store.scattered import scatter
from tests.support import (
    LONG_AGO,
    add_job,
)


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


def test_curves_of_other_phases_are_there_for_who_asks(store: Store) -> None:
    job_id = add_job(store)
    scatter(store, job_id, 60)
    rows = [row for row in trials_of(store, job_id) if row.epoch]
    for phases in (SEARCH, (Phase.FINALIST,), (Phase.FINALIST, Phase.SEARCH), (Phase.CONTROL,)):
        found = read(store, curves, job_id, phases, 200)
        assert [curve.trial for curve in found.curves] == [row.number for row in rows if row.phase in phases]
        assert {curve.phase for curve in found.curves} == set(phases) - {Phase.CONTROL}


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
