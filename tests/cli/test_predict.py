"""What `nas predict` makes of a file, and how it says what a model found."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.predict import describe
from nas.data.upload import read_upload
from nas.errors import InvalidInput
from nas.result.reading import read_image

RANGE = (0, 255)


def photograph(seed: int, size: tuple[int, int]) -> bytes:
    """A PNG of soft colours, width × height, turned on its side by its EXIF data."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    coarse.save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


def test_a_file_is_read_as_it_was_for_the_training(tmp_path: Path) -> None:
    files = {f"{name}/{index}.png": photograph(index, (90, 60 + index)) for name in "ab" for index in range(10)}
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    data = read_upload(tmp_path / "photos.zip").data
    for index, name in enumerate(sorted(files)):
        path = tmp_path / "one.png"
        path.write_bytes(files[name])
        np.testing.assert_array_equal(read_image(path, data.shape, RANGE), data.images[index])


def test_values_are_scaled_to_the_range_of_the_data(tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4).save(path)
    expected = (np.arange(64).reshape(1, 8, 8) * 4 * 16 / 255).round()
    np.testing.assert_array_equal(read_image(path, (1, 8, 8), (0, 16)), expected)
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) // 4).save(path)  # within the range already
    np.testing.assert_array_equal(read_image(path, (1, 8, 8), (0, 16)), np.arange(64).reshape(1, 8, 8) // 4)


def test_a_file_that_is_no_image_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no image")
    with pytest.raises(InvalidInput, match=r"notes\.txt"):
        read_image(path, (1, 8, 8), RANGE)


@pytest.mark.parametrize(
    ("task", "values", "said"),
    [
        ("single_label", {"cat": 0.2, "dog": 0.7, "fox": 0.1}, "dog 70.0 %, cat 20.0 %"),
        ("multi_label", {"wet": 0.51, "cold": 0.9, "far": 0.49}, "cold 90.0 %, wet 51.0 %"),
        ("multi_label", {"wet": 0.2, "cold": 0.3}, "cold 30.0 %"),
        ("regression", {"height": 1234.5678, "width": -0.5}, "height 1234.57, width -0.5"),
    ],
)
def test_what_was_found_is_said_by_the_task(task: str, values: dict[str, float], said: str) -> None:
    assert describe(task, values, top=2) == said
