"""Image files as a model takes them, and its outputs by name. No torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, UInt8

from nas.data.decode import decode_as
from nas.data.found import Limits

FULL_SCALE: Final = 255


def read_image(
    path: str | Path, image: tuple[int, int, int], value_range: tuple[int, int]
) -> UInt8[npt.NDArray[np.uint8], "c h w"]:
    """Reads an image file into the form that the network's data has, as an upload of it would have been read.

    Files have values from 0 to 255. Where the data has a smaller range (scikit-learn's digits go to 16), the values
    are scaled to it, unless the file keeps within that range already, as one written from the data does.

    Raises:
        InvalidInput: the file is no image that can be decoded, or a huge one.
        OSError: it cannot be read.
    """
    pixels = decode_as(str(path), Path(path).read_bytes(), image, Limits())
    low, high = value_range
    if pixels.max() > high:
        pixels = (low + pixels.astype(np.float64) * (high - low) / FULL_SCALE).round().astype(np.uint8)
    return pixels


def by_name(task: str, outputs: Float[npt.NDArray[np.floating], "n k"], names: Sequence[str]) -> list[dict[str, float]]:
    """For each row its classes or labels with their probabilities, the likeliest first; targets with their values."""
    values = outputs.astype(np.float64)
    if task == "single_label":
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        values = powers / powers.sum(axis=1, keepdims=True)
    elif task == "multi_label":
        values = np.exp(-np.logaddexp(0, -values))  # a sigmoid that cannot overflow
    found = [dict(zip(names, row, strict=True)) for row in values.tolist()]
    if task == "regression":
        return found
    return [dict(sorted(row.items(), key=lambda pair: -pair[1])) for row in found]
