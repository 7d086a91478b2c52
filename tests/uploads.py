"""Small data sets as the files that people upload."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

COUNTS = {"cat": 24, "dog": 20}
"""So many that nobody has to be warned of few."""


def pictures(count: int, seed: int = 0, side: int = 8) -> npt.NDArray[np.uint8]:
    """Random colour images [N, H, W, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def png(image: npt.NDArray[np.uint8]) -> bytes:
    """An image file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def folders(counts: Mapping[str, int] = COUNTS, seed: int = 0, side: int = 8) -> dict[str, bytes]:
    """Class folders of image files: path → content."""
    files = {}
    for index, (name, count) in enumerate(counts.items()):
        for number, image in enumerate(pictures(count, seed * 100 + index, side)):
            files[f"{name}/{number:03}.png"] = png(image)
    return files


def zipped(files: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file of these files, the same bytes every time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return buffer.getvalue()


def npz(**arrays: Any) -> bytes:
    """An .npz file of these arrays, or of images and labels of three classes."""
    chosen = arrays or {"images": pictures(30), "labels": np.arange(30) % 3}
    buffer = io.BytesIO()
    np.savez(buffer, **chosen)
    return buffer.getvalue()


def parquet(count: int = 24, seed: int = 0, labels: int = 2, **columns: list[Any]) -> bytes:
    """A table of images and labels as on the Hugging Face hub, with more columns if there are any."""
    table = pa.table(
        {
            "image": pa.array(
                [{"bytes": png(image), "path": None} for image in pictures(count, seed)],
                pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
            ),
            "label": pa.array([index % labels for index in range(count)], pa.int64()),
            **columns,
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()
