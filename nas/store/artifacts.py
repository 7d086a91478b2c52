"""Content-addressed files: a folder by default, `s3://` or any other URL that fsspec understands in production.

Credentials and endpoints of an object store are its client's: for S3 `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
`AWS_ENDPOINT_URL`, or ~/.aws; for any store also `FSSPEC_<PROTOCOL>_<OPTION>` and ~/.config/fsspec.
"""

import contextlib
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Final, TypeVar

from nas.errors import ArtifactDamaged, ArtifactsAway
from nas.store.places import Found, Place, find_place
from nas.store.streams import CHUNK_BYTES, Reader, appearing, hashed, troubles

log = logging.getLogger(__name__)

T = TypeVar("T")

REMEMBERED: Final = 10_000
"""Files of which a process remembers that it has read them whole."""

NEW_S: Final = 1800.0
"""A file that was written within this time is not written again."""

FOLDERS: Final = frozenset(f"{number:02x}" for number in range(256))
"""What files are spread over: the first two letters of their names."""

DOOMED: Final = ".doomed"
"""Ends the name of a file that is about to be deleted (nas.store.gc)."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored file: its name is its content's sha256."""

    sha256: str
    size_bytes: int


@dataclass(eq=False)
class ArtifactStore:
    """Files by their sha256. A file is there whole or not at all, whatever is killed in between.

    Methods raise ArtifactsAway, which is an OSError too, if the store cannot be reached or used now. Making one
    raises SettingsError if fsspec does not know its protocol, or lacks a package for it.

    Attributes:
        url: a path, or a URL that fsspec understands.
    """

    url: str
    _place: Place = field(init=False)
    _verified: dict[str, tuple[int, datetime]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._place = find_place(self.url)

    def put(self, content: bytes) -> Stored:
        """Stores the content; a second time costs nothing for a while.

        Raises:
            DiskFull: there is no room for it; nothing of it is left.
        """
        stored = Stored(hashlib.sha256(content).hexdigest(), len(content))
        self._store(stored, content)
        return stored

    def put_file(self, path: Path) -> Stored:
        """Stores a file's content, as put does; it never stands in memory as a whole.

        Raises:
            DiskFull: there is no room for it; nothing of it is left.
            ArtifactDamaged: the file was changed meanwhile.
        """
        with path.open("rb") as source:
            stored = Stored(*hashed(source))
        self._store(stored, path)
        return stored

    def get(self, sha256: str) -> bytes:
        """The content. Raises FileNotFoundError, or ArtifactDamaged if it is not what was stored."""
        with self.open(sha256) as source:
            content = b"".join(iter(lambda: source.read(CHUNK_BYTES), b""))
        _compare(sha256, hashlib.sha256(content).hexdigest())
        return content

    def fetch(self, sha256: str, path: Path) -> None:
        """Writes the content to a path, whole or not at all; it never stands in memory as a whole.

        Raises:
            FileNotFoundError: nothing of that name is stored.
            ArtifactDamaged: it is not what was stored.
            DiskFull: there is no room for it.
        """
        with self.open(sha256) as source, troubles(str(path.parent)), appearing(path) as file:
            _compare(sha256, hashed(source, into=file)[0])

    def pour(self, sha256: str, into: IO[bytes]) -> None:
        """Writes the content to an open file. Raises ArtifactDamaged, maybe after it has written what it found."""
        try:
            with self.open(sha256) as source:
                _compare(sha256, hashed(source, into=into)[0])
        except FileNotFoundError as error:
            raise _missing(sha256) from error

    def open(self, sha256: str) -> Reader:
        """The content, to be read from anywhere in it. Nothing checks it: `verify` does. Raises FileNotFoundError."""
        return _found(sha256, self._place.open)

    def verify(self, sha256: str) -> int:
        """The bytes of a file that is what was stored; it is read whole, unless it has not changed since it was.

        Raises:
            ArtifactDamaged: it is missing, or it is not what was stored.
        """
        try:
            found = _found(sha256, self._place.look)
            seen = (found.size_bytes, found.modified_at)
            if self._verified.get(sha256) != seen:
                with self.open(sha256) as source:
                    _compare(sha256, hashed(source)[0])
        except FileNotFoundError as error:
            raise _missing(sha256) from error
        while len(self._verified) >= REMEMBERED:
            self._verified.pop(next(iter(self._verified)), None)
        self._verified[sha256] = seen
        return found.size_bytes

    def exists(self, sha256: str) -> bool:
        """Whether something is stored under that name."""
        try:
            self._place.look(_name(sha256))
        except FileNotFoundError:
            return False
        return True

    def delete(self, sha256: str) -> None:
        """Deletes a file that only one row can ever have had, as a checkpoint is; nas.store.gc deletes all others.

        Where the store is away, the file is left for it, too: nobody has to wait for that.
        """
        try:
            self._place.remove(_name(sha256))
        except FileNotFoundError:
            return
        except ArtifactsAway as error:
            log.warning("artifact %s stays until it is collected: %s", sha256, error)

    def check(self) -> None:
        """Returns if files can be stored; the first of them makes the folder."""
        self._place.check()

    def folders(self) -> list[str]:
        """The folders that there are files in, of those in FOLDERS."""
        return sorted(FOLDERS.intersection(self._place.folders()))

    def listed(self, folder: str) -> list[Found]:
        """The files of a folder, also the unfinished ones, whose names begin with a dot."""
        return self._place.listed(folder)

    def discard(self, name: str) -> None:
        """Deletes an unfinished file; nothing happens if it is gone already."""
        try:
            self._place.remove(f"{name.lstrip('.')[:2]}/{name}")
        except FileNotFoundError:
            return

    def set_aside(self, sha256: str) -> bool:
        """Takes a file's name away; whether it was there. Then it is to be put back, or discarded by its other name."""
        try:
            self._place.move(_name(sha256), _doomed(sha256))
        except FileNotFoundError:
            return False
        return True

    def put_back(self, sha256: str) -> None:
        """Gives a file that was set aside its name again; nothing happens if it is gone."""
        try:
            self._place.move(_doomed(sha256), _name(sha256))
        except FileNotFoundError:
            return

    def _store(self, stored: Stored, source: bytes | Path) -> None:
        """Writes a file, unless it is there and new: an older one is made new, so that nas.store.gc leaves it alone."""
        name = _name(stored.sha256)
        try:
            found = self._place.look(name)
        except FileNotFoundError:
            found = None
        new = datetime.now(UTC) - timedelta(seconds=NEW_S)
        if found is None or found.size_bytes != stored.size_bytes or found.modified_at < new:
            self._place.write(name, source, stored.sha256)


def _found(sha256: str, read: Callable[[str], T]) -> T:
    """Reads a file also in the moment in which nas.store.gc has set it aside, to see that it is needed still."""
    for name in (_name(sha256), _doomed(sha256)):
        with contextlib.suppress(FileNotFoundError):
            return read(name)
    return read(_name(sha256))  # put back between the two


def _name(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"


def _doomed(sha256: str) -> str:
    return f"{sha256[:2]}/.{sha256}{DOOMED}"


def _missing(sha256: str) -> ArtifactDamaged:
    return ArtifactDamaged(f"artifact {sha256} is missing; restore it from a backup")


def _compare(sha256: str, found: str) -> None:
    if found != sha256:
        raise ArtifactDamaged(f"artifact {sha256} has the content of {found}; restore it from a backup")
