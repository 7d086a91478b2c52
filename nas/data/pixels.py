"""The one array that all images of a set are decoded into, and the size they get."""

import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8

from nas.data.found import Limits, count_text
from nas.errors import InvalidInput

SMALLEST_SIDE = 8
LARGEST_SIDE = 512
"""Of a size that is asked for."""

LARGEST_KEPT_SIDE = 128
DEFAULT_SIDE = 64

IN_MEMORY_BYTES = 64 << 20
"""A larger array lies in a file without a name, which the system may move out of memory, and which cannot be left."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The height and width that all images of a set have, whether some are resized to it, and what to tell of it."""

    height: int
    width: int
    resize: bool
    warnings: tuple[str, ...] = ()


def frame_of(sizes: Mapping[tuple[int, int], int], size: int | None) -> Frame:
    """Chooses the size of a set's images.

    Args:
        sizes: (height, width) → how many images have it.
        size: what was asked for: a side of 8 to 512 pixels; None keeps images that are alike and have sides of 8 to
            128 pixels, and makes others 64×64.
    """
    if size is not None:
        return Frame(size, size, resize=set(sizes) != {(size, size)})
    (height, width), *others = sizes
    if not others and min(height, width) >= SMALLEST_SIDE and max(height, width) <= LARGEST_KEPT_SIDE:
        return Frame(height, width, resize=False)
    had = f"The images had {len(sizes):,} sizes" if others else f"The images had {width}×{height} pixels"
    how = f"each was scaled and its middle cut out, to {DEFAULT_SIDE}×{DEFAULT_SIDE} pixels"
    return Frame(DEFAULT_SIDE, DEFAULT_SIDE, True, (f"{had}: {how}. Another size can be asked for.",))


def allocate(shape: tuple[int, int, int, int], limits: Limits) -> UInt8[npt.NDArray[np.uint8], "n c h w"]:
    """An array for [N, C, H, W] images; a large one is a temporary file that goes when the array goes.

    Raises:
        InvalidInput: it would be larger than the limit.
        OSError: the disk is full.
    """
    size_bytes = math.prod(shape)
    if size_bytes > limits.max_decoded_bytes:
        mend = f"they decode to {size_bytes:,} bytes; at most {limits.max_decoded_bytes:,}: send fewer or smaller ones"
        raise InvalidInput("file", f"{count_text(shape[0], 'image')} of {shape[3]}×{shape[2]} pixels", mend)
    if size_bytes <= IN_MEMORY_BYTES:
        return np.zeros(shape, dtype=np.uint8)
    with tempfile.TemporaryFile() as file:
        if hasattr(os, "posix_fallocate"):  # a full disk is then an error here, and not a signal at some later write
            os.posix_fallocate(file.fileno(), 0, size_bytes)
        else:
            file.truncate(size_bytes)
        return np.memmap(file, dtype=np.uint8, mode="r+", shape=shape)
