"""Files as users send them."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from nas.data.upload import Limits, read_upload
from nas.errors import InvalidInput


def pixels(count: int, side: int = 8, channels: int = 3, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Random images [N, H, W, C]."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def encoded(image: npt.NDArray[np.uint8] | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """An image as a file."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def folders(
    count: int = 8, classes: tuple[str, ...] = ("cat", "dog"), prefix: str = "", **shape: int
) -> dict[str, bytes]:
    """Members of a zip file: so many images of each class, each image another one."""
    images = pixels(count * len(classes), **shape)
    names = [f"{prefix}{name}/{index}.png" for name in classes for index in range(count)]
    return {name: encoded(image) for name, image in zip(names, images, strict=True)}


def zipped(path: Path, members: Mapping[str | zipfile.ZipInfo, bytes] | Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def npz(path: Path, **arrays: Any) -> Path:
    with path.open("wb") as file:
        np.savez(file, **arrays)
    return path


def parquet(path: Path, columns: Mapping[str, Any], features: Mapping[str, Any] | None = None, **options: Any) -> Path:
    """A Parquet file, with Hugging Face's metadata if features are given."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(dict(columns))
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, **options)
    return path


def refusal(path: Path, *, size: int | None = None, limits: Limits | None = None) -> InvalidInput:
    """How a file is refused."""
    with pytest.raises(InvalidInput) as caught:
        read_upload(path, size=size, limits=limits or Limits())
    assert type(caught.value) is InvalidInput
    assert caught.value.field == "file"
    return caught.value
