from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas.data.findings import findings
from nas.data.images import ImageSet, split_images
from nas.data.upload import read_upload
from tests.data.files import npz, pixels


def of_sizes(*sizes: int) -> ImageSet:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return split_images(pixels(len(labels)).transpose(0, 3, 1, 2), labels, tuple("abcdefghij"[: len(sizes)]), seed=0)


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ((20, 20), []),
        ((19, 40), ["Few images to learn from: a (19)."]),
        ((20, 200), []),
        ((20, 201), ["The largest class has 10 times"]),
        ((30, 2999), ["The largest class has 100 times"]),
        ((29, 3000), ["Few images to learn from: a (29).", "The largest class has 103 times"]),
        ((7,) * 8, ["Few images to learn from: a (7), b (7), c (7), d (7), e (7) and 3 more."]),
    ],
    ids=str,
)
def test_tiny_and_unequal_classes_are_told(sizes: tuple[int, ...], told: list[str]) -> None:
    found = findings(of_sizes(*sizes))
    assert len(found) == len(told)
    for text, start in zip(found, told, strict=True):
        assert text.startswith(start)


def test_images_that_are_in_two_parts_are_counted(tmp_path: Path) -> None:
    data = of_sizes(30, 30)
    images = data.images.copy()
    images[data.validation[:3]] = images[data.train[0]]
    images[data.train[1]] = images[data.train[2]]  # twice in one part does no harm
    images[data.test[0]] = images[data.train[5]]
    images[data.test[1]] = images[data.validation[5]]
    assert findings(replace(data, images=images)) == (
        "3 images of validation also in train, pixel for pixel: scores flatter.",
        "2 images of test also in train or validation, pixel for pixel: scores flatter.",
    )
    same = np.concatenate([pixels(20), pixels(20)])
    upload = read_upload(npz(tmp_path / "file", images=same, labels=np.arange(40) % 2))
    assert any("also in train" in text for text in upload.warnings)


def test_labels_that_a_part_lacks_are_named() -> None:
    labels = np.zeros((60, 3), dtype=np.uint8)
    labels[::2, 0] = labels[:, 2] = 1
    labels[:20, 1] = 1
    data = split_images(pixels(60).transpose(0, 3, 1, 2), labels, ("a", "b", "c"), seed=0, task="multi_label")
    data = replace(data, train=np.arange(0, 40), validation=np.arange(40, 50), test=np.arange(50, 60))
    found = findings(data)
    assert "On every train image: c." in found
    assert "On no validation image: b." in found
    assert "On no test image: b." in found
    assert not [text for text in found if " a." in text]


def test_targets_have_no_classes_to_be_told_of() -> None:
    targets = np.arange(40, dtype=np.float32)[:, np.newaxis]
    data = split_images(pixels(40).transpose(0, 3, 1, 2), targets, ("x",), seed=0, task="regression")
    assert findings(data) == ()
