"""How scores are said."""

import pytest

from nas import words
from nas.train.tasks import SCORE


@pytest.mark.parametrize(
    ("value", "metric", "score", "named", "ahead"),
    [
        (0.98244, "accuracy", "98.24 %", "98.24 %", "+98.24"),
        (0.98244, "map", "98.24 %", "mAP 98.24 %", "+98.24"),
        (0.98244, "r2", "0.982", "R² 0.982", "+0.982"),
        (-12.3456, "r2", "-12.346", "R² -12.346", "-12.346"),
        (-0.0001, "r2", "0.000", "R² 0.000", "-0.000"),
    ],
)
def test_shares_are_said_in_percent_and_r2_is_none(
    value: float, metric: str, score: str, named: str, ahead: str
) -> None:
    assert words.score(value, metric) == score
    assert words.bare(value, metric) == score.removesuffix(" %")
    assert words.named(value, metric) == named
    assert words.ahead(value, metric) == ahead


def test_every_tasks_score_has_a_name_and_what_is_not_there_is_not_said() -> None:
    assert set(words.NAMES) == set(words.SHORT) == set(SCORE.values())
    for metric in SCORE.values():
        assert words.score(None, metric) is None
        assert words.named(None, metric) is None
