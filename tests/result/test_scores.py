"""The scores that the bootstrap draws, against scikit-learn on repeated images."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, r2_score

from nas.result.scores import Ranked, Weights, scores

SEEDS, IMAGES, OUTPUTS = 3, 60, 4


def outputs_of(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """With ties, which a coarse grid makes."""
    return (rng.normal(size=(SEEDS, IMAGES, OUTPUTS)) * 4).round().astype(np.float32)


def drawn_of(rng: np.random.Generator, replicates: int = 5) -> tuple[list[npt.NDArray[np.int64]], Weights]:
    """Images drawn with replacement, and the same as weights."""
    drawn = [rng.integers(IMAGES, size=IMAGES) for _ in range(replicates)]
    return drawn, np.stack([np.bincount(images, minlength=IMAGES) / IMAGES for images in drawn])


def check(task: str, outputs: npt.NDArray[np.float32], targets: npt.NDArray[Any], plainly: Any) -> None:
    """Every replicate scores what the reference says of the repeated images."""
    drawn, weights = drawn_of(np.random.default_rng(7))
    found = scores(task, outputs, targets)
    for seed, one in enumerate(outputs):
        assert found.plain[seed] == pytest.approx(plainly(one, targets), abs=1e-6)
        for replicate, images in enumerate(drawn):
            assert found.drawn(weights)[seed, replicate] == pytest.approx(
                plainly(one[images], targets[images]), abs=1e-6
            )


def test_accuracy_of_repeated_images() -> None:
    rng = np.random.default_rng(0)
    check(
        "single_label",
        outputs_of(rng),
        rng.integers(OUTPUTS, size=IMAGES),
        lambda outputs, targets: accuracy_score(targets, outputs.argmax(axis=1)),
    )


def test_average_precision_of_repeated_images_with_ties() -> None:
    rng = np.random.default_rng(1)
    targets = (rng.random((IMAGES, OUTPUTS)) < 0.3).astype(np.uint8)
    check(
        "multi_label",
        outputs_of(rng),
        targets,
        lambda outputs, targets: average_precision_score(targets, outputs, average="macro"),
    )


def test_a_label_without_a_positive_is_left_out() -> None:
    rng = np.random.default_rng(2)
    outputs, targets = outputs_of(rng), (rng.random((IMAGES, OUTPUTS)) < 0.3).astype(np.uint8)
    targets[:, 2] = 0
    kept = [0, 1, 3]
    assert scores("multi_label", outputs, targets).plain == pytest.approx(
        scores("multi_label", outputs[:, :, kept], targets[:, kept]).plain
    )
    assert Ranked(outputs, np.zeros_like(targets)).plain.tolist() == [0.0] * SEEDS


def test_r2_of_repeated_images_far_from_zero() -> None:
    rng = np.random.default_rng(3)
    targets = (1e4 + rng.normal(size=(IMAGES, OUTPUTS))).astype(np.float32)
    outputs = (targets + rng.normal(size=(SEEDS, IMAGES, OUTPUTS))).astype(np.float32)
    check("regression", outputs, targets, lambda outputs, targets: r2_score(targets.astype(float), outputs))


def test_a_target_that_does_not_vary_is_met_or_not() -> None:
    targets = np.full((IMAGES, 1), 3.0, dtype=np.float32)
    outputs = np.stack([targets, targets + 1])
    assert scores("regression", outputs, targets).plain.tolist() == [1.0, 0.0]
