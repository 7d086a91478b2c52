"""A labelled set of images, split once, as one file that is safe to read."""

import hashlib
import io
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from jaxtyping import Int64, UInt8
from sklearn.model_selection import train_test_split

from nas.errors import InvalidInput

TEST_SHARE = 0.2
VALIDATION_SHARE = 0.2
"""Of what the test split leaves."""

SMALLEST_CLASS = 7
"""Of seven images, one or two go to test, and a fifth of the rest is at least one again: every split has the class."""

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False, slots=True)
class ImageSet:
    """Images with labels and their split.

    Attributes:
        images: uint8 [N, C, H, W], C 1 or 3.
        labels: int64 [N], 0 ≤ label < len(classes).
        classes: names of the classes, in the order of their labels.
        train, validation, test: indices, int64, disjoint.
    """

    images: UInt8[npt.NDArray[np.uint8], "n c h w"]
    labels: Int64[npt.NDArray[np.int64], " n"]
    classes: tuple[str, ...]
    train: Int64[npt.NDArray[np.int64], " r"]
    validation: Int64[npt.NDArray[np.int64], " v"]
    test: Int64[npt.NDArray[np.int64], " t"]

    @property
    def digest(self) -> str:
        """sha256 of everything that training can see: shapes, values, names of classes, the split."""
        hasher = hashlib.sha256(repr((self.images.shape, self.classes)).encode())
        for array in (self.images, self.labels, self.train, self.validation, self.test):
            hasher.update(np.ascontiguousarray(array).tobytes())
            hasher.update(str(len(array)).encode())
        return hasher.hexdigest()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""
        channels, height, width = self.images.shape[1:]
        return int(channels), int(height), int(width)

    def to_bytes(self) -> bytes:
        """As an .npz file."""
        buffer = io.BytesIO()
        arrays: dict[str, npt.NDArray[Any]] = {
            "images": self.images,
            "labels": self.labels,
            "classes": np.array(self.classes, dtype=np.str_),
            **{name: getattr(self, name) for name in SPLITS},
        }
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # numpy types its own keyword there
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The inverse of to_bytes; pickled objects are refused."""
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return cls(
                images=file["images"],
                labels=file["labels"],
                classes=tuple(str(name) for name in file["classes"]),
                **{name: file[name] for name in SPLITS},
            )


def split_images(
    images: UInt8[npt.NDArray[np.uint8], "n c h w"],
    labels: Int64[npt.NDArray[np.int64], " labels"],
    classes: tuple[str, ...],
    *,
    seed: int,
) -> ImageSet:
    """Splits into train, validation and test (64, 16 and 20 %), stratified by class, indices sorted.

    Raises:
        InvalidInput: labels out of range, or a class too small to stand in every split.
    """
    if len(labels) != len(images) or labels.min(initial=0) < 0 or labels.max(initial=0) >= len(classes):
        raise InvalidInput(
            "labels", labels.shape, f"one label in 0..{len(classes) - 1} for each of {len(images)} images"
        )
    counts = np.bincount(labels, minlength=len(classes))
    if len(classes) < 2 or counts.min() < SMALLEST_CLASS:
        smallest = classes[int(counts.argmin())] if classes else None
        mend = f"two or more classes, each of at least {SMALLEST_CLASS} images, can be split"
        raise InvalidInput("labels", smallest, mend)
    rest, test = _divide(np.arange(len(labels)), labels, TEST_SHARE, seed)
    train, validation = _divide(rest, labels[rest], VALIDATION_SHARE, seed)
    return ImageSet(images, labels, classes, train, validation, test)


def _divide(
    indices: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], share: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    larger, smaller = train_test_split(indices, test_size=share, stratify=labels, random_state=seed)
    return np.sort(larger), np.sort(smaller)
