from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nas.data.parquet_pages import Chunk, check_chunk
from nas.data.upload import Limits, read_upload
from nas.errors import InvalidInput
from tests.data.files import encoded, parquet, pixels, refusal

IMAGES = pixels(20)
FIRST = IMAGES.transpose(0, 3, 1, 2)
BYTES = [encoded(image) for image in IMAGES]
STRUCTS = [{"bytes": content, "path": f"{row}.png"} for row, content in enumerate(BYTES)]
LABELS = [row % 2 for row in range(20)]
LISTS = [[[0], [2, 1], [], [0, 1, 2]][row % 4] for row in range(20)]
NAMED = {"names": ["cat", "dog"], "_type": "ClassLabel"}
THREE = {"names": ["wet", "cold", "far"], "_type": "ClassLabel"}


@pytest.mark.parametrize(
    ("image", "column", "label"),
    [
        ("image", STRUCTS, "label"),
        ("img", BYTES, "fine_label"),
        ("image", pa.array(BYTES, pa.large_binary()), "target"),
    ],
    ids=["struct", "binary", "large binary"],
)
@pytest.mark.parametrize("options", [{}, {"row_group_size": 6}, {"data_page_version": "2.0", "compression": "gzip"}])
def test_images_are_read_from_every_column_that_writers_make(
    image: str, column: Any, label: str, options: dict[str, Any], tmp_path: Path
) -> None:
    path = parquet(tmp_path / "file", {image: column, label: LABELS, "other": LABELS}, **options)
    upload = read_upload(path)
    np.testing.assert_array_equal(upload.data.images, FIRST, strict=True)
    assert upload.data.labels.tolist() == LABELS
    assert upload.data.classes == ("0", "1")
    assert upload.counts == {"0": 10, "1": 10}


def test_classes_are_named_by_the_schema(tmp_path: Path) -> None:
    path = parquet(tmp_path / "file", {"image": STRUCTS, "label": LABELS}, {"label": NAMED})
    assert read_upload(path).data.classes == ("cat", "dog")


def test_a_column_says_what_the_split_is(tmp_path: Path) -> None:
    split = ["test" if row < 4 else "validation" if row < 6 else "train" for row in range(20)]
    data = read_upload(parquet(tmp_path / "file", {"image": STRUCTS, "label": LABELS, "split": split})).data
    assert (data.test.tolist(), data.validation.tolist()) == ([0, 1, 2, 3], [4, 5])
    assert data.train.tolist() == list(range(6, 20))


def test_a_split_of_other_names_is_refused(tmp_path: Path) -> None:
    split = ["train"] * 19 + ["elsewhere"]
    path = parquet(tmp_path / "file", {"image": STRUCTS, "label": LABELS, "split": split})
    assert "row 19: elsewhere" in str(refusal(path))


@pytest.mark.parametrize(
    "feature",
    [
        None,
        {"feature": THREE, "_type": "Sequence"},
        {"feature": THREE, "_type": "List"},
        {"sequence": {"class_label": None, **THREE}},
        [THREE],
        "nonsense",
        {"feature": {"names": [1, 2, 3]}},
    ],
    ids=str,
)
@pytest.mark.parametrize("fixed", [False, True])
def test_lists_of_classes_are_labels_that_hold(feature: Any, fixed: bool, tmp_path: Path) -> None:
    rows = [[0, 1], [2, 1], [0, 2], [1, 2]] * 5 if fixed else LISTS
    column = pa.array(rows, pa.list_(pa.int64(), 2 if fixed else -1))
    path = parquet(tmp_path / "file", {"image": STRUCTS, "labels": column}, {"labels": feature})
    data = read_upload(path).data
    assert data.task == "multi_label"
    assert data.labels.tolist() == [[int(label in row) for label in range(3)] for row in rows]
    named = "ClassLabel" in str(feature)
    assert data.classes == (("wet", "cold", "far") if named else ("0", "1", "2"))


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64(), pa.float16()])
def test_floats_are_targets(kind: Any, tmp_path: Path) -> None:
    values = np.arange(20) / 4
    column = pa.array(values.astype(kind.to_pandas_dtype()), kind)
    data = read_upload(parquet(tmp_path / "file", {"image": STRUCTS, "target": column})).data
    assert (data.task, data.classes) == ("regression", ("target",))
    assert data.labels.tolist() == [[value] for value in values]


def with_one(column: list[Any], value: Any, row: int = 3) -> list[Any]:
    return [*column[:row], value, *column[row + 1 :]]


@pytest.mark.parametrize(
    ("columns", "value", "mend"),
    [
        ({"picture": STRUCTS, "label": LABELS}, "picture", "image, img"),
        ({"image": STRUCTS, "class": LABELS}, "class", "label, labels, fine_label, target"),
        ({"image": LABELS, "label": LABELS}, "column image of type int64", "struct with bytes"),
        ({"image": [{"path": "x"}] * 20, "label": LABELS}, "column image", "struct with bytes"),
        ({"image": STRUCTS, "label": ["cat"] * 20}, "column label of type string", "integers [N]"),
        ({"image": STRUCTS, "label": [["cat"]] * 20}, "column label of type list", "list holds classes"),
        ({"image": STRUCTS, "label": [[[1]]] * 20}, "column label of type list", "list holds classes"),
        ({"image": with_one(STRUCTS, None), "label": LABELS}, "'row 3'", "no image"),
        ({"image": with_one(STRUCTS, {"bytes": None, "path": "x"}), "label": LABELS}, "'row 3'", "no image"),
        ({"image": with_one(BYTES, b"text"), "label": LABELS}, "'row 3'", "decode"),
        ({"image": with_one(BYTES, BYTES[0][:-60]), "label": LABELS}, "'row 3'", "decode"),
        ({"image": STRUCTS, "label": with_one(LABELS, None)}, "label of row 3", "without a label"),
        ({"image": STRUCTS, "label": with_one(LABELS, -1)}, "label: -1", "from 0"),
        ({"image": STRUCTS, "label": with_one(LABELS, 2**40)}, f"label: {2**40}", "0 to 20"),
        ({"image": STRUCTS, "label": [0] * 20}, "'0'", "two or more"),
        ({"image": STRUCTS, "label": [0.5] * 19 + [float("nan")]}, "label[19]: [nan]", "finite"),
        ({"image": STRUCTS, "label": [None, *LISTS[1:]]}, "label of row 0", "without a label"),
        ({"image": STRUCTS, "label": with_one(LISTS, [0, None])}, "label", "nulls"),
        ({"image": STRUCTS, "label": with_one(LISTS, [-1])}, "label: -1", "0 to"),
        ({"image": STRUCTS, "label": with_one(LISTS, [2**40])}, f"label: {2**40}", "0 to 9999"),
        ({"image": STRUCTS, "label": pa.array([[]] * 20, pa.list_(pa.int8()))}, "'0'", "at least 7"),
        ({"image": pa.array([], pa.binary()), "label": LABELS[:0]}, "0 rows", "1 to 200,000"),
    ],
    ids=lambda value: "",
)
def test_columns_that_are_no_data_set_are_refused(
    columns: dict[str, Any], value: str, mend: str, tmp_path: Path
) -> None:
    refused = refusal(parquet(tmp_path / "file", columns))
    assert value in str(refused)
    assert mend in refused.mend


def test_labels_beyond_the_names_are_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path / "file", {"image": STRUCTS, "label": [label * 2 for label in LABELS]}, {"label": NAMED})
    assert "0 to 1" in refusal(path).mend
    path = parquet(tmp_path / "file", {"image": STRUCTS, "label": LISTS}, {"label": [NAMED]})
    assert refusal(path).value == "label: 2"


@pytest.mark.parametrize(
    ("limits", "value"),
    [
        (Limits(max_members=19), "20 rows"),
        (Limits(max_image_bytes=100), "row 0"),
        (Limits(max_image_pixels=63), "row 0"),
        (Limits(max_decoded_bytes=20 * 192 - 1), "20 images of 8×8 pixels"),
        (Limits(max_unpacked_bytes=3000), "image.bytes of row group 0"),
    ],
)
def test_more_than_the_limits_is_refused(limits: Limits, value: str, tmp_path: Path) -> None:
    assert refusal(parquet(tmp_path / "file", {"image": STRUCTS, "label": LABELS}), limits=limits).value == value


@pytest.fixture
def pool() -> Iterator[Any]:
    """Restores the pool that Arrow takes its memory from."""
    before = pa.default_memory_pool()
    yield before
    pa.set_memory_pool(before)


def test_what_unpacks_to_far_more_than_came_is_refused(tmp_path: Path, pool: Any) -> None:
    bomb = {"image": with_one(BYTES, bytes(50 << 20)), "label": LABELS}
    path = parquet(tmp_path / "file", bomb, compression="zstd")
    assert path.stat().st_size < 100_000
    counted = pa.proxy_memory_pool(pool)
    pa.set_memory_pool(counted)
    assert refusal(path).value == "image of row group 0"
    assert counted.max_memory() < 10 << 20


def test_a_dictionary_of_a_large_image_is_not_written_out_for_all_its_rows(tmp_path: Path, pool: Any) -> None:
    large = BYTES[0] + bytes(3 << 20)  # what follows a PNG is not looked at
    path = parquet(tmp_path / "file", {"image": [large] * 40, "label": LABELS * 2}, compression=None)
    assert path.stat().st_size < 2 * len(large)
    counted = pa.proxy_memory_pool(pool)
    pa.set_memory_pool(counted)
    assert len(read_upload(path).data.images) == 40
    assert len(large) < counted.max_memory() < 10 * len(large)


@pytest.mark.parametrize(
    "options", [{}, {"data_page_version": "2.0"}, {"use_dictionary": False}, {"compression": None}]
)
def test_pages_are_added_up_by_their_own_headers(options: dict[str, Any], tmp_path: Path) -> None:
    """The footer's sum counts the headers too, so that it is a little larger."""
    path = parquet(tmp_path / "file", {"image": BYTES * 50}, data_page_size=2000, write_batch_size=10, **options)
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    start = column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset
    chunk = Chunk("image", start, start + column.total_compressed_size)
    total = check_chunk(path, chunk, 1 << 30, 2000, 1000)
    assert 0.8 * column.total_uncompressed_size < total < column.total_uncompressed_size
    assert check_chunk(path, chunk, total, 2000, 1000) == total
    for bytes_, values, pages in ((total - 1, 2000, 1000), (total, 999, 1000), (total, 2000, 1)):
        with pytest.raises(InvalidInput, match="more than"):
            check_chunk(path, chunk, bytes_, values, pages)


def test_row_groups_are_added_up(tmp_path: Path) -> None:
    path = parquet(tmp_path / "file", {"image": BYTES, "label": LABELS}, row_group_size=5)
    half = sum(map(len, BYTES)) // 2
    assert refusal(path, limits=Limits(max_unpacked_bytes=half)).value in (
        "image of row group 1",
        "image of row group 2",
    )
    assert read_upload(path, limits=Limits(max_unpacked_bytes=3 * half)).warnings


def page_size_changed(path: Path, size: bytes) -> Path:
    """The size in the header of the first page as another number, in the compact protocol's zigzag code."""
    parquet(path, {"image": BYTES, "label": LABELS}, use_dictionary=False, compression="snappy")
    start = pq.ParquetFile(path).metadata.row_group(0).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    assert content[start] == content[start + 2] == 0x15  # two 32-bit integers: the kind of page, and its size
    content[start + 3 : start + 5] = size
    path.write_bytes(content)
    return path


def test_a_footer_that_lies_about_its_pages_helps_nobody(tmp_path: Path) -> None:
    gigabyte = b"\xfe\xff\xff\xff\x07"
    assert "unpacks to more than" in refusal(page_size_changed(tmp_path / "file", gigabyte)).mend
    minus_one = b"\x81\x00"
    assert "negative" in refusal(page_size_changed(tmp_path / "file", minus_one)).mend
