import io
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.datasets import load_digits

from nas.data.builtin import BUILTIN
from nas.data.images import SPLITS, ImageSet, split_images
from nas.errors import InvalidInput


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    return BUILTIN["digits"].load()


def small(sizes: list[int], seed: int = 0) -> ImageSet:
    """So many images of each class, each image another one, in no order."""
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))
    images = np.arange(len(labels) * 12, dtype=np.uint16).astype(np.uint8).reshape(-1, 3, 2, 2)
    return split_images(images, labels, tuple(f"class {index}" for index in range(len(sizes))), seed=seed)


def splits_of(data: ImageSet) -> list[npt.NDArray[np.int64]]:
    return [data.train, data.validation, data.test]


def test_digits_are_the_images_of_scikit_learn(digits: ImageSet) -> None:
    bunch = load_digits()
    np.testing.assert_array_equal(digits.images[:, 0], bunch.images)
    np.testing.assert_array_equal(digits.labels, bunch.target)
    assert digits.classes == tuple("0123456789")
    assert digits.shape == (1, 8, 8)
    assert digits.images.dtype == np.uint8
    assert digits.labels.dtype == np.int64


def test_digits_are_split_into_64_16_and_20_percent(digits: ImageSet) -> None:
    assert [len(split) for split in splits_of(digits)] == [1149, 288, 360]


def test_every_image_is_in_exactly_one_split(digits: ImageSet) -> None:
    for data in (digits, small([7, 30, 12])):
        assert sorted(np.concatenate(splits_of(data)).tolist()) == list(range(len(data.labels)))


def test_the_indices_of_a_split_ascend(digits: ImageSet) -> None:
    assert all((np.diff(split) > 0).all() for split in splits_of(digits))


def test_every_split_has_the_classes_in_the_shares_of_the_whole(digits: ImageSet) -> None:
    for data in (digits, small([200, 40, 10])):
        whole = np.bincount(data.labels) / len(data.labels)
        for split in splits_of(data):
            shares = np.bincount(data.labels[split], minlength=len(data.classes)) / len(split)
            assert np.abs(shares - whole).max() <= 1 / len(split)


def test_the_seed_of_the_split_decides_it() -> None:
    one, again, other = small([20, 20]), small([20, 20]), small([20, 20], seed=1)
    assert one.digest == again.digest
    assert other.digest != one.digest
    assert other.test.tolist() != one.test.tolist()


@pytest.mark.parametrize(
    "sizes", [[5, 5], [5, 100], [7] * 5, [5] * 5, [5] * 20, [6] * 10 + [5] * 10, [200] + [5] * 10], ids=str
)
def test_a_class_stands_in_every_split_or_the_data_are_refused(sizes: list[int]) -> None:
    try:
        data = small(sizes)
    except InvalidInput:
        assert min(sizes) < 7  # of seven, one or two are for the test, and a fifth of the rest is one again
        return
    for split in splits_of(data):
        assert set(data.labels[split]) == set(range(len(sizes)))


CLASSES = ("cat", "dog")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        pytest.param([0, 1] * 9, CLASSES, id="a label too few"),
        pytest.param([0, 1] * 10 + [0], CLASSES, id="a label too many"),
        pytest.param([0, 1] * 9 + [0, 2], CLASSES, id="a label too large"),
        pytest.param([0, 1] * 9 + [0, -1], CLASSES, id="a label too small"),
        pytest.param([0] * 20, ("cat",), id="one class"),
        pytest.param([], (), id="no class"),
        pytest.param([0] * 20, CLASSES, id="a class without images"),
        pytest.param([0] * 16 + [1] * 4, CLASSES, id="a class of four images"),
    ],
)
def test_labels_that_cannot_be_split_are_refused(labels: list[int], classes: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput) as caught:
        split_images(np.zeros((20, 1, 2, 2), np.uint8), np.array(labels, np.int64), classes, seed=0)
    assert caught.value.field == "labels"


def test_no_images_at_all_are_refused() -> None:
    with pytest.raises(InvalidInput):
        split_images(np.zeros((0, 1, 2, 2), np.uint8), np.zeros(0, np.int64), CLASSES, seed=0)


def test_the_smallest_class_is_named() -> None:
    with pytest.raises(InvalidInput, match="'dog'"):
        split_images(np.zeros((20, 1, 2, 2), np.uint8), np.array([0] * 16 + [1] * 4), CLASSES, seed=0)


def changed(data: ImageSet, what: str) -> ImageSet:
    def bumped(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        copy = array.copy()
        copy.flat[0] = copy.flat[0] ^ 1
        return copy

    match what:
        case "a pixel":
            return replace(data, images=bumped(data.images))
        case "a label":
            return replace(data, labels=bumped(data.labels))
        case "the shape":
            return replace(data, images=data.images.reshape(-1, 3, 4, 1))
        case "the name of a class":
            return replace(data, classes=("a", *data.classes[1:]))
        case "the order of the classes":
            return replace(data, classes=data.classes[::-1])
        case "an index of the split":
            return replace(data, train=bumped(data.train))
        case "a border between splits":
            joined = np.concatenate([data.validation, data.test])
            middle = len(data.validation) + 1
            return replace(data, validation=joined[:middle], test=joined[middle:])
    assert what == "validation and test"
    return replace(data, validation=data.test, test=data.validation)


@pytest.mark.parametrize(
    "what",
    [
        "a pixel",
        "a label",
        "the shape",
        "the name of a class",
        "the order of the classes",
        "an index of the split",
        "a border between splits",
        "validation and test",
    ],
)
def test_a_change_of_anything_changes_the_digest(what: str) -> None:
    data = small([20, 20])
    assert changed(data, what).digest != data.digest


def test_how_an_array_lies_in_memory_does_not_change_the_digest() -> None:
    data = small([20, 20])
    strided = np.asfortranarray(data.images)
    assert not strided.flags.c_contiguous
    assert replace(data, images=strided).digest == data.digest


def test_a_data_set_comes_back_from_its_file(digits: ImageSet) -> None:
    named = replace(small([7, 9]), classes=("Größe", "猫, or cat"))
    for data in (digits, named):
        again = ImageSet.from_bytes(data.to_bytes())
        assert again.digest == data.digest
        assert again.classes == data.classes
        assert all(type(name) is str for name in again.classes)
        for field in ("images", "labels", *SPLITS):
            np.testing.assert_array_equal(getattr(again, field), getattr(data, field), strict=True)


class _Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("field", ["images", "labels", "classes", "test"])
def test_a_file_with_pickled_objects_is_refused_and_nothing_in_it_runs(field: str, tmp_path: Path) -> None:
    data, mark = small([7, 9]), tmp_path / "was-here"
    arrays: dict[str, Any] = {name: getattr(data, name) for name in ("images", "labels", *SPLITS)}
    arrays |= {"classes": np.array(data.classes), field: np.array([_Bomb(mark)], dtype=object)}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    with pytest.raises(ValueError, match="allow_pickle"):
        ImageSet.from_bytes(buffer.getvalue())
    assert not mark.exists()
    with np.load(io.BytesIO(buffer.getvalue()), allow_pickle=True) as file:
        file[field]
    assert mark.exists()  # the bomb works where it may


def with_targets() -> ImageSet:
    data = small([20, 20])
    targets = np.arange(80, dtype=np.float32).reshape(40, 2)
    return split_images(data.images, targets, ("x", "y"), seed=0, task="regression")


def with_labels() -> ImageSet:
    data = small([20, 20])
    rows = np.eye(2, dtype=np.uint8)[data.labels]
    return split_images(data.images, rows, data.classes, seed=0, task="multi_label")


@pytest.mark.parametrize("make", [lambda: small([20, 20]), with_labels, with_targets])
def test_a_data_set_of_every_task_comes_back_from_a_file_and_from_bytes(
    make: Callable[[], ImageSet], tmp_path: Path
) -> None:
    data = make()
    data.save(tmp_path / "any name")
    (tmp_path / "bytes").write_bytes(data.to_bytes())
    for again in (
        ImageSet.load(tmp_path / "any name"),
        ImageSet.from_bytes(data.to_bytes()),
        ImageSet.from_bytes((tmp_path / "any name").read_bytes()),
        ImageSet.load(tmp_path / "bytes"),
    ):
        assert again.digest == data.digest
        assert (again.task, again.classes, again.outputs) == (data.task, data.classes, 2)
        for field in ("images", "labels", *SPLITS):
            np.testing.assert_array_equal(getattr(again, field), getattr(data, field), strict=True)


def test_two_files_of_one_data_set_are_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        with_targets().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_from_before_there_were_tasks_is_single_label() -> None:
    data, buffer = small([7, 9]), io.BytesIO()
    arrays: dict[str, Any] = {name: getattr(data, name) for name in ("images", "labels", *SPLITS)}
    np.savez_compressed(buffer, classes=np.array(data.classes), **arrays)
    again = ImageSet.from_bytes(buffer.getvalue())
    assert again.task == "single_label"
    assert again.digest == data.digest


def test_the_digest_of_the_digits_is_the_one_that_is_stored_everywhere(digits: ImageSet) -> None:
    assert digits.digest == "89bba43aeb8e09ebb245d02f1404aca6a3a679f8e0b208fa4db30fa89a235172"


def test_the_task_and_its_labels_change_the_digest() -> None:
    labels = with_labels()
    other = labels.labels.copy()
    other[0] = 1
    targets = with_targets()
    nearly = targets.labels.copy()
    nearly[3, 1] = np.nextafter(nearly[3, 1], np.float32(np.inf))
    sets = [labels, replace(labels, labels=other), targets, replace(targets, labels=nearly)]
    renamed = replace(labels, task="single_label")
    assert len({data.digest for data in [*sets, renamed]}) == 5


def test_to_save_and_to_load_a_large_set_takes_one_copy_of_its_images(tmp_path: Path) -> None:
    images = np.zeros((4000, 3, 64, 64), dtype=np.uint8)
    data = split_images(images, np.arange(4000, dtype=np.int64) % 2, ("a", "b"), seed=0)
    tracemalloc.start()
    data.save(tmp_path / "set")
    assert tracemalloc.get_traced_memory()[1] < 0.5 * images.nbytes
    tracemalloc.reset_peak()
    data = ImageSet.load(tmp_path / "set")
    assert tracemalloc.get_traced_memory()[1] < 1.2 * images.nbytes
    tracemalloc.reset_peak()
    assert data.digest
    assert tracemalloc.get_traced_memory()[1] < 1.2 * images.nbytes
    tracemalloc.stop()
