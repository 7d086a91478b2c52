"""A zip file of class folders: `cat/1.jpg`, or `train/cat/1.jpg` and `test/cat/2.jpg`, also inside one more folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from nas.data.archive import Archive
from nas.data.decode import decode
from nas.data.found import Found, check_names, count_text
from nas.data.splits import SPLITS, Indices
from nas.errors import InvalidInput

PARTS: Final = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""Name of a folder, in lower case → part of the split; if all top folders are among these, and train is."""

IMAGE_MAGIC: Final = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"BM", b"II*\0", b"MM\0*", b"GIF8")
"""How files of the formats begin."""

LAYOUT = "images lie in a folder for each class, as in cat/1.jpg and dog/1.jpg, or train/cat/1.jpg and test/cat/2.jpg"


@dataclass(frozen=True, order=True, slots=True)
class _Entry:
    """Where an image belongs; the order of entries is the order of the set, whatever the zip file's is."""

    part: str
    class_name: str
    file: str
    member: str


def read_folders(archive: Archive, size: int | None) -> Found:
    """Reads the images of a zip file of class folders, in the order of part, class and name.

    A part of the split that is there has every class. Files beside the top folders that are no images are skipped.

    Args:
        archive: open and checked.
        size: see nas.data.pixels.frame_of.

    Raises:
        InvalidInput: names the first entry that fits no class folder or is no image, or the class that a part lacks.
    """
    if archive.empty:
        raise InvalidInput("file", archive.empty[0], "there are no images in this folder: add some, or leave it out")
    beside, paths = _laid_out(list(archive.members))
    warnings = _skipped(archive, beside)
    entries = sorted(_entries(paths))
    classes = sorted({entry.class_name for entry in entries})
    check_names(classes)
    parts = _parts(entries, classes)

    def files() -> Iterator[tuple[str, bytes]]:
        for entry in entries:
            yield entry.member, archive.read(entry.member)

    images, more = decode(files, size, archive.limits)
    number = {name: index for index, name in enumerate(classes)}
    labels = np.array([number[entry.class_name] for entry in entries], dtype=np.int64)
    return Found(images, labels, tuple(classes), "single_label", parts, (*warnings, *more))


def _laid_out(names: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Members beside the top folders, and member → folders and file below whatever folder is around everything."""
    paths = {name: name.split("/") for name in names}
    beside: list[str] = []
    while True:
        beside += [name for name, path in paths.items() if len(path) == 1]
        paths = {name: path for name, path in paths.items() if len(path) > 1}
        around = len({path[0] for path in paths.values()}) == 1 and any(len(path) > 2 for path in paths.values())
        if not around:
            break
        paths = {name: path[1:] for name, path in paths.items()}
    if not paths:
        raise InvalidInput("file", beside[0] if beside else "an empty archive", LAYOUT)
    return beside, paths


def _skipped(archive: Archive, beside: list[str]) -> tuple[str, ...]:
    """A warning about members beside the top folders. Raises InvalidInput if one is an image: it is of no class."""
    for name in beside:
        with archive.open(name) as member:
            if member.read(8).startswith(IMAGE_MAGIC):
                raise InvalidInput("file", name, f"this image is in no class folder: {LAYOUT}")
    if not beside:
        return ()
    return (f"Skipped {count_text(len(beside), 'file')} beside the folders: {', '.join(beside[:3])}"[:300] + ".",)


def _entries(paths: dict[str, list[str]]) -> Iterator[_Entry]:
    """Raises InvalidInput for a file that is not directly in a class folder."""
    top = {path[0].lower() for path in paths.values()}
    split = top <= PARTS.keys()
    if split and "train" not in top:
        raise InvalidInput("file", min(paths), "there is a split without a train folder: add train/<class>/")
    if split and len({PARTS[name] for name in top}) < len({path[0] for path in paths.values()}):
        raise InvalidInput("file", min(paths), "two folders mean the same part of the split: keep one of them")
    for member, path in paths.items():
        if len(path) != (3 if split else 2):
            raise InvalidInput("file", member, f"it does not lie directly in the folder of a class: {LAYOUT}")
        yield _Entry(PARTS[path[0].lower()] if split else "", path[-2], path[-1], member)


def _parts(entries: list[_Entry], classes: list[str]) -> dict[str, Indices] | None:
    """Part of the split → indices of its entries; None without a split. Raises InvalidInput if a part lacks a class."""
    if not entries[0].part:
        return None
    names = [name for name in SPLITS if any(entry.part == name for entry in entries)]
    parts = {name: [i for i, entry in enumerate(entries) if entry.part == name] for name in names}
    for name, indices in parts.items():
        lacking = set(classes) - {entries[index].class_name for index in indices}
        if lacking:
            mend = "every part of a split has every class: add images of it, or leave the class out everywhere"
            raise InvalidInput("file", f"{name}/{min(lacking)}", mend)
    return {name: np.array(indices, dtype=np.int64) for name, indices in parts.items()}
