"""Metrics against scikit-learn."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn import metrics as reference

from nas.train import tasks
from nas.train.metrics import measure


def single(logits: npt.NDArray[Any], classes: npt.NDArray[Any]) -> dict[str, float]:
    return measure(
        "single_label", torch.from_numpy(logits.astype(np.float32)), torch.from_numpy(classes.astype(np.int64))
    )


def multi(logits: npt.NDArray[Any], labels: npt.NDArray[Any]) -> dict[str, float]:
    return measure(
        "multi_label", torch.from_numpy(logits.astype(np.float32)), torch.from_numpy(labels.astype(np.uint8))
    )


def regression(outputs: npt.NDArray[Any], targets: npt.NDArray[Any]) -> dict[str, float]:
    return measure(
        "regression", torch.from_numpy(outputs.astype(np.float32)), torch.from_numpy(targets.astype(np.float32))
    )


@pytest.mark.parametrize("classes", [2, 5, 6, 12])
def test_a_single_label_is_measured_as_scikit_learn_does(classes: int) -> None:
    rng = np.random.default_rng(classes)
    logits, labels = rng.normal(size=(97, classes)), rng.integers(classes, size=97)
    found = single(logits, labels)
    predicted = logits.astype(np.float32).argmax(axis=1)
    assert found["accuracy"] == float((predicted == labels).mean())  # to the last bit: reports are compared with it
    assert found["macro_f1"] == pytest.approx(reference.f1_score(labels, predicted, average="macro"), abs=1e-12)
    if classes > 5:
        top = reference.top_k_accuracy_score(labels, logits, k=5, labels=np.arange(classes))
        assert found["top5"] == pytest.approx(top, abs=1e-12)
    assert list(found) == [name for name in tasks.METRICS["single_label"] if name != "top5" or classes > 5]


def test_classes_that_neither_occur_nor_are_predicted_do_not_count() -> None:
    logits = np.eye(4)[[0, 0, 1, 1]] * 5
    labels = np.array([0, 1, 1, 1])
    expected = reference.f1_score(labels, [0, 0, 1, 1], average="macro")
    assert single(logits, labels)["macro_f1"] == pytest.approx(expected)


@pytest.mark.parametrize("labels", [1, 2, 7])
def test_several_labels_are_measured_as_scikit_learn_does(labels: int) -> None:
    rng = np.random.default_rng(labels)
    logits, truth = rng.normal(size=(83, labels)) * 3, rng.integers(2, size=(83, labels))
    found = multi(logits, truth)
    assert found["map"] == pytest.approx(reference.average_precision_score(truth, logits, average="macro"), abs=1e-6)
    f1 = [reference.f1_score(truth[:, label], logits[:, label] > 0) for label in range(labels)]
    assert found["macro_f1"] == pytest.approx(float(np.mean(f1)), abs=1e-12)
    assert found["accuracy"] == pytest.approx(((logits > 0) == truth).mean(), abs=1e-12)
    assert list(found) == list(tasks.METRICS["multi_label"])


def test_a_label_is_there_when_its_logit_is_above_0_however_small_all_logits_are() -> None:
    truth = np.array([[1, 0], [0, 1], [1, 1]])
    assert multi(np.where(truth, 0.2, 0.0), truth)["accuracy"] == 1.0
    assert multi(np.full((3, 2), 0.2), truth)["accuracy"] == pytest.approx(4 / 6)


def test_large_logits_are_ranked_too() -> None:
    logits = np.array([[20.0], [25.0], [30.0], [-120.0], [-130.0]])
    assert multi(logits, np.array([[0], [0], [1], [1], [0]]))["map"] == pytest.approx((1 + 2 / 4) / 2)


def test_a_label_that_no_image_has_is_left_out_of_the_mean() -> None:
    rng = np.random.default_rng(0)
    logits, truth = rng.normal(size=(30, 3)), rng.integers(2, size=(30, 3))
    truth[:, 1] = 0
    logits[:, 1] = -1
    found, without = multi(logits, truth), multi(logits[:, [0, 2]], truth[:, [0, 2]])
    assert found["map"] == without["map"]
    assert found["macro_f1"] == without["macro_f1"]


def test_without_any_positive_the_score_is_0() -> None:
    found = multi(-np.ones((4, 2)), np.zeros((4, 2)))
    assert found == {"map": 0.0, "macro_f1": 0.0, "accuracy": 1.0}


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e4, 1e6), (1e-6, 0.0), (1e-3, 100.0)])
def test_a_regression_is_measured_as_scikit_learn_does_at_every_scale(
    targets: int, scale: float, offset: float
) -> None:
    rng = np.random.default_rng(targets)
    truth = (rng.normal(size=(71, targets)) * scale + offset).astype(np.float32)
    outputs = (truth + rng.normal(size=(71, targets)) * scale / 2).astype(np.float32)
    found = regression(outputs, truth)
    exact, guess = truth.astype(np.float64), outputs.astype(np.float64)
    assert found["r2"] == pytest.approx(reference.r2_score(exact, guess), rel=1e-9)
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(exact, guess), rel=1e-9)
    assert found["rmse"] == pytest.approx(np.sqrt(reference.mean_squared_error(exact, guess)), rel=1e-6)
    assert list(found) == list(tasks.METRICS["regression"])


@pytest.mark.parametrize(("guess", "score"), [(0.1, 1.0), (0.2, 0.0)])
def test_a_target_that_does_not_vary_is_met_or_not(guess: float, score: float) -> None:
    truth = np.full((5, 1), 0.1)
    assert regression(np.full((5, 1), guess), truth)["r2"] == score == reference.r2_score(truth, np.full((5, 1), guess))


def test_a_target_that_does_not_vary_counts_among_others() -> None:
    rng = np.random.default_rng(0)
    truth = np.stack([rng.normal(size=9), np.full(9, 3.0)], axis=1)
    outputs = truth + 0.1
    assert regression(outputs, truth)["r2"] == pytest.approx(reference.r2_score(truth, outputs), abs=1e-6)


@pytest.mark.parametrize("task", tasks.METRICS)
def test_one_image_is_enough_for_finite_numbers(task: str) -> None:
    outputs = np.array([[0.5, -1.0, 2.0, 0.0, 0.1, 0.2]])
    found = {
        "single_label": lambda: single(outputs, np.array([2])),
        "multi_label": lambda: multi(outputs, np.array([[1, 0, 1, 0, 0, 0]])),
        "regression": lambda: regression(outputs, outputs + 1),
    }[task]()
    assert np.isfinite(list(found.values())).all()
    assert found[tasks.SCORE[task]] == {"single_label": 1.0, "multi_label": 1.0, "regression": 0.0}[task]
