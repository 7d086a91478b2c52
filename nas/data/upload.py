"""A user's file to a data set: the only way in, and it trusts nothing."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nas.data.archive import open_archive
from nas.data.arrays import is_npz, read_npz
from nas.data.findings import class_counts, findings
from nas.data.folders import read_folders
from nas.data.found import Found, Limits
from nas.data.images import ImageSet, split_given, split_images
from nas.data.parquet import read_parquet
from nas.data.pixels import LARGEST_SIDE, SMALLEST_SIDE
from nas.errors import InvalidInput

__all__ = ["Limits", "Upload", "read_upload"]

KINDS = "send a zip file of class folders, an .npz file, or a Parquet file"

OTHERS: Final = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "RAR",
    b"\x93NUMPY": "a single NumPy array",
    b"\x89HDF": "HDF5",
    b"\x80": "pickle",
    b"\xff\xd8\xff": "one JPEG image",
    b"\x89PNG": "one PNG image",
}
"""How files begin that people may send instead."""


@dataclass(frozen=True, eq=False, slots=True)
class Upload:
    """A data set from a user's file.

    Attributes:
        data: its images may lie in a temporary file, which goes when they go.
        counts: name of a class or label → how many images have it; empty for regression.
        warnings: sentences for people.
    """

    data: ImageSet
    counts: dict[str, int]
    warnings: tuple[str, ...]


def read_upload(path: Path, *, seed: int = 0, size: int | None = None, limits: Limits = Limits()) -> Upload:  # noqa: B008 - frozen
    """Reads a zip file of class folders, an .npz file or a Parquet file of images, told by content, not by name.

    What each may look like stands in nas.data.folders, nas.data.arrays and nas.data.parquet.

    Args:
        path: the file. Nothing is written beside it.
        seed: decides the split, as far as the file does not.
        size: side of the images in pixels, 8 to 512; None keeps small images that are alike, and makes others 64×64.
        limits: what the file may cost.

    Raises:
        InvalidInput: the field is `file` or `size`, the value the first offending entry.
        OSError: the disk is full.
    """
    if size is not None and not SMALLEST_SIDE <= size <= LARGEST_SIDE:
        raise InvalidInput("size", size, f"a side of {SMALLEST_SIDE} to {LARGEST_SIDE} pixels")
    with warnings.catch_warnings():
        # What readers of foreign formats remark about a stranger's file helps nobody. Filters belong to the process and
        # not to a thread, which does no harm: whichever thread restores them last, only these are ever silenced.
        for module in ("PIL", "numpy", "<unknown>"):
            warnings.filterwarnings("ignore", module=module)
        try:
            found = _read(path, size, limits)
            data = _split(found, seed)
        except InvalidInput as error:
            raise InvalidInput("file", error.value, error.mend) from error
    return Upload(data, class_counts(data), found.warnings + findings(data))


def _read(path: Path, size: int | None, limits: Limits) -> Found:
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"PAR1"):
        return read_parquet(path, size, limits)
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        with open_archive(path, limits) as archive:
            return read_npz(archive, size) if is_npz(archive) else read_folders(archive, size)
    for magic, kind in OTHERS.items():
        if head.startswith(magic):
            raise InvalidInput("file", path.name, f"it is {kind}: {KINDS}")
    raise InvalidInput(
        "file", path.name, f"it is of no known kind, or damaged: {KINDS}" if head else f"it is empty: {KINDS}"
    )


def _split(found: Found, seed: int) -> ImageSet:
    if found.parts is None:
        return split_images(found.images, found.labels, found.classes, seed=seed, task=found.task)
    return split_given(found.images, found.labels, found.classes, found.parts, seed=seed, task=found.task)
