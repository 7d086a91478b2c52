"""NumPy's .npz files of images and labels. Shapes are checked before data are read, and nothing is ever unpickled."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from zipfile import ZipExtFile

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8
from numpy.lib import format as npy
from PIL import Image

from nas.data.archive import DAMAGED, Archive
from nas.data.decode import fit
from nas.data.found import Found, Limits, check_names, refusing
from nas.data.labels import of_array
from nas.data.pixels import Frame, allocate, frame_of
from nas.data.splits import SPLITS, Indices
from nas.errors import InvalidInput

MAGIC = b"\x93NUMPY"

LAYOUT = "an .npz file has images and labels, or x_train, y_train, x_test and y_test"

BLOCK_BYTES = 4 << 20
"""Of images that are read at a time."""

MOST_LABEL_BYTES = 256 << 20
"""Of any other array: labels, names, indices."""


@dataclass(frozen=True, slots=True)
class _Header:
    """What a .npy file says about itself before its data."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the images of an array lie: [N, H, W], channels last or channels first."""

    count: int
    channels: int
    height: int
    width: int
    channels_last: bool


def is_npz(archive: Archive) -> bool:
    """Whether the first file of an archive is a NumPy array."""
    for name in archive.members:
        with archive.open(name) as member:
            return member.read(len(MAGIC)) == MAGIC
    return False


def read_npz(archive: Archive, size: int | None) -> Found:
    """Reads images and labels from an .npz file, in one of two layouts.

    `images` and `labels`, with `classes` (names) and a split as arrays of indices, `train`, `validation` and `test`,
    where they are there; or Keras's `x_train`, `y_train`, `x_test`, `y_test`, with `classes`.
    Images are uint8, [N, H, W], [N, H, W, C] or [N, C, H, W] with C 1 or 3: the channels are at whichever end has 1 or
    3 of them. For labels see nas.data.labels.of_array.

    Args:
        archive: open and checked.
        size: see nas.data.pixels.frame_of.

    Raises:
        InvalidInput: names the array that is missing or not as above.
    """
    arrays = {name.removesuffix(".npy"): name for name in archive.members}
    keras = "x_train" in arrays
    pairs = [("x_train", "y_train"), ("x_test", "y_test")] if keras else [("images", "labels")]
    if keras and not arrays.keys() & {"x_test", "y_test"}:
        pairs = pairs[:1]
    for name in (name for pair in pairs for name in pair):
        if name not in arrays:
            raise InvalidInput("file", sorted(arrays)[:12], f"{name} is missing: {LAYOUT}")
    images, warnings = _images(archive, [arrays[x] for x, _ in pairs], size)
    blocks = [_whole(archive, arrays[y]) for _, y in pairs]
    if any(block.shape[1:] != blocks[0].shape[1:] or block.dtype.kind != blocks[0].dtype.kind for block in blocks):
        raise InvalidInput("file", pairs[1][1], f"its shape and kind of number are not those of {pairs[0][1]}")
    counts = [_header_of(archive, arrays[x]).shape[0] for x, _ in pairs]
    for (_, y), block, count in zip(pairs, blocks, counts, strict=True):
        if block.ndim == 0 or len(block) != count:
            raise InvalidInput(
                "file", f"{y} of shape {block.shape}", f"there is one label for each of {count:,} images"
            )
    names = _names(_whole(archive, arrays["classes"])) if "classes" in arrays else None
    labels = of_array(np.concatenate(blocks), names, pairs[0][1])
    if keras:
        given = np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])
        parts = dict(zip(("train", "test"), given, strict=False))  # without x_test there is but the one
    else:
        parts = {name: _indices(_whole(archive, arrays[name]), name) for name in SPLITS if name in arrays}
    used = {name for pair in pairs for name in pair} | {"classes"} | parts.keys()
    unused = sorted(arrays.keys() - used)
    skipped = (f"Arrays that were not read: {', '.join(unused)}"[:300] + ".",) if unused else ()
    return Found(images, labels.values, labels.names, labels.task, parts or None, warnings + labels.warnings + skipped)


def _images(
    archive: Archive, names: list[str], size: int | None
) -> tuple[UInt8[npt.NDArray[np.uint8], "n c h w"], tuple[str, ...]]:
    """The images of one or two arrays as one, and warnings."""
    layouts = [_layout(_header_of(archive, name), name, archive.limits) for name in names]
    first = layouts[0]
    for name, layout in zip(names, layouts, strict=True):
        if layout.channels != first.channels:
            raise InvalidInput("file", name, f"it has {layout.channels} channels and {names[0]} has {first.channels}")
    frame = frame_of({(layout.height, layout.width): layout.count for layout in layouts}, size)
    total = sum(layout.count for layout in layouts)
    images = allocate((total, first.channels, frame.height, frame.width), archive.limits)
    start = 0
    for name, layout in zip(names, layouts, strict=True):
        for block in _blocks(archive, name, layout):
            images[start : start + len(block)] = _fitted(block, frame) if frame.resize else block
            start += len(block)
    return images, frame.warnings


def _layout(header: _Header, name: str, limits: Limits) -> _Layout:
    """Tells where the channels are. Raises InvalidInput if that is nowhere or anywhere."""
    shape = header.shape
    mend = "images are uint8 of shape [N, H, W], [N, H, W, C] or [N, C, H, W], with C 1 or 3"
    if header.dtype != np.uint8:
        raise InvalidInput("file", f"{name} of type {header.dtype}", f"{mend}: grey values from 0 to 255")
    if len(shape) not in (3, 4) or 0 in shape or header.fortran:
        order = ", in C order (np.ascontiguousarray)" if header.fortran else ""
        raise InvalidInput("file", f"{name} of shape {shape}", mend + order)
    if shape[0] > limits.max_members or math.prod(shape[1:]) > 3 * limits.max_image_pixels:
        most = f"at most {limits.max_members:,} images of {limits.max_image_pixels:,} pixels"
        raise InvalidInput("file", f"{name} of shape {shape}", most)
    if len(shape) == 3:
        return _Layout(shape[0], 1, shape[1], shape[2], channels_last=False)
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if first == last:
        how = "both ends could be the channels: send larger images" if first else mend
        raise InvalidInput("file", f"{name} of shape {shape}", how)
    if last:
        return _Layout(shape[0], shape[3], shape[1], shape[2], channels_last=True)
    return _Layout(shape[0], shape[1], shape[2], shape[3], channels_last=False)


def _blocks(archive: Archive, name: str, layout: _Layout) -> Iterator[UInt8[npt.NDArray[np.uint8], "b c h w"]]:
    """The images of an array in order, a few megabytes at a time."""
    image_bytes = layout.channels * layout.height * layout.width
    with archive.open(name) as member:
        _read_header(member, name, archive.members[name].file_size)
        for start in range(0, layout.count, step := max(1, BLOCK_BYTES // image_bytes)):
            count = min(step, layout.count - start)
            flat = np.frombuffer(_exactly(member, count * image_bytes), dtype=np.uint8)
            if layout.channels_last:
                yield flat.reshape(count, layout.height, layout.width, -1).transpose(0, 3, 1, 2)
            else:
                yield flat.reshape(count, -1, layout.height, layout.width)


def _fitted(block: UInt8[npt.NDArray[np.uint8], "b c h w"], frame: Frame) -> UInt8[npt.NDArray[np.uint8], "b c g v"]:
    fitted = np.empty((*block.shape[:2], frame.height, frame.width), dtype=np.uint8)
    for slot, image in zip(fitted, block, strict=True):
        grey = len(image) == 1
        shown = fit(Image.fromarray(np.ascontiguousarray(image[0] if grey else image.transpose(1, 2, 0))), frame)
        slot[:] = np.asarray(shown) if grey else np.asarray(shown).transpose(2, 0, 1)
    return fitted


def _header_of(archive: Archive, name: str) -> _Header:
    with archive.open(name) as member:
        return _read_header(member, name, archive.members[name].file_size)


def _read_header(member: ZipExtFile, name: str, file_bytes: int) -> _Header:
    """Raises InvalidInput for arrays of objects, which only unpickling could read; ValueError for other damage."""
    version = npy.read_magic(member)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(member)
    if dtype.hasobject or dtype.names is not None:
        raise InvalidInput("file", name, "it holds Python objects: make it an array of numbers, or of names")
    header = _Header(tuple(shape), fortran, dtype)
    if any(side < 0 for side in shape) or header.size_bytes != file_bytes - member.tell():
        raise InvalidInput("file", f"{name} of shape {shape}", f"its data have another size: {DAMAGED}")
    return header


def _whole(archive: Archive, name: str) -> npt.NDArray[Any]:
    """A small array: labels, names or indices."""
    with archive.open(name) as member:
        header = _read_header(member, name, archive.members[name].file_size)
        if header.size_bytes > MOST_LABEL_BYTES:
            raise InvalidInput("file", f"{name} of shape {header.shape}", f"at most {MOST_LABEL_BYTES:,} bytes")
        content = _exactly(member, header.size_bytes)
        flat = np.frombuffer(content, dtype=header.dtype, count=math.prod(header.shape))
        return flat.reshape(header.shape, order="F" if header.fortran else "C")


def _exactly(member: ZipExtFile, size_bytes: int) -> bytes:
    content = member.read(size_bytes)
    if len(content) != size_bytes:
        raise EOFError(f"{size_bytes - len(content)} bytes are missing")
    return content


def _names(names: npt.NDArray[Any]) -> tuple[str, ...]:
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise InvalidInput("file", f"classes of shape {names.shape}, type {names.dtype}", "classes is a list of names")
    with refusing("classes", "names are text, or bytes of UTF-8"):
        found = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names.tolist())
    check_names(found)
    return found


def _indices(indices: npt.NDArray[Any], name: str) -> Indices:
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        raise InvalidInput(
            "file", f"{name} of shape {indices.shape}, type {indices.dtype}", "a part is a list of indices"
        )
    if indices.max(initial=0) > np.iinfo(np.int64).max:
        raise InvalidInput("file", name, "indices are smaller than the number of images")
    return indices.astype(np.int64)
