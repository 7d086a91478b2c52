"""Content-addressed files over fsspec: a folder by default, any fsspec URL in production."""

import hashlib
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

import fsspec

from nas.errors import NasError


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
                _write_atomically(Path(path), content)
            else:  # object stores show an object only once it is whole
                self._fs.pipe_file(path, content)
        return Stored(sha256, len(content))

    def get(self, sha256: str) -> bytes:
        """The content. Raises FileNotFoundError, or ArtifactDamaged if it is not what was stored."""
        content: bytes = self._fs.cat_file(self._path(sha256))
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise ArtifactDamaged(f"artifact {sha256} has the content of {found}; restore it from a backup")
        return content

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


def _write_atomically(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
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
