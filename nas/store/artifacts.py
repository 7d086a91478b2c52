"""Content-addressed files over fsspec: a folder by default, any fsspec URL in production."""

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import fsspec

from nas.errors import NasError

CHUNK_BYTES: Final = 1 << 20
"""What is held in memory of a file that is streamed."""


class ArtifactDamaged(NasError):  # noqa: N818
    """A stored file is not the one that was stored: restore it from a backup."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored file: its name is its content's sha256."""

    sha256: str
    size_bytes: int


class ArtifactStore:
    """Files by their sha256. A file is there whole or not at all, whatever is killed in between.

    Args:
        url: a path, or a URL that fsspec understands.
    """

    def __init__(self, url: str) -> None:
        self._fs, self._root = fsspec.core.url_to_fs(url)
        self._local = "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,))

    def put(self, content: bytes) -> Stored:
        """Stores the content; a second time costs nothing."""
        sha256 = hashlib.sha256(content).hexdigest()
        path = self._path(sha256)
        if not self._fs.exists(path):
            if self._local:
                with _appearing(Path(path)) as file:
                    file.write(content)
            else:  # object stores show an object only once it is whole
                self._fs.pipe_file(path, content)
        return Stored(sha256, len(content))

    def put_file(self, path: Path) -> Stored:
        """Stores a file's content, which never stands in memory as a whole; a second time writes nothing."""
        with path.open("rb") as source:
            stored = _hashed(source)
        target = self._path(stored.sha256)
        if not self._fs.exists(target):
            if self._local:
                with _appearing(Path(target)) as file, path.open("rb") as source:
                    if _hashed(source, into=file) != stored:
                        raise ArtifactDamaged(f"{path} was changed while it was stored; store it again")
            else:
                self._fs.put_file(str(path), target)
        return stored

    def get(self, sha256: str) -> bytes:
        """The content. Raises FileNotFoundError, or ArtifactDamaged if it is not what was stored."""
        content: bytes = self._fs.cat_file(self._path(sha256))
        _compare(sha256, hashlib.sha256(content).hexdigest())
        return content

    def fetch(self, sha256: str, path: Path) -> None:
        """Writes the content to a path, whole or not at all; it never stands in memory as a whole.

        Raises:
            FileNotFoundError: nothing of that name is stored.
            ArtifactDamaged: it is not what was stored.
        """
        with self._fs.open(self._path(sha256), "rb") as source, _appearing(path) as file:
            _compare(sha256, _hashed(source, into=file).sha256)

    def exists(self, sha256: str) -> bool:
        """Whether something is stored under that name."""
        found: bool = self._fs.exists(self._path(sha256))
        return found

    def delete(self, sha256: str) -> None:
        """Forgets the content; nothing happens if it is gone already."""
        try:
            self._fs.rm_file(self._path(sha256))
        except FileNotFoundError:
            return

    def check(self) -> None:
        """Raises OSError if nothing can be stored."""
        if self._local:
            Path(self._root).mkdir(parents=True, exist_ok=True)
            if not os.access(self._root, os.W_OK):
                raise PermissionError(f"{self._root} is not writable")
        else:  # a listing would not tell: it fails as long as nothing is stored, and needs no right to write
            self._fs.pipe_file(f"{self._root}/.check", b"")

    def _path(self, sha256: str) -> str:
        return f"{self._root}/{sha256[:2]}/{sha256}"


def _compare(sha256: str, found: str) -> None:
    if found != sha256:
        raise ArtifactDamaged(f"artifact {sha256} has the content of {found}; restore it from a backup")


def _hashed(source: BinaryIO, into: BinaryIO | None = None) -> Stored:
    """Reads a file to its end, writing what it reads to another one if there is one."""
    hasher, size_bytes = hashlib.sha256(), 0
    while chunk := source.read(CHUNK_BYTES):
        hasher.update(chunk)
        size_bytes += len(chunk)
        if into is not None:
            into.write(chunk)
    return Stored(hasher.hexdigest(), size_bytes)


@contextmanager
def _appearing(path: Path) -> Iterator[BinaryIO]:
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
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # or the new name may not survive a power cut that the row survives
    finally:
        os.close(directory)
