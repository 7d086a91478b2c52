"""Published data sets in the formats they were published in: MNIST's idx files and CIFAR's binary version."""

import gzip
import math
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8

from nas.data.fetch import Published, obtained
from nas.data.images import ImageSet, split_given

SPLIT_SEED = 0
"""Of what is taken from train for validation; the published test images stay the test images."""


@dataclass(frozen=True, slots=True)
class IdxSet:
    """Four gzipped idx files (LeCun et al., http://yann.lecun.com/exdb/mnist): images, labels; of train, of test."""

    name: str
    files: tuple[Published, Published, Published, Published]
    classes: tuple[str, ...]

    def read(self, folder: Path | None) -> ImageSet:
        """Grey images [N, 1, H, W]. Looks for the files in `folder`/`name`. Raises NotReady, OSError."""
        with obtained(self.files, folder and folder / self.name) as paths:
            images, labels, test_images, test_labels = (_idx(path) for path in paths)
        return _joined(images[:, np.newaxis], labels, test_images[:, np.newaxis], test_labels, self.classes)


@dataclass(frozen=True, slots=True)
class CifarSet:
    """One .tar.gz of records, a few bytes of labels and 3 × 32 × 32 bytes of pixels each (Krizhevsky 2009).

    Attributes:
        name: of the data set, and of its folder.
        file: the archive.
        train, test: members with records.
        classes: the member with the names of classes, one a line.
        label_bytes: that come before the pixels; the last of them is the class.
    """

    name: str
    file: Published
    train: tuple[str, ...]
    test: str
    classes: str
    label_bytes: int

    def read(self, folder: Path | None) -> ImageSet:
        """Colour images [N, 3, 32, 32]. Looks for the file in `folder`/`name`. Raises NotReady, OSError."""
        with (
            obtained((self.file,), folder and folder / self.name) as (path,),
            tarfile.open(path) as archive,
        ):
            classes = tuple(_member(archive, self.classes).decode().split())
            images, labels = self._records(archive, self.train)
            test_images, test_labels = self._records(archive, (self.test,))
        return _joined(images, labels, test_images, test_labels, classes)

    def _records(
        self, archive: tarfile.TarFile, members: Sequence[str]
    ) -> tuple[UInt8[npt.NDArray[np.uint8], "n 3 32 32"], UInt8[npt.NDArray[np.uint8], " n"]]:
        content = b"".join(_member(archive, member) for member in members)
        records = np.frombuffer(content, dtype=np.uint8).reshape(-1, self.label_bytes + 3 * 32 * 32)
        return records[:, self.label_bytes :].reshape(-1, 3, 32, 32), records[:, self.label_bytes - 1]


def _joined(
    images: UInt8[npt.NDArray[np.uint8], "r c h w"],
    labels: UInt8[npt.NDArray[np.uint8], " r"],
    test_images: UInt8[npt.NDArray[np.uint8], "t c h w"],
    test_labels: UInt8[npt.NDArray[np.uint8], " t"],
    classes: tuple[str, ...],
) -> ImageSet:
    count = len(images) + len(test_images)
    parts = {"train": np.arange(len(images)), "test": np.arange(len(images), count)}
    joined = np.concatenate([labels, test_labels]).astype(np.int64)
    return split_given(np.concatenate([images, test_images]), joined, classes, parts, seed=SPLIT_SEED)


def _idx(path: Path) -> UInt8[npt.NDArray[np.uint8], "*shape"]:
    """An array of bytes: two zeros, 8 for bytes, the number of sides; the sides as big-endian numbers; the data."""
    with gzip.open(path) as file:
        zeros_and_type, sides = file.read(3), file.read(1)[0]
        shape = tuple(np.frombuffer(file.read(4 * sides), dtype=">u4").tolist())
        content = file.read(math.prod(shape))
    if zeros_and_type != b"\0\0\x08":
        raise ValueError(f"{path.name} is no idx file of bytes")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"{name} is no file")
    return file.read()
