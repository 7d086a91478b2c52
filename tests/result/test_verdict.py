"""The verdict: what it says, and whether its intervals hold what they promise."""

import numpy as np
import pytest

from nas.result.scores import Correct
from nas.result.verdict import Scored, verdict


def scored(accuracy: float, *, seeds: int = 3, images: int = 400, params: int = 1000, offset: int = 0) -> Scored:
    """Exactly that accuracy for each seed; the errors stand at other images for another offset."""
    correct = np.ones((seeds, images), dtype=np.bool_)
    for seed in range(seeds):
        wrong = round((1 - accuracy) * images)
        correct[seed, (offset + np.arange(wrong)) % images] = False
    return Scored(offset, params, Correct(correct), images)


def test_a_clear_win_is_said_with_its_size() -> None:
    found = verdict(scored(0.95), [scored(0.80), scored(0.85, offset=9)], scored(0.90), seed=0)
    assert found["beats_random"] is True
    assert found["difference"]["mean"] == pytest.approx(0.125)
    assert found["difference"]["low"] > 0
    assert found["winner"]["mean"] == pytest.approx(0.95)
    assert found["winner"]["n"] == 3
    assert found["controls"]["n"] == 6
    assert found["best_control"]["trial"] == 9
    assert found["best_control"]["mean"] == pytest.approx(0.85)
    assert found["text"].startswith("The search beat random on the test split: 95.00 % (")
    assert "better by 12.50 points" in found["text"]
    assert "which the winner beats" in found["text"]


def test_r2_is_no_share_and_is_not_said_in_percent() -> None:
    found = verdict(scored(0.95), [scored(0.80), scored(0.85, offset=9)], scored(0.90), metric="r2", seed=0)
    assert found["text"].startswith("The search beat random on the test split: 0.950 (")
    assert " of R² against 0.825 (" in found["text"]
    assert "; better by 0.125, 95 % interval +0.0" in found["text"]
    assert " reaches 0.900 (" in found["text"]
    assert "points" not in found["text"]
    assert found["text"].count("%") == 1


def test_a_loss_is_said_as_plainly() -> None:
    found = verdict(scored(0.80), [scored(0.95), scored(0.95, offset=9)], scored(0.95), seed=0)
    assert found["beats_random"] is False
    assert found["difference"]["high"] < 0
    assert "The search lost to random" in found["text"]
    assert "which beats the winner" in found["text"]


def test_what_three_seeds_cannot_tell_is_not_called_a_win() -> None:
    rng = np.random.default_rng(1)
    networks = [Scored(n, 1000, Correct(rng.random((3, 360)) < 0.98), 360) for n in range(5)]
    found = verdict(networks[0], networks[1:4], networks[4], seed=0)
    assert found["beats_random"] is False
    assert found["difference"]["low"] < 0 < found["difference"]["high"]
    assert "won nothing that can be told from luck" in found["text"]
    assert "3 seeds and 360 test images cannot tell the two apart" in found["text"]


def test_controls_of_another_size_and_a_single_seed_are_admitted() -> None:
    found = verdict(scored(0.9, seeds=1), [scored(0.8, seeds=1, params=1300)], scored(0.8, seeds=1), seed=0)
    assert "1 of 1 controls differ from its parameters by more than 25%" in found["text"]
    assert "With one seed the intervals leave out" in found["text"]
    within = verdict(scored(0.9), [scored(0.8, params=1250)], scored(0.8), seed=0)
    assert "differ from its parameters" not in within["text"]


def test_the_same_seed_gives_the_same_verdict() -> None:
    arguments = scored(0.9), [scored(0.8), scored(0.85)], scored(0.8)
    assert verdict(*arguments, seed=3) == verdict(*arguments, seed=3)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """100 experiments whose truth is known: each network's accuracy, its seeds' and its images' luck are drawn."""
    rng = np.random.default_rng(0)
    images, truth_winner, truth_random = 500, 0.92, 0.90
    held = wins_without_cause = 0
    for experiment in range(100):
        difficulty = rng.normal(0, 0.03, images)  # the same images are hard for all networks

        def network(mean: float, number: int) -> Scored:
            seeds = np.clip(mean + rng.normal(0, 0.01, (3, 1)) + difficulty, 0, 1)  # noqa: B023 - called in this round
            return Scored(number, 1000, Correct(rng.random((3, images)) < seeds), images)

        controls = [network(truth_random + rng.normal(0, 0.01), n) for n in range(4)]
        found = verdict(network(truth_winner, 9), controls, network(0.9, 8), seed=experiment)
        held += found["difference"]["low"] <= truth_winner - truth_random <= found["difference"]["high"]
        even = verdict(network(truth_random, 9), controls, network(0.9, 8), seed=experiment)
        wins_without_cause += even["beats_random"]
    assert 0.90 <= held / 100 <= 1.0  # a plain bootstrap of three seeds holds it in about 85 %
    assert wins_without_cause / 100 <= 0.06
