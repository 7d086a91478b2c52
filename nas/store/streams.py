"""Files that are read and written in pieces: whole or not at all, and with troubles that have this project's names."""

import errno
import hashlib
import io
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, BinaryIO, Final, TypeAlias

from nas.errors import ArtifactDamaged, ArtifactsAway, DiskFull, NasError

CHUNK_BYTES: Final = 1 << 20
"""What is held in memory of a file that is streamed."""

FULL: Final = (errno.ENOSPC, errno.EDQUOT)
"""What a system says when a disk, or someone's share of it, is full."""

Trouble: TypeAlias = Callable[[], AbstractContextManager[None]]
"""A block in which the troubles of a place get this project's names."""


class Reader(io.RawIOBase):
    """A file that is read, wherever it is.

    Args:
        file: of fsspec, or of this machine.
        trouble: what its errors are wrapped in.
    """

    def __init__(self, file: BinaryIO, trouble: Trouble) -> None:
        self._file, self._trouble = file, trouble

    def read(self, size: int = -1) -> bytes:
        """Up to so many bytes; none at the end."""
        with self._trouble():
            return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes to a place in the file."""
        with self._trouble():
            return self._file.seek(offset, whence)

    def close(self) -> None:
        """Closes it."""
        self._file.close()
        super().close()


@contextmanager
def troubles(where: str, source: bytes | Path | None = None, kinds: type[Exception] = OSError) -> Iterator[None]:
    """A block in which a full disk is DiskFull, and what else happens to a place is ArtifactsAway.

    Args:
        where: the place, for the message.
        source: what is to be stored there.
        kinds: of errors that are the place's.
    """
    try:
        yield
    except (NasError, FileNotFoundError):
        raise
    except kinds as error:
        if isinstance(error, OSError) and error.errno in FULL:
            needed = f" for {_size_bytes(source):,} bytes" if source is not None else ""
            raise DiskFull(f"no space is left in {where}{needed} ({error.strerror}); make room there") from error
        raise ArtifactsAway(f"files in {where} cannot be used now ({type(error).__name__}: {error})") from error


def hashed(source: "BinaryIO | Reader", into: IO[bytes] | None = None) -> tuple[str, int]:
    """Reads a file to its end, writing what it reads to another one if there is one: (sha256, bytes)."""
    hasher, size_bytes = hashlib.sha256(), 0
    while chunk := source.read(CHUNK_BYTES):
        hasher.update(chunk)
        size_bytes += len(chunk)
        if into is not None:
            into.write(chunk)
    return hasher.hexdigest(), size_bytes


@contextmanager
def appearing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that gets its name when the block has ended well, and is gone if it has not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    for folder in (path.parent, path.parent.parent):  # or a new name may not survive a power cut that the row survives
        directory = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


@contextmanager
def reading(source: bytes | Path) -> Iterator[BinaryIO]:
    """A source, open to be read."""
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        yield file


def unchanged(source: bytes | Path, found: str, sha256: str) -> None:
    """Raises ArtifactDamaged if what was read of a source is not what it was."""
    if found != sha256:
        raise ArtifactDamaged(
            f"{source if isinstance(source, Path) else 'it'} was changed while it was stored; store it again"
        )


def _size_bytes(source: bytes | Path) -> int:
    return len(source) if isinstance(source, bytes) else source.stat().st_size
