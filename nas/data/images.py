"""A labelled set of images, split once, as one file that is safe to read."""

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32, Int64, UInt8

from nas.data.splits import SMALLEST_CLASS, SPLITS, Indices, Labels, check_parts, split
from nas.errors import InvalidInput

__all__ = ["SMALLEST_CLASS", "SPLITS", "TASKS", "ImageSet", "split_given", "split_images"]

TASKS: Final = ("single_label", "multi_label", "regression")


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class ImageSet:
    """Images with labels and their split.

    Attributes:
        images: uint8 [N, C, H, W], C 1 or 3.
        labels: by the task: single_label int64 [N], 0 ≤ label < len(classes); multi_label uint8 [N, K] of 0 and 1;
            regression float32 [N, T], finite.
        classes: names of the classes in the order of their labels, of the K labels, or of the T targets.
        train, validation, test: indices, int64, disjoint.
        task: one of TASKS.
    """

    images: UInt8[npt.NDArray[np.uint8], "n c h w"]
    labels: Int64[npt.NDArray[Any], " n"] | UInt8[npt.NDArray[Any], "n k"] | Float32[npt.NDArray[Any], "n k"]
    classes: tuple[str, ...]
    train: Int64[npt.NDArray[np.int64], " r"]
    validation: Int64[npt.NDArray[np.int64], " v"]
    test: Int64[npt.NDArray[np.int64], " t"]
    task: str = "single_label"

    @property
    def digest(self) -> str:
        """sha256 of everything that training can see: shapes, values, names of classes, the split, the task."""
        # A single-label set is told by what it was told by before there were other tasks: stored digests stay true.
        seen = (self.images.shape, self.classes) + (() if self.task == "single_label" else (self.task,))
        hasher = hashlib.sha256(repr(seen).encode())
        for array in (self.images, self.labels, self.train, self.validation, self.test):
            hasher.update(np.ascontiguousarray(array).data)
            hasher.update(str(len(array)).encode())
        return hasher.hexdigest()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""
        channels, height, width = self.images.shape[1:]
        return int(channels), int(height), int(width)

    @property
    def outputs(self) -> int:
        """How many numbers a network has to put out for an image: one a class, label or target."""
        return len(self.classes)

    def save(self, path: Path) -> None:
        """Writes an .npz file, image block by image block: it takes no second copy in memory."""
        with path.open("wb") as file:
            np.savez(file, **self._arrays())  # type: ignore[arg-type]  # numpy types its own keyword there

    @classmethod
    def load(cls, path: Path) -> Self:
        """The inverse of save; reads what to_bytes wrote, too. Pickled objects are refused."""
        with path.open("rb") as file:
            return cls._read(file)

    def to_bytes(self) -> bytes:
        """As a compressed .npz file, for small sets: it stands in memory as a whole."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **self._arrays())  # type: ignore[arg-type]
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The inverse of to_bytes; pickled objects are refused."""
        return cls._read(io.BytesIO(content))

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "images": self.images,
            "labels": self.labels,
            "classes": np.array(self.classes, dtype=np.str_),
            "task": np.array(self.task),
            **{name: getattr(self, name) for name in SPLITS},
        }

    @classmethod
    def _read(cls, content: io.BufferedIOBase) -> Self:
        with np.load(content, allow_pickle=False) as file:
            return cls(
                images=file["images"],
                labels=file["labels"],
                classes=tuple(str(name) for name in file["classes"]),
                task=str(file["task"]) if "task" in file else "single_label",  # files from before there were others
                **{name: file[name] for name in SPLITS},
            )


def split_images(
    images: UInt8[npt.NDArray[np.uint8], "n c h w"],
    labels: Labels,
    classes: tuple[str, ...],
    *,
    seed: int,
    task: str = "single_label",
) -> ImageSet:
    """Splits into train, validation and test (64, 16 and 20 %), indices sorted.

    A part has the whole's shares of the classes, of the labels (Sechidis et al. 2011), or of the target's quantiles.

    Raises:
        InvalidInput: labels that do not fit the images or the task, or a class too small to stand in every split.
    """
    return split_given(images, labels, classes, {"train": np.arange(len(images))}, seed=seed, task=task)


def split_given(
    images: UInt8[npt.NDArray[np.uint8], "n c h w"],
    labels: Labels,
    classes: tuple[str, ...],
    parts: Mapping[str, Indices],
    *,
    seed: int,
    task: str = "single_label",
) -> ImageSet:
    """Keeps a split that the data came with; a test or validation part that it lacks is taken from its train part.

    Args:
        images: of all parts.
        labels: of all parts, by the task.
        classes: see ImageSet.
        parts: indices of train and, where they are given, validation and test: together every image once.
        seed: decides what is taken from train.
        task: one of TASKS.

    Raises:
        InvalidInput: as split_images; parts that leave out, repeat or invent images; a class that a part lacks.
    """
    if task not in TASKS:
        raise InvalidInput("task", task, f"allowed: {', '.join(TASKS)}")
    _CHECKS[task](labels, classes, len(images))
    check_parts(parts, len(images))
    if task != "regression":
        _check_classes(labels, classes, parts, task)
    return ImageSet(images, labels, classes, task=task, **split(labels, task, parts, seed))


def counts_of(labels: Labels, task: str, outputs: int) -> npt.NDArray[np.int64]:
    """How many images each class or label has, int64 [outputs]."""
    if task == "single_label":
        return np.bincount(labels, minlength=outputs).astype(np.int64)
    return labels.sum(axis=0, dtype=np.int64)  # type: ignore[no-any-return]


def _check_single(labels: Labels, classes: tuple[str, ...], count: int) -> None:
    if len(labels) != count or labels.min(initial=0) < 0 or labels.max(initial=0) >= len(classes):
        raise InvalidInput("labels", labels.shape, f"one label in 0..{len(classes) - 1} for each of {count} images")


def _check_multi(labels: Labels, classes: tuple[str, ...], count: int) -> None:
    if labels.shape != (count, len(classes)) or labels.max(initial=0) > 1:
        mend = f"0 or 1 for each of {len(classes)} labels of each of {count} images"
        raise InvalidInput("labels", labels.shape, mend)


def _check_regression(labels: Labels, classes: tuple[str, ...], count: int) -> None:
    if labels.shape != (count, len(classes)) or not classes:
        mend = f"one number for each of {len(classes)} targets of each of {count} images"
        raise InvalidInput("labels", labels.shape, mend)
    if count < SMALLEST_CLASS:
        raise InvalidInput("labels", f"{count} images", f"at least {SMALLEST_CLASS} can be split")
    finite = np.isfinite(labels).all(axis=1)
    if not finite.all():
        image = int(finite.argmin())
        raise InvalidInput("labels", f"image {image}: {labels[image].tolist()}", "targets are finite 32-bit numbers")
    constant = np.ptp(labels, axis=0) == 0
    if constant.any():
        raise InvalidInput(
            "labels", classes[int(constant.argmax())], "there is nothing to learn: every image has the same"
        )


_CHECKS: Final[Mapping[str, Callable[[Labels, tuple[str, ...], int], None]]] = {
    "single_label": _check_single,
    "multi_label": _check_multi,
    "regression": _check_regression,
}


def _check_classes(labels: Labels, classes: tuple[str, ...], parts: Mapping[str, Indices], task: str) -> None:
    """Two classes or more, each large enough to stand in every part, and in every part that is given."""
    counts = counts_of(labels, task, len(classes))
    if len(classes) < 2 or counts.min() < SMALLEST_CLASS:
        smallest = classes[int(counts.argmin())] if classes else None
        mend = f"two or more classes, each of at least {SMALLEST_CLASS} images, can be split"
        raise InvalidInput("labels", smallest, mend)
    for name, indices in parts.items():
        found = counts_of(labels[indices], task, len(classes))
        least = SMALLEST_CLASS if name == "train" and len(parts) < len(SPLITS) else 1
        if task == "multi_label" and name != "train":
            continue  # a rare label need not be in the test images of whoever split them
        if found.min() < least:
            mend = f"{name} has {found.min()} images of it and needs at least {least}"
            raise InvalidInput(name, classes[int(found.argmin())], mend)
