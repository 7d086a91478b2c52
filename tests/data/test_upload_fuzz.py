"""Damaged files of all kinds are refused, or read if the damage does not show; nothing else ever happens."""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas.data.upload import Limits, read_upload
from nas.errors import InvalidInput
from tests.data.files import encoded, npz, parquet, pixels, zipped

CASES = 150
LIMITS = Limits(max_unpacked_bytes=1 << 24, max_decoded_bytes=1 << 24, max_image_pixels=1 << 20)

KINDS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
IMAGES = pixels(14, side=12)
FILES = [encoded(image, KINDS[index % 6]) for index, image in enumerate(IMAGES)]


def of_folders(path: Path) -> Path:
    alpha = encoded(Image.new("RGBA", (12, 12), (1, 2, 3, 4)))
    return zipped(path, {f"{'ab'[index % 2]}/{index}": file for index, file in enumerate(FILES)} | {"a/x": alpha})


def of_arrays(path: Path) -> Path:
    return npz(path, images=IMAGES, labels=np.arange(14) % 2, classes=np.array(["a", "b"]), train=np.arange(14))


def of_packed_arrays(path: Path) -> Path:
    with path.open("wb") as file:
        np.savez_compressed(file, x_train=IMAGES, y_train=np.eye(2, dtype=int)[np.arange(14) % 2])
    return path


def of_parquet(path: Path) -> Path:
    feature = {"names": ["a", "b"], "_type": "ClassLabel"}
    structs = [{"bytes": file, "path": "x"} for file in FILES]
    return parquet(path, {"image": structs, "label": np.arange(14) % 2}, {"label": feature})


def of_parquet_lists(path: Path) -> Path:
    return parquet(path, {"img": FILES, "labels": [[0, 1], [1]] * 7}, compression="gzip", use_dictionary=False)


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut off, changed in a few bytes, or with a piece of it taken out or doubled."""
    made = bytearray(content)
    start, end = sorted(rng.integers(0, len(made), 2).tolist())
    match int(rng.integers(0, 6)):
        case 0:
            del made[end:]
        case 1:
            del made[start : min(end, start + 40)]
        case 2:
            made[start:start] = made[start : min(end, start + 40)]
        case 3:  # where directories and footers are
            made[len(made) - 1 - int(rng.integers(0, min(len(made), 900)))] = int(rng.integers(0, 256))
        case _:
            for at in rng.integers(0, len(made), int(rng.integers(1, 6))).tolist():
                made[at] = int(rng.integers(0, 256))
    return bytes(made)


def is_refused(path: Path) -> bool:
    """An error that is no refusal goes on, and fails the test."""
    try:
        read_upload(path, limits=LIMITS)
    except InvalidInput as error:
        return error.field == "file"
    return False


@pytest.mark.parametrize("make", [of_folders, of_arrays, of_packed_arrays, of_parquet, of_parquet_lists])
@pytest.mark.parametrize("strict", [False, True], ids=["warnings pass", "warnings are errors"])
def test_a_damaged_file_is_refused_or_read(
    make: Callable[[Path], Path], strict: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.data.pixels.IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    path = make(tmp_path / "file")
    content = path.read_bytes()
    rng = np.random.default_rng(int(strict))
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error" if strict else "ignore")
        assert len(read_upload(path, limits=LIMITS).data.images) >= 14
        for _ in range(CASES // 2):
            path.write_bytes(damaged(content, rng))
            refused += is_refused(path)
    assert refused > CASES // 8
    assert list((tmp_path / "temporary").iterdir()) == []
    assert {entry.name for entry in tmp_path.iterdir()} == {"file", "temporary"}
