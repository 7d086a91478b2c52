"""How images are dealt out to train, validation and test, for every task."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from nas.data.images import SPLITS, ImageSet, split_given, split_images
from nas.errors import InvalidInput

RNG = np.random.default_rng(5)
SINGLE = np.arange(60) % 3
MULTI = (RNG.random((300, 5)) < (0.5, 0.2, 0.1, 0.05, 0.03)).astype(np.uint8)
MULTI[:7, 4] = 1
TARGETS = RNG.normal(size=(200, 2)).astype(np.float32)
LABELS: dict[str, tuple[npt.NDArray[Any], tuple[str, ...]]] = {
    "single_label": (SINGLE, ("a", "b", "c")),
    "multi_label": (MULTI, ("a", "b", "c", "d", "e")),
    "regression": (TARGETS, ("x", "y")),
}


def images(count: int) -> npt.NDArray[np.uint8]:
    return np.arange(count * 4, dtype=np.uint32).astype(np.uint8).reshape(count, 1, 2, 2)


def whole(task: str, seed: int = 0) -> ImageSet:
    labels, names = LABELS[task]
    return split_images(images(len(labels)), labels, names, seed=seed, task=task)


def given(task: str, parts: Mapping[str, npt.NDArray[np.int64]], seed: int = 0) -> ImageSet:
    labels, names = LABELS[task]
    return split_given(images(len(labels)), labels, names, parts, seed=seed, task=task)


@pytest.mark.parametrize("task", LABELS)
def test_every_image_is_in_one_split_of_64_16_and_20_percent_by_the_seed(task: str) -> None:
    data, again, other = whole(task), whole(task), whole(task, seed=1)
    count = len(data.images)
    splits = [getattr(data, name) for name in SPLITS]
    assert sorted(np.concatenate(splits).tolist()) == list(range(count))
    for indices, share in zip(splits, (0.64, 0.16, 0.2), strict=True):
        assert (np.diff(indices) > 0).all()
        assert abs(len(indices) - share * count) <= max(2, 0.02 * count)
    assert data.digest == again.digest != other.digest
    assert data.test.tolist() != other.test.tolist()
    assert data.task == task


@pytest.mark.parametrize("seed", range(5))
def test_every_label_is_in_every_split_in_its_share(seed: int) -> None:
    data = whole("multi_label", seed)
    for name, share in (("train", 0.64), ("validation", 0.16), ("test", 0.2)):
        held = data.labels[getattr(data, name)].sum(axis=0)
        assert (held > 0).all()
        assert np.abs(held - share * MULTI.sum(axis=0)).max() <= 2


def test_the_rarest_label_is_dealt_out_first() -> None:
    """Seven images of the rarest label, each with a label that all have: chance would leave it out of a split often."""
    labels = np.ones((200, 2), dtype=np.uint8)
    labels[7:, 1] = 0
    for seed in range(30):
        data = split_images(images(200), labels, ("all", "rare"), seed=seed, task="multi_label")
        assert [int(data.labels[getattr(data, name), 1].sum() > 0) for name in SPLITS] == [1, 1, 1]


def test_images_without_a_label_are_dealt_out_too() -> None:
    labels = np.zeros((100, 2), dtype=np.uint8)
    labels[:10, 0] = labels[5:15, 1] = 1
    data = split_images(images(100), labels, ("a", "b"), seed=0, task="multi_label")
    for name, size in (("train", 64), ("validation", 16), ("test", 20)):
        assert abs(len(getattr(data, name)) - size) <= 1
        assert (data.labels[getattr(data, name)].sum(axis=1) == 0).any()


@pytest.mark.parametrize("seed", range(5))
def test_every_split_has_every_decile_of_the_first_target(seed: int) -> None:
    data = whole("regression", seed)
    decile = np.searchsorted(np.quantile(TARGETS[:, 0], np.arange(0.1, 0.95, 0.1)), TARGETS[:, 0])
    for name in SPLITS:
        counts = np.bincount(decile[getattr(data, name)], minlength=10)
        assert counts.max() - counts.min() <= 3
        assert counts.min() > 0


@pytest.mark.parametrize("count", [7, 8, 11, 19, 20, 25])
def test_few_targets_are_split_too(count: int) -> None:
    targets = np.arange(count, dtype=np.float32)[:, np.newaxis]
    data = split_images(images(count), targets, ("x",), seed=0, task="regression")
    assert min(len(getattr(data, name)) for name in SPLITS) > 0


def test_equal_targets_are_split_too() -> None:
    targets = np.repeat(np.array([0, 1], dtype=np.float32), 30)[:, np.newaxis]
    assert len(split_images(images(60), targets, ("x",), seed=0, task="regression").test) == 12


@pytest.mark.parametrize("task", LABELS)
@pytest.mark.parametrize("names", [("test",), ("validation",), ("validation", "test"), ()], ids=str)
def test_given_parts_stay_and_others_are_taken_from_train(task: str, names: tuple[str, ...]) -> None:
    count = len(LABELS[task][0])
    order = np.random.default_rng(0).permutation(count)
    size = count // 5
    parts = {name: order[at * size : (at + 1) * size] for at, name in enumerate(names)}
    parts["train"] = order[len(names) * size :]
    data = given(task, parts)
    for name in names:
        assert getattr(data, name).tolist() == sorted(parts[name].tolist())
    splits = [getattr(data, name) for name in SPLITS]
    assert sorted(np.concatenate(splits).tolist()) == list(range(count))
    missing = len(parts["train"])
    for name, share in (("test", 0.2), ("validation", 0.2)):
        if name not in names:
            assert abs(len(getattr(data, name)) - share * missing) <= max(2, 0.02 * count)
            missing -= len(getattr(data, name))
    if task == "single_label":
        for indices in splits:
            assert set(SINGLE[indices].tolist()) == {0, 1, 2}


EVERY = np.arange(60)


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"test": EVERY}, "train"),
        ({"train": EVERY, "val": EVERY[:0]}, "val"),
        ({"train": EVERY, "test": EVERY[:0]}, "test"),
        ({"train": EVERY, "test": EVERY[:30]}, "train"),
        ({"train": EVERY[:50]}, "train"),
        ({"train": np.r_[EVERY, 5]}, "train"),
        ({"train": np.r_[EVERY[:59], 60]}, "train"),
        ({"train": np.r_[EVERY[1:], -1]}, "train"),
        ({"train": EVERY[SINGLE > 0], "test": EVERY[SINGLE == 0]}, "train"),
        ({"train": np.delete(EVERY, [0, 1]), "test": EVERY[:2]}, "test"),
        ({"train": EVERY[:18], "test": EVERY[18:]}, "train"),
    ],
)
def test_parts_that_are_no_split_are_refused(parts: dict[str, npt.NDArray[np.int64]], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        given("single_label", parts)
    assert caught.value.field == field


def test_six_images_of_a_class_are_enough_for_train_where_nothing_is_taken_from_it() -> None:
    parts = {"train": EVERY[:18], "validation": EVERY[18:30], "test": EVERY[30:]}
    assert len(given("single_label", parts).train) == 18


@pytest.mark.parametrize(
    ("labels", "names", "task"),
    [
        (MULTI[:, :4], ("a", "b", "c", "d", "e"), "multi_label"),
        (MULTI[:299], ("a", "b", "c", "d", "e"), "multi_label"),
        (MULTI * 2, ("a", "b", "c", "d", "e"), "multi_label"),
        (MULTI * (1, 1, 1, 1, 0), ("a", "b", "c", "d", "e"), "multi_label"),
        (MULTI[:, :1], ("a",), "multi_label"),
        (np.zeros((300, 1), np.float32), ("x",), "regression"),
        (np.full((300, 1), np.nan, np.float32), ("x",), "regression"),
        (np.zeros((300, 0), np.float32), (), "regression"),
        (np.ones((300, 2), np.float32), ("x",), "regression"),
        (np.arange(300) % 2, ("a", "b"), "ranking"),
    ],
)
def test_labels_that_do_not_fit_the_task_are_refused(
    labels: npt.NDArray[Any], names: tuple[str, ...], task: str
) -> None:
    with pytest.raises(InvalidInput):
        split_images(images(300), labels, names, seed=0, task=task)
