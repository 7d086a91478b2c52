"""Class by class: the same figures as scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from nas.result.classes import MOST_CLASSES, by_class

RNG = np.random.default_rng(0)


def test_recall_precision_and_pairs_of_single_labels_are_those_of_scikit_learn() -> None:
    outputs = RNG.normal(size=(200, 4)).astype(np.float32)
    outputs[:, 3] = -9.0  # nothing is taken for it
    labels = RNG.integers(0, 3, 200)
    labels[:5] = 3
    found = by_class("single_label", outputs, labels, ("a", "b", "c", "d"))
    taken = outputs.argmax(axis=1)
    assert found["confusion"] == confusion_matrix(labels, taken, labels=range(4)).tolist()
    recall = recall_score(labels, taken, average=None, labels=range(4))
    precision = precision_score(labels, taken, average=None, labels=range(4), zero_division=0)
    assert [one["recall"] for one in found["classes"]] == pytest.approx(list(recall))
    assert [one["precision"] for one in found["classes"][:3]] == pytest.approx(list(precision[:3]))
    assert found["classes"][3]["precision"] is None
    assert [one["name"] for one in found["classes"]] == ["a", "b", "c", "d"]
    assert sum(one["images"] for one in found["classes"]) == 200


def test_labels_that_go_together_are_decided_one_by_one() -> None:
    outputs = RNG.normal(size=(100, 3)).astype(np.float32)
    labels = RNG.integers(0, 2, (100, 3)).astype(np.uint8)
    labels[:, 2] = 0
    found = by_class("multi_label", outputs, labels, ("a", "b", "c"))
    assert set(found) == {"classes"}
    for index, one in enumerate(found["classes"][:2]):
        assert one["recall"] == pytest.approx(recall_score(labels[:, index], outputs[:, index] > 0))
        assert one["precision"] == pytest.approx(precision_score(labels[:, index], outputs[:, index] > 0))
    assert found["classes"][2]["recall"] is None


def test_of_many_classes_no_pairs_are_kept_and_a_regression_has_none() -> None:
    many = MOST_CLASSES + 1
    outputs = RNG.normal(size=(100, many)).astype(np.float32)
    found = by_class("single_label", outputs, RNG.integers(0, many, 100), tuple(map(str, range(many))))
    assert set(found) == {"classes"}
    assert by_class("regression", outputs, outputs, ("x",)) == {}
