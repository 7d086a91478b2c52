import math
from typing import Any

import numpy as np
import pytest

from nas.search.evidence import gather
from nas.search.gaussian import OFFSET, Known, Process, Settings, default, learn
from nas.search.strategy import Observation

RNG = np.random.default_rng(0)
GROUPS = np.array([0, 0, 1])


def known(count: int = 12, levels: int = 1) -> Known:
    rng = np.random.default_rng(1)
    return Known(rng.normal(size=(count, 3)), np.sort(rng.integers(levels, size=count)), rng.normal(size=count))


def worked_out(given: Known, at: np.ndarray, settings: Settings) -> tuple[list[float], list[float]]:
    """Mean and deviation at the last rung by the book (Rasmussen, Williams 2006, equations 2.23 and 2.24)."""
    weights = np.sqrt(np.array([settings.weights[group] for group in GROUPS]))
    points = [(point - given.features.mean(0)) * weights for point in given.features]
    scale = 1 / float(np.mean([point @ point for point in points]))
    share, top = settings.linear / (1 + settings.linear), len(settings.noise) - 1

    def kernel(a: np.ndarray, b: np.ndarray, one: int, other: int) -> float:
        distance = math.sqrt(3) * float(np.linalg.norm(a - b)) / settings.length
        smooth = (1 - share) * (1 + distance) * math.exp(-distance) + share * scale * float(a @ b)
        return smooth * (1 + settings.drift * (top - max(one, other))) + (OFFSET if one == other else 0)

    rows = list(zip(points, given.levels.tolist(), strict=True))
    matrix = np.array([[kernel(a, b, one, other) for b, other in rows] for a, one in rows])
    inverse = np.linalg.inv(matrix + np.diag([settings.noise[level] for _, level in rows]))
    means, deviations = [], []
    for point in (at - given.features.mean(0)) * weights:
        column = np.array([kernel(point, b, top, other) for b, other in rows])
        means.append(float(column @ inverse @ given.values))
        deviations.append(math.sqrt(kernel(point, point, top, top) - column @ inverse @ column))
    return means, deviations


@pytest.mark.parametrize(
    "settings",
    [
        Settings(1.0, 1.0, 0.3, (0.1,), (1.0, 1.0)),
        Settings(0.7, 0.2, 0.9, (0.5, 0.2, 0.05), (2.0, 0.1)),
    ],
    ids=["one rung", "three rungs"],
)
def test_mean_and_deviation_are_those_of_the_book(settings: Settings) -> None:
    given, at = known(levels=len(settings.noise)), RNG.normal(size=(5, 3))
    process = Process(given, at[:0], GROUPS, settings)
    means, deviations = worked_out(given, at, settings)
    np.testing.assert_allclose(process.mean(at), means, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(process.deviation(at), deviations, rtol=1e-3)


def test_what_is_pending_makes_its_surroundings_less_uncertain_and_leaves_the_mean() -> None:
    given, at = known(), RNG.normal(size=(6, 3))
    before = Process(given, at[:0], GROUPS, default(1, 2))
    after = Process(given, at[:1], GROUPS, default(1, 2))
    np.testing.assert_allclose(after.mean(at), before.mean(at))
    assert after.deviation(at)[0] < 0.7 * before.deviation(at)[0]
    assert (after.deviation(at) <= before.deviation(at) + 1e-9).all()


def test_a_score_at_an_earlier_rung_tells_less_than_one_at_the_last() -> None:
    given = known(levels=3)
    at = given.features[:1] + 0.5

    def deviation(level: int) -> float:
        more = Known(np.vstack([given.features, at]), np.append(given.levels, level), np.append(given.values, 0.0))
        return float(Process(more, at[:0], GROUPS, default(3, 2)).deviation(at)[0])

    assert deviation(2) < deviation(1) < deviation(0)


def function(features: np.ndarray) -> np.ndarray:
    """Of the first two features only."""
    return np.asarray(np.sin(3 * features[:, 0]) + features[:, 1])


def test_noise_is_learnt_rung_by_rung() -> None:
    rng = np.random.default_rng(0)
    features, levels = rng.uniform(-1, 1, (120, 3)), np.repeat([0, 1], 60)
    noise = rng.normal(size=120) * np.where(levels == 0, 1.0, 0.1)
    settings = learn(Known(features, levels, function(features) + noise), 2, GROUPS)
    assert settings.noise[0] > 0.3 > 0.1 > settings.noise[1]


def test_parts_of_the_features_that_do_not_matter_lose_their_weight() -> None:
    features = np.random.default_rng(0).uniform(-1, 1, (80, 3))
    settings = learn(Known(features, np.zeros(80, np.intp), function(features)), 1, GROUPS)
    assert settings.weights[1] < 0.3 * settings.weights[0]


def test_a_rung_that_tells_nothing_about_the_last_one_is_learnt_to_drift() -> None:
    rng = np.random.default_rng(0)
    features, levels = rng.uniform(-1, 1, (120, 3)), np.repeat([0, 1], 60)
    same = function(features)
    other = np.where(levels == 0, np.cos(5 * features[:, 2]) * 1.5, same)
    assert (
        learn(Known(features, levels, other), 2, GROUPS).drift
        > 2 * learn(Known(features, levels, same), 2, GROUPS).drift
    )


def test_what_is_learnt_predicts_better_than_the_default() -> None:
    rng = np.random.default_rng(4)
    features = rng.uniform(-1, 1, (100, 3))
    values = function(features)
    seen = Known(features[:40], np.zeros(40, np.intp), values[:40])

    def error(settings: Settings) -> float:
        return float(np.abs(Process(seen, features[:0], GROUPS, settings).mean(features[40:]) - values[40:]).mean())

    assert error(learn(seen, 1, GROUPS)) < 0.7 * error(default(1, 2))


def trial(number: int, score: float | None, epoch: int = 9, **more: Any) -> Observation[str]:
    return Observation(number, "any", more.pop("finished", True), more.pop("complete", True), epoch, score, **more)


def test_scores_that_stand_are_gathered_and_no_others() -> None:
    history = [
        trial(0, 0.9, rungs=((1, 0.5), (3, 0.7))),
        trial(1, 0.6, 1, finished=False, complete=False, paused=True, rungs=((1, 0.6),)),
        trial(2, 0.8, 2, finished=False, complete=False, rungs=((1, 0.4),)),
        trial(3, 0.7, 2, finished=False, complete=False),
        trial(4, None, 0, complete=False, infeasible=True),
        trial(5, None, 2, complete=False, rungs=((1, 0.99),)),
        trial(6, 0.3, 3, complete=False),
    ]
    found = gather(history)
    rows = list(zip(found.trials.tolist(), found.levels.tolist(), found.values[:, 0].tolist(), strict=True))
    assert rows == [(0, 0, 0.5), (0, 1, 0.7), (0, 2, 0.9), (1, 0, 0.6), (2, 0, 0.4), (5, 0, -math.inf), (6, 1, 0.3)]


def test_scores_are_normal_by_their_rank_within_their_rung_and_equal_ones_stay_equal() -> None:
    history = [
        trial(number, score, epoch)
        for number, (score, epoch) in enumerate([(0.1, 3), (0.7, 9), (0.3, 3), (0.9, 9), (0.2, 3), (0.2, 3), (0.5, 9)])
    ]
    found = gather(history).scores(np.ones(1))
    quartiles = [-1.1503, -0.6745 * 0, 1.1503]  # of ranks 1 to 4, the middle two of which are one
    thirds = [-0.9674, 0.0, 0.9674]
    np.testing.assert_allclose(found[[0, 4, 2]], quartiles, atol=1e-4)
    assert found[4] == found[5]
    np.testing.assert_allclose(found[[6, 1, 3]], thirds, atol=1e-4)


def test_a_trial_that_failed_is_below_all_others_however_bad_they_are() -> None:
    found = gather([trial(0, -1e9), trial(1, None, 0, complete=False), trial(2, 5.0)])
    scores = found.scores(np.ones(1))
    assert scores[1] < scores[0] < scores[2]


def test_many_epochs_are_few_rungs_of_which_a_trial_has_its_last_score() -> None:
    rungs = tuple((epoch, epoch / 100) for epoch in range(1, 64))
    found = gather([trial(0, 0.64, 64, rungs=rungs), trial(1, 0.2, 20, complete=False, rungs=rungs[:19])])
    assert found.levels.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]
    np.testing.assert_allclose(found.values[:, 0], [0.04, 0.08, 0.16, 0.32, 0.63, 0.64, 0.04, 0.08, 0.16, 0.2])


def test_several_objectives_are_one_that_the_weights_choose() -> None:
    values = [(0.9, -9.0), (0.5, -5.0), (0.1, -1.0), (0.1, -9.0)]
    found = gather([trial(number, score, others=(other,)) for number, (score, other) in enumerate(values)])
    first, both, second = (found.scores(np.array(weights)) for weights in ([1, 0], [0.5, 0.5], [0, 1]))
    assert first.argmax() == 0
    assert both.argmax() == 1
    assert second.argmax() == 2
    assert both.argmin() == 3
