"""A multipart/form-data body, read as it comes (RFC 7578): texts into memory, the file onto the disk."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from anyio import to_thread
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from nas.errors import InvalidInput

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FILE: Final = "file"
MAX_TEXT_BYTES: Final = 4096
FLUSH_BYTES: Final = 1 << 20
"""So much of the file is held in memory before it is written."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a form is to bring, for those who have to mend theirs.

    Attributes:
        file: what the file is to be.
        form: what the body has to be.
    """

    file: str = "a file with labelled images"
    form: str = "multipart/form-data with the parts name and file; with curl: -F name=photos -F file=@photos.zip"


DATASET: Final = Wanted()
IMAGE: Final = Wanted("an image", "multipart/form-data with the part file; with curl: -F file=@image.png")


@dataclass(frozen=True, slots=True)
class Form:
    """What a body brought.

    Attributes:
        filename: what the client calls the file.
        texts: the other parts by name, each as its reader made it.
    """

    filename: str
    texts: dict[str, Any]


async def receive(
    request: Request, path: Path, readers: Mapping[str, Callable[[str], Any]], wanted: Wanted = DATASET
) -> Form:
    """Writes the part `file` to a path, and reads the other parts.

    Args:
        request: its body has not been read yet.
        path: where the file goes. It may be incomplete or empty if this raises.
        readers: for each text that may come, what makes a value of it, or raises InvalidInput.
        wanted: what to say where it is something else.

    Raises:
        InvalidInput: the body is no multipart/form-data or a broken one, or a part is unknown, twice there, too long,
            not UTF-8, or missing (only the file is required here); as soon as that is seen.
    """
    receiver = _Receiver(readers, wanted)
    with path.open("wb") as file:
        try:
            parser = MultipartParser(_boundary(request, wanted), receiver.callbacks())
            async for chunk in request.stream():
                parser.write(chunk)
                if len(receiver.pending) >= FLUSH_BYTES:
                    await to_thread.run_sync(receiver.flush, file)
        except FormParserError as error:
            raise InvalidInput("body", None, f"it is broken ({error}); it has to be {wanted.form}") from error
        if not receiver.ended:
            raise InvalidInput(
                "body", None, f"it ends before its last boundary; send the whole of it, as {wanted.form}"
            )
        await to_thread.run_sync(receiver.flush, file)
        size_bytes = file.tell()
    if receiver.filename is None:
        raise InvalidInput(FILE, None, f"this field is required: {wanted.file}")
    if size_bytes == 0:
        raise InvalidInput(FILE, receiver.filename, f"it is empty; send {wanted.file}")
    return Form(receiver.filename, receiver.texts)


def _boundary(request: Request, wanted: Wanted) -> bytes:
    given = request.headers.get("Content-Type")
    kind, options = parse_options_header(given)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise InvalidInput("body", given, f"its Content-Type has to be {wanted.form}")
    return options[b"boundary"]


class _Receiver:
    """What the parser calls for each piece of the body."""

    def __init__(self, readers: Mapping[str, Callable[[str], Any]], wanted: Wanted) -> None:
        self.texts: dict[str, Any] = {}
        self.filename: str | None = None
        self.pending = bytearray()
        self.ended = False
        self._readers = readers
        self._wanted = wanted
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._field = ""
        self._text = bytearray()

    def callbacks(self) -> "MultipartCallbacks":
        """By the parser's names."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._open,
            "on_part_data": self._add,
            "on_part_end": self._close,
            "on_end": self._end,
        }

    def flush(self, file: BinaryIO) -> None:
        """Writes what has come of the file."""
        file.write(self.pending)
        self.pending.clear()

    def _begin(self) -> None:
        self._disposition = b""
        self._text.clear()

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _open(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            mend = f'a part has no Content-Disposition with a name="…"; it has to be {self._wanted.form}'
            raise InvalidInput("body", None, mend)
        self._field = options[b"name"].decode(errors="replace")
        filename = options[b"filename"].decode(errors="replace") if b"filename" in options else None
        if self._field != FILE and self._field not in self._readers:
            allowed = ", ".join((FILE, *self._readers))
            raise InvalidInput(self._field or "body", None, f"there is no such field; allowed: {allowed}")
        if self._field in self.texts or (self._field == FILE and self.filename is not None):
            raise InvalidInput(self._field, filename, "it stands there twice; send one")
        if self._field == FILE:
            if filename is None:
                raise InvalidInput(FILE, None, f"it has to come as a file: {self._wanted.form}")
            self.filename = filename
        elif filename is not None:
            raise InvalidInput(self._field, filename, "it has to be a text, not a file")

    def _add(self, data: bytes, start: int, end: int) -> None:
        if self._field == FILE:
            self.pending += data[start:end]
        elif len(self._text) + end - start > MAX_TEXT_BYTES:
            raise InvalidInput(self._field, bytes(self._text[:100]), f"at most {MAX_TEXT_BYTES:,} bytes")
        else:
            self._text += data[start:end]

    def _close(self) -> None:
        if self._field == FILE:
            return
        try:
            text = self._text.decode()
        except UnicodeDecodeError:
            raise InvalidInput(self._field, bytes(self._text), "it has to be UTF-8") from None
        self.texts[self._field] = self._readers[self._field](text)

    def _end(self) -> None:
        self.ended = True
