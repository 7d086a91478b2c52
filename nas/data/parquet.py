"""Parquet files of images as Hugging Face writes them: a column of encoded images and a column of labels."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from nas.data.decode import decode
from nas.data.folders import PARTS
from nas.data.found import Found, Limits, check_names, refusing
from nas.data.labels import MEND, Told, of_array
from nas.data.parquet_pages import Chunk, check_chunk
from nas.data.splits import Indices
from nas.errors import InvalidInput

IMAGE_COLUMNS: Final = ("image", "img")
LABEL_COLUMNS: Final = ("label", "labels", "fine_label", "target")
"""The first of each that is there is read."""

DAMAGED = "the Parquet file is damaged or cut off: write and send it again"

MOST_CLASSES = 10_000

MOST_LABELS = 16_000_000
"""Of all images together."""

LABELS_AT_ONCE = 4096
SPLIT_COLUMN = "split"
"""Rows that are read at a time; of images it is one, since a dictionary could make many large ones out of few bytes."""


def read_parquet(path: Path, size: int | None, limits: Limits) -> Found:
    """Reads images and labels from a Parquet file, in the order of its rows.

    Images are structs with `bytes`, or binary. Labels are integers (classes), lists of integers (the labels that hold)
    or floats (targets). The schema's `huggingface` metadata names classes where it has ClassLabel names.

    Args:
        path: the file.
        size: see nas.data.pixels.frame_of.
        limits: what may be read.

    Raises:
        InvalidInput: names the column or the first row that is missing or not as above.
    """
    import pyarrow.parquet as pq  # needed, and installed, only where such files are read

    with refusing(path.name, DAMAGED):
        file = pq.ParquetFile(path)
    with file:
        with refusing(path.name, DAMAGED):
            image_column, nested = _image_column(file.schema_arrow)
            label_column = _column(file.schema_arrow.names, LABEL_COLUMNS)
            divided = SPLIT_COLUMN in file.schema_arrow.names
            columns = (image_column, label_column, *([SPLIT_COLUMN] if divided else []))
            _check_sizes(path, file.metadata, columns, limits)
            told = _labels(file, label_column, limits)
            parts = _parts(file) if divided else None

        def files() -> Iterator[tuple[str, bytes]]:
            row = 0
            with refusing(path.name, DAMAGED):
                for batch in file.iter_batches(1, columns=[image_column], use_threads=False):
                    column = batch.column(0)
                    for value in column.field("bytes") if nested else column:
                        yield f"row {row}", _content(value, f"row {row}", limits)
                        row += 1

        images, warnings = decode(files, size, limits)
    return Found(images, told.values, told.names, told.task, parts, told.warnings + warnings)


def _content(value: Any, name: str, limits: Limits) -> bytes:
    content = value.as_buffer()
    if content is None or content.size > limits.max_image_bytes:
        raise InvalidInput("file", name, f"it has no image, or one of more than {limits.max_image_bytes:,} bytes")
    found: bytes = content.to_pybytes()
    return found


def _image_column(schema: Any) -> tuple[str, bool]:
    """The path of the column with the encoded images, and whether that is inside a struct."""
    import pyarrow as pa

    name = _column(schema.names, IMAGE_COLUMNS)
    kind = schema.field(name).type
    nested = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    inner = kind.field("bytes").type if nested else kind
    if not (pa.types.is_binary(inner) or pa.types.is_large_binary(inner)):
        mend = "images are encoded files: a struct with bytes, or binary"
        raise InvalidInput("file", f"column {name} of type {kind}", mend)
    return (f"{name}.bytes" if nested else name), nested


def _column(names: list[str], known: tuple[str, ...]) -> str:
    for name in known:
        if name in names:
            return name
    raise InvalidInput("file", names[:12], f"a column is missing: one of {', '.join(known)}")


def _check_sizes(path: Path, metadata: Any, columns: tuple[str, ...], limits: Limits) -> None:
    """Raises InvalidInput if the columns to be read have more rows, or unpack to more, than the limits allow."""
    rows = metadata.num_rows
    if not 0 < rows <= limits.max_members:
        raise InvalidInput("file", f"{rows:,} rows", f"a Parquet file has 1 to {limits.max_members:,} images")
    most_bytes = min(limits.max_unpacked_bytes, max(1 << 20, int(limits.max_ratio * path.stat().st_size)))
    for group in range(metadata.num_row_groups):
        found = metadata.row_group(group)
        for chunk in (found.column(index) for index in range(found.num_columns)):
            name = chunk.path_in_schema
            if name not in columns and not name.startswith(tuple(f"{column}." for column in columns)):
                continue
            dictionary = chunk.dictionary_page_offset if chunk.has_dictionary_page else None
            start = min(offset for offset in (chunk.data_page_offset, dictionary) if offset is not None)
            most_values = limits.max_members if name == columns[0] else MOST_LABELS
            pages = Chunk(f"{name} of row group {group}", start, start + chunk.total_compressed_size)
            most_bytes -= check_chunk(path, pages, most_bytes, most_values, 2 * limits.max_members + 2)


def _parts(file: Any) -> dict[str, Indices] | None:
    """The split that a column names, as folders may; None if no row is for training. Raises InvalidInput."""
    rows: dict[str, list[int]] = {}
    row = 0
    for batch in file.iter_batches(LABELS_AT_ONCE, columns=[SPLIT_COLUMN], use_threads=False):
        for value in batch.column(0).to_pylist():
            part = PARTS.get(str(value).lower())
            if part is None:
                mend = f"the column {SPLIT_COLUMN} has one of {', '.join(PARTS)}; take it out for a random split"
                raise InvalidInput("file", f"row {row}: {str(value)[:50]}", mend)
            rows.setdefault(part, []).append(row)
            row += 1
    return {part: np.array(held, dtype=np.int64) for part, held in rows.items()} if "train" in rows else None


def _labels(file: Any, column: str, limits: Limits) -> Told:
    """The labels of all rows. Raises InvalidInput for missing ones and for other types."""
    import pyarrow as pa

    field = file.schema_arrow.field(column)
    names = _class_names(file.schema_arrow.metadata, column)
    kind = field.type
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    number = kind.value_type if listed else kind
    single = pa.types.is_integer(number) or (
        not listed and (pa.types.is_floating(number) or pa.types.is_boolean(number))
    )
    if not single:
        raise InvalidInput("file", f"column {column} of type {kind}", f"in a Parquet file a list holds classes; {MEND}")
    batches = [batch.column(0) for batch in file.iter_batches(LABELS_AT_ONCE, columns=[column], use_threads=False)]
    values = pa.chunked_array(batches, type=kind)
    missing = values.is_null().to_numpy()
    if missing.any():
        raise InvalidInput(
            "file", f"{column} of row {int(missing.argmax())}", "it is null: leave out images without a label"
        )
    if not listed:
        return of_array(values.to_numpy(), names, column)
    return _multi(values, names, column, limits)


def _multi(values: Any, names: tuple[str, ...] | None, column: str, limits: Limits) -> Told:
    """Lists of the labels that hold, to a row of 0 and 1 for each image."""
    import pyarrow.compute as pc

    flat = pc.list_flatten(values)
    rows = pc.list_parent_indices(values).to_numpy()
    if flat.null_count:
        raise InvalidInput("file", column, "a list has nulls: leave them out")
    labels = flat.to_numpy()
    outputs = len(names) if names else max(2, int(labels.max(initial=0)) + 1)
    if labels.min(initial=0) < 0 or labels.max(initial=0) >= outputs or outputs > MOST_CLASSES:
        wrong = int(labels.min(initial=0)) if labels.min(initial=0) < 0 else int(labels.max(initial=0))
        most = min(outputs, MOST_CLASSES) - 1
        raise InvalidInput("file", f"{column}: {wrong}", f"labels are 0 to {most}: number the labels from 0")
    if len(values) * outputs > limits.max_decoded_bytes:
        raise InvalidInput("file", f"{column}: {outputs} labels", "that is too many for so many images")
    held = np.zeros((len(values), outputs), dtype=np.uint8)
    held[rows, labels.astype(np.int64)] = 1
    return of_array(held, names or tuple(str(label) for label in range(outputs)), column)


def _class_names(metadata: dict[bytes, bytes] | None, column: str) -> tuple[str, ...] | None:
    """ClassLabel names of a column, or of the items of a list, from the schema's metadata; None if there are none."""
    try:
        feature = json.loads((metadata or {})[b"huggingface"])["info"]["features"][column]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    for _ in range(2):  # a list is a list of features, or a feature in one of two places, by the version of its writer
        if isinstance(feature, list) and len(feature) == 1:
            feature = feature[0]
        elif isinstance(feature, dict) and "names" not in feature:
            feature = feature.get("feature", feature.get("sequence"))
    names = feature.get("names") if isinstance(feature, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        return None
    check_names(names)
    return tuple(names)
