"""Where the artifact store keeps its files: a folder, or an object store of any kind that fsspec knows.

A name is `ab/abcdef…`: two letters of a sha256, then all of it. A file is there under its name whole or not at all.
"""

import contextlib
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

import fsspec

from nas.errors import ArtifactsAway, SettingsError
from nas.store.streams import Reader, appearing, hashed, reading, troubles, unchanged

PART_BYTES: Final = 8 << 20
"""What goes to an object store, or comes from it, at once."""

_S3: Final = {"config_kwargs": {"connect_timeout": 5, "read_timeout": 20, "retries": {"total_max_attempts": 1}}}
OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {"s3": _S3, "s3a": _S3}
"""Protocol → what its file system is made with: it tries again by itself, and gives up within a minute or two."""

_PARTS: Final = {"chunksize": PART_BYTES, "max_concurrency": 4}
UPLOADS: Final[Mapping[str, Mapping[str, Any]]] = {"s3": _PARTS, "s3a": _PARTS}
"""Protocol → how a file goes up: a few parts at once, so that it never stands in memory as a whole."""

EXTRAS: Final[Mapping[str, str]] = {"s3": "s3", "s3a": "s3"}
"""Protocol → the extra of this package that brings what it needs."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that is there.

    Attributes:
        name: the last part of its path: a sha256, or the name of something unfinished.
        size_bytes, modified_at: of it.
    """

    name: str
    size_bytes: int
    modified_at: datetime


class Place(Protocol):
    """Files by name. All methods raise ArtifactsAway, DiskFull, and FileNotFoundError for what is not there."""

    def look(self, name: str) -> Found:
        """What is there under the name."""

    def write(self, name: str, source: bytes | Path, sha256: str) -> None:
        """Stores the source in the place of what is there; raises ArtifactDamaged if it no longer has that sha256."""

    def open(self, name: str) -> "Reader":
        """The file, to be read from anywhere in it."""

    def move(self, name: str, to: str) -> None:
        """Gives the file another name, in the place of what has it."""

    def remove(self, name: str) -> None:
        """Removes the file."""

    def listed(self, folder: str) -> list[Found]:
        """All files of a folder, unfinished ones too; none if there is no such folder."""

    def folders(self) -> list[str]:
        """The folders that there are."""

    def check(self) -> None:
        """Returns if a file could be stored."""


def find_place(url: str) -> Place:
    """The place of that path or URL. Raises SettingsError if there can be none."""
    protocol = check_url(url)
    try:
        system, root = fsspec.core.url_to_fs(url, use_listings_cache=False, **OPTIONS.get(protocol, {}))
    except (ImportError, ValueError, TypeError) as error:
        raise SettingsError(f"the artifact store {url!r} cannot be opened: {error}") from error
    protocols = system.protocol if isinstance(system.protocol, tuple) else (system.protocol,)
    return Folder(Path(root)) if "file" in protocols else Objects(system, root, UPLOADS.get(protocol, {}))


def check_url(url: str) -> str:
    """The protocol of an artifact store's URL. Raises SettingsError if fsspec knows none of that name, or lacks it."""
    chain = [fsspec.core.split_protocol(part)[0] or "file" for part in url.split("::")]
    for protocol in chain:
        try:
            fsspec.get_filesystem_class(protocol)
        except ImportError as error:
            mend = f"pip install 'nas-service[{EXTRAS[protocol]}]'" if protocol in EXTRAS else str(error)
            raise SettingsError(f"the artifact store {url!r} needs a package that is not installed: {mend}") from error
        except ValueError as error:
            mend = "it can be a folder, file:///folder, s3://bucket/folder, or another protocol that fsspec knows"
            raise SettingsError(f"the artifact store {url!r} has the protocol {protocol!r}; {mend}") from error
    return str(chain[0])


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder on this machine, or one that is mounted; it is made when something is stored."""

    root: Path

    def look(self, name: str) -> Found:
        """See Place."""
        with self._trouble():
            return _found(self.root / name, name)

    def write(self, name: str, source: bytes | Path, sha256: str) -> None:
        """See Place."""
        with reading(source) as content, self._trouble(source), appearing(self.root / name) as file:
            unchanged(source, hashed(content, into=file)[0], sha256)

    def open(self, name: str) -> Reader:
        """See Place."""
        with self._trouble():
            return Reader((self.root / name).open("rb"), self._trouble)

    def move(self, name: str, to: str) -> None:
        """See Place."""
        with self._trouble():
            (self.root / name).replace(self.root / to)

    def remove(self, name: str) -> None:
        """See Place."""
        with self._trouble():
            (self.root / name).unlink()

    def listed(self, folder: str) -> list[Found]:
        """See Place."""
        found = []
        with self._trouble(), contextlib.suppress(FileNotFoundError):
            for path in (self.root / folder).iterdir():
                with contextlib.suppress(FileNotFoundError):  # it has gone since
                    found += [_found(path, path.name)] if path.is_file() else []
        return found

    def folders(self) -> list[str]:
        """See Place."""
        with self._trouble(), contextlib.suppress(FileNotFoundError):
            return [path.name for path in self.root.iterdir() if path.is_dir()]
        return []

    def check(self) -> None:
        """See Place."""
        with self._trouble():
            self.root.mkdir(parents=True, exist_ok=True)
            if not os.access(self.root, os.W_OK):
                raise PermissionError(f"{self.root} is not writable")

    def _trouble(self, source: bytes | Path | None = None) -> AbstractContextManager[None]:
        return troubles(str(self.root), source)


@dataclass(frozen=True, slots=True)
class Objects:
    """An object store, or whatever else fsspec reaches. An object is seen once it is whole, as S3 has it.

    Attributes:
        system: an fsspec file system.
        root: where in it, for example `bucket/folder`.
        upload: how its put_file sends a file.
    """

    system: Any
    root: str
    upload: Mapping[str, Any]

    def look(self, name: str) -> Found:
        """See Place."""
        with self._trouble():
            info = self.system.info(self._path(name))
            return Found(name, info["size"], _modified(info))

    def write(self, name: str, source: bytes | Path, sha256: str) -> None:
        """See Place. A large file goes up in parts; one that fails takes its parts with it."""
        try:
            with self._trouble():
                if isinstance(source, bytes):
                    self.system.pipe_file(self._path(name), source)
                else:
                    self.system.put_file(str(source), self._path(name), **self.upload)
        except FileNotFoundError as error:
            raise ArtifactsAway(f"there is no place like {self.root} to store files in ({error}); create it") from error
        if isinstance(source, bytes):
            return
        with source.open("rb") as content:
            found = hashed(content)[0]
        if found != sha256:
            self.remove(name)
        unchanged(source, found, sha256)

    def open(self, name: str) -> Reader:
        """See Place."""
        with self._trouble():
            return Reader(self.system.open(self._path(name), "rb", block_size=PART_BYTES), self._trouble)

    def move(self, name: str, to: str) -> None:
        """See Place."""
        with self._trouble():
            self.system.cp_file(self._path(name), self._path(to))
            self.system.rm_file(self._path(name))

    def remove(self, name: str) -> None:
        """See Place."""
        self.look(name)  # S3 deletes what is not there without a word
        with self._trouble():
            self.system.rm_file(self._path(name))

    def listed(self, folder: str) -> list[Found]:
        """See Place."""
        with self._trouble(), contextlib.suppress(FileNotFoundError):
            entries = self.system.ls(self._path(folder), detail=True)
            return [
                Found(entry["name"].rsplit("/", 1)[-1], entry["size"], _modified(entry))
                for entry in entries
                if entry["type"] == "file"
            ]
        return []

    def folders(self) -> list[str]:
        """See Place."""
        with self._trouble(), contextlib.suppress(FileNotFoundError):
            entries = self.system.ls(self.root, detail=True)
            return [str(entry["name"]).rstrip("/").rsplit("/", 1)[-1] for entry in entries if entry["type"] != "file"]
        return []

    def check(self) -> None:
        """See Place."""
        try:
            with self._trouble():  # a listing would not tell: it needs fewer rights, and fails while nothing is stored
                self.system.pipe_file(self._path(".check"), b"")
        except FileNotFoundError as error:
            raise ArtifactsAway(f"there is no place like {self.root} to store files in ({error}); create it") from error

    def _path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"

    def _trouble(self) -> AbstractContextManager[None]:
        return troubles(self.root, kinds=Exception)  # clients of object stores raise errors of their own


def _found(path: Path, name: str) -> Found:
    status = path.stat()
    return Found(name, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


def _modified(info: Mapping[str, Any]) -> datetime:
    """Stores call it differently; where one says nothing, the file counts as new, so that nothing takes it for old."""
    for key in ("LastModified", "last_modified", "mtime", "updated", "created"):
        moment = info.get(key)
        if isinstance(moment, int | float):
            return datetime.fromtimestamp(moment, UTC)
        if isinstance(moment, str):
            with contextlib.suppress(ValueError):
                moment = datetime.fromisoformat(moment)
        if isinstance(moment, datetime):
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return datetime.now(UTC)
