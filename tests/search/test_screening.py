"""What a search makes of training-free scores."""

import json
import math
import statistics

import numpy as np
import pytest

from nas.search.screening import BATCH, BEST, Scored, batches, best_of, combine, warm_start
from nas.space import Candidate, ResidualNet

POOL = [f"c{index}" for index in range(200)]
SCORES = [float(index % 97) + index / 1000 for index in range(200)]


def scored(nwot: float, params: int, macs: int) -> Scored:
    return Scored(Candidate(ResidualNet(4, 1)), nwot, params, macs)


def test_what_was_scored_comes_back_from_json() -> None:
    one = scored(12.5, 300, 4000)
    assert Scored.from_json(json.loads(json.dumps(one.to_json()))) == one


@pytest.mark.parametrize(("samples", "count"), [(0, 0), (1, 1), (BATCH, 1), (BATCH + 1, 2), (500, 8)])
def test_samples_are_scored_in_as_many_batches_as_they_fill(samples: int, count: int) -> None:
    assert batches(samples) == count


def test_the_combined_score_is_the_mean_of_the_ranks_with_nwot_twice() -> None:
    rng = np.random.default_rng(0)
    values = np.stack([rng.integers(0, 6, 40), rng.integers(0, 9, 40), rng.integers(0, 9, 40)])
    found = combine([scored(float(a), int(b), int(c)) for a, b, c in values.T])

    def rank(row: int, value: int) -> float:  # equal values share the mean of their ranks
        return float((values[row] < value).sum() + ((values[row] == value).sum() + 1) / 2)

    expected = [(2 * rank(0, a) + rank(1, b) + rank(2, c)) / 4 for a, b, c in values.T]
    assert found == pytest.approx(expected)


def test_nothing_has_no_scores() -> None:
    assert combine([]) == []
    assert warm_start([], [], trials=20, seed=0) == []


@pytest.mark.parametrize(("trials", "total", "chance"), [(1, 1, 0), (2, 1, 0), (10, 4, 1), (24, 9, 1), (50, 20, 3)])
def test_the_warm_start_takes_two_fifths_of_a_search_some_of_them_by_chance(
    trials: int, total: int, chance: int
) -> None:
    ranked = sorted(POOL, key=lambda candidate: -SCORES[POOL.index(candidate)])
    found = warm_start(POOL, SCORES, trials=trials, seed=4)
    assert len(found) == len(set(found)) == total
    best = [candidate for candidate in found if candidate in ranked[: total - chance]]
    assert best == ranked[: total - chance]
    assert found[0] == ranked[0]


def test_a_long_search_starts_with_the_best_few_dozen_and_a_sixth_by_chance() -> None:
    ranked = sorted(POOL, key=lambda candidate: -SCORES[POOL.index(candidate)])
    for seed in range(20):
        found = warm_start(POOL, SCORES, trials=10_000, seed=seed)
        assert [candidate for candidate in found if candidate in ranked[:BEST]] == ranked[:BEST]
        assert 0.1 <= 1 - BEST / len(found) <= 0.2


def test_chance_chooses_among_all_the_others_and_where_they_stand() -> None:
    ranked = sorted(POOL, key=lambda candidate: -SCORES[POOL.index(candidate)])
    starts = [warm_start(POOL, SCORES, trials=100, seed=seed) for seed in range(200)]
    assert starts[7] == warm_start(POOL, SCORES, trials=100, seed=7)
    by_chance = [candidate for found in starts for candidate in found if candidate not in ranked[:BEST]]
    places = [found.index(candidate) for found in starts for candidate in found if candidate not in ranked[:BEST]]
    assert len(set(by_chance)) > 0.95 * (len(POOL) - BEST)
    assert set(places) == set(range(1, len(starts[0])))
    assert statistics.mean(places) == pytest.approx(len(starts[0]) / 2, abs=1)


def test_equal_candidates_are_one_and_a_small_pool_is_taken_whole() -> None:
    assert sorted(warm_start(["a", "b", "a"], [1.0, 2.0, 9.0], trials=100, seed=0)) == ["a", "b"]
    assert warm_start(["a", "b", "a"], [1.0, 2.0, 9.0], trials=5, seed=0)[0] == "b"


def test_the_best_of_several_proposals_is_the_one_with_the_largest_score() -> None:
    values = {"a": 1.0, "b": 3.0, "c": 3.0, "d": math.nan, "e": -math.inf, "f": math.inf}
    assert best_of("a", ["b", "c"], values.__getitem__) == "b"
    assert best_of("d", ["e", "a"], values.__getitem__) == "a"
    assert best_of("d", ["e"], values.__getitem__) == "d"
    assert best_of("f", ["a"], values.__getitem__) == "a"


def test_a_single_proposal_is_not_scored() -> None:
    assert best_of("a", iter(()), lambda candidate: pytest.fail(f"{candidate} was scored")) == "a"
