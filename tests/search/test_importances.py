"""PED-ANOVA, beside Optuna's."""

import json
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import json_to_distribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from nas.search.importances import importances
from nas.search.study import as_json
from nas.space import Categorical, CellSpace, Distribution, Integer, Real, Shape

OPS = ("skip_connect", "max_pool_3x3", "sep_conv_3x3", "none")

MIXED: dict[str, Distribution] = {
    "op": Categorical(OPS),
    "mixed": Categorical((None, True, 2, 0.5, "text")),
    "channels": Integer(4, 9),
    "wide": Integer(1, 1000),
    "width": Integer(16, 256, log=True),
    "pair": Integer(1, 2, log=True),
    "lr": Real(1e-4, 1e-1, log=True),
    "dropout": Real(0.0, 0.5),
}
CELLS = CellSpace(OPS, 4, Shape()).distributions()


def drawn(distributions: dict[str, Distribution], count: int, seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [{name: one.sample(rng) for name, one in distributions.items()} for _ in range(count)]


def ours(
    trials: list[dict[str, Any]], scores: list[float], distributions: dict[str, Distribution]
) -> tuple[dict[str, float], str | None]:
    columns = {name: [trial[name] for trial in trials] for name in distributions}
    return importances(columns, scores, distributions)


def theirs(
    trials: list[dict[str, Any]], scores: list[float], distributions: dict[str, Distribution]
) -> dict[str, float]:
    coded = {name: json_to_distribution(json.dumps(as_json(one))) for name, one in distributions.items()}
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [
            create_trial(params=trial, distributions=coded, value=score)
            for trial, score in zip(trials, scores, strict=True)
        ]
    )
    evaluator = PedAnovaImportanceEvaluator(target_quantile=max(0.1, 5 / len(trials)))
    return get_param_importances(study, evaluator=evaluator)


@pytest.mark.parametrize(
    ("name", "count"), [("mixed", 10), ("mixed", 23), ("mixed", 200), ("cells", 12), ("cells", 90)]
)
def test_shares_are_those_of_optuna(name: str, count: int) -> None:
    distributions = MIXED if name == "mixed" else CELLS
    trials = drawn(distributions, count, seed=count)
    rng = np.random.default_rng(count)
    scores = [float(score) for score in rng.integers(0, 40, count) / 40]  # with ties
    found, note = ours(trials, scores, distributions)
    expected = theirs(trials, scores, distributions)
    assert note is None
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert sum(found.values()) == pytest.approx(1)


def test_what_decides_the_score_comes_first() -> None:
    trials = drawn(MIXED, 600, seed=1)
    found, _ = ours(trials, [-abs(np.log(trial["lr"]) - np.log(0.01)) for trial in trials], MIXED)
    assert next(iter(found)) == "lr"
    noise = np.random.default_rng(2).random(600) / 2
    found, _ = ours(trials, list(noise + [trial["op"] == "sep_conv_3x3" for trial in trials]), MIXED)
    assert next(iter(found)) == "op"
    assert found["op"] > 0.3


@pytest.mark.parametrize(
    ("count", "scores", "distributions", "why"),
    [
        (9, lambda index: index, MIXED, "it takes 10 trials with a score, and there are 9"),
        (20, lambda index: 0.5, MIXED, "score the same"),
        (20, lambda index: float(index == 3), MIXED, "score the same"),
        (20, lambda index: index, {}, "nothing to choose"),
    ],
)
def test_where_there_are_none_it_says_why(
    count: int, scores: Any, distributions: dict[str, Distribution], why: str
) -> None:
    found, note = ours(drawn(MIXED, count, 0), [float(scores(index)) for index in range(count)], distributions)
    assert found == {}
    assert note is not None
    assert why in note
