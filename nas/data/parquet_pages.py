"""What the pages of a Parquet column unpack to, by their own headers: the sum in the file's footer is only a claim.

The reader unpacks a page at a time, to as many bytes and values as its header says. So a footer that understates them
would make it take any amount of memory. Headers are structs of Thrift's compact protocol (parquet-format, PageHeader).
"""

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nas.data.found import refusing
from nas.errors import InvalidInput

MOST_PAGE_BYTES = 1 << 30
"""Writers fill a page with up to a thousand images before they look at its size."""

DAMAGED = "its pages are damaged: write and send the file again"

UNPACKED, PACKED = 2, 3
"""Fields of a page's header: its sizes in bytes."""

KINDS: Final = (5, 7, 8)
"""Fields of a page's header with a header by kind: data, dictionary, data of version 2. Field 1 there counts values."""

DEEPEST = 8

Fields = dict[int, "int | Fields | None"]
"""Number of a field → its value, if that is an integer or a struct."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The pages of a column in a row group: a name for messages, and where they begin and end in the file."""

    name: str
    start: int
    end: int


def check_chunk(path: Path, chunk: Chunk, most_bytes: int, most_values: int, most_pages: int) -> int:
    """Adds up what pages unpack to, in bytes. Raises InvalidInput if it is more than allowed, or cannot be told."""
    total_bytes = total_values = pages = 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = chunk.start
        while at < chunk.end:
            with refusing(chunk.name, DAMAGED):
                fields, at = _struct(content, at, DEEPEST)
                unpacked, packed = fields.get(UNPACKED), fields.get(PACKED)
                values = next((kind[1] for number in KINDS if isinstance(kind := fields.get(number), dict)), 0)
                if not isinstance(unpacked, int) or not isinstance(packed, int) or not isinstance(values, int):
                    raise TypeError("a page without a size")
                if min(unpacked, packed, values) < 0:
                    raise ValueError("a negative size")
            at += packed
            pages += 1
            total_bytes += unpacked
            total_values += values
            if unpacked > MOST_PAGE_BYTES or total_bytes > most_bytes:
                mend = f"it unpacks to more than {min(MOST_PAGE_BYTES, most_bytes):,} bytes: send fewer images"
                raise InvalidInput("file", chunk.name, mend)
            if total_values > most_values or pages > most_pages:
                raise InvalidInput("file", chunk.name, f"it has more than {most_values:,} values: send fewer images")
    return total_bytes


def _struct(content: mmap.mmap, at: int, depth: int) -> tuple[Fields, int]:
    """Reads a struct at a place; gives its fields and the place behind it."""
    fields: Fields = {}
    number = 0
    while (head := content[at]) & 15:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _integer(content, at)
        fields[number], at = _value(content, at, head & 15, depth)
    return fields, at + 1


def _value(content: mmap.mmap, at: int, kind: int, depth: int) -> tuple["int | Fields | None", int]:
    """Reads a value of a Thrift type: a boolean, an integer, a double, bytes, a struct; a page has no others."""
    match kind:
        case 1 | 2:
            return None, at
        case 3:
            return None, at + 1
        case 4 | 5 | 6:
            return _integer(content, at)
        case 7:
            return None, at + 8
        case 8:
            length, at = _varint(content, at)
            return None, at + length
        case 12 if depth:
            return _struct(content, at, depth - 1)
    raise ValueError(f"a value of kind {kind}")


def _integer(content: mmap.mmap, at: int) -> tuple[int, int]:
    value, at = _varint(content, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(content: mmap.mmap, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number of more than 64 bits")
