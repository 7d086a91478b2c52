"""A zip file from a stranger: nothing is unpacked to disk, and nothing is read before its directory is checked."""

import io
import os
import stat
import unicodedata
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import cast

from nas.data.found import Limits, has_control, refusing
from nas.errors import InvalidInput

NEVER_A_BOMB_BYTES = 1 << 20
"""What unpacks to no more than that is harmless, however well it was packed."""

JUNK = ("__MACOSX", "Thumbs.db", "desktop.ini")
"""What operating systems leave behind, next to names that begin with a dot."""

DAMAGED = "the zip file is damaged or cut off: pack and send it again"


@dataclass(frozen=True, slots=True)
class Archive:
    """An open zip file whose directory has been checked.

    Attributes:
        members: name → entry, for the files in it without junk, sorted by name.
        empty: folders without a file in them or below, sorted.
        limits: what may be read.
    """

    file: zipfile.ZipFile
    members: dict[str, zipfile.ZipInfo]
    empty: tuple[str, ...]
    limits: Limits

    def read(self, name: str) -> bytes:
        """The content of an image file. Raises InvalidInput."""
        size = self.members[name].file_size
        if size > self.limits.max_image_bytes:
            raise InvalidInput("file", name, f"an image file has at most {self.limits.max_image_bytes:,} bytes")
        with self.open(name) as member:
            content = member.read(size)  # a read without a size would unpack whatever is there
            if len(content) != size or member.read(1):
                raise InvalidInput("file", name, DAMAGED)
        return content

    @contextmanager
    def open(self, name: str) -> Iterator[zipfile.ZipExtFile]:
        """A member to read from, in pieces of a given size. Whatever goes wrong in the block is InvalidInput."""
        with refusing(name, DAMAGED), self.file.open(self.members[name]) as member:
            yield cast(zipfile.ZipExtFile, member)  # its stub says what members to write are, too


@contextmanager
def open_archive(path: Path, limits: Limits) -> Iterator[Archive]:
    """Opens a zip file and checks its directory.

    Raises:
        InvalidInput: it is no zip file; a member is encrypted, a link, packed in an unusual way, there twice, or named
            in a way that leads elsewhere; there are more members, or they unpack to more, than the limits allow.
    """
    with _Wary(io.FileIO(path), limits.max_members) as content:
        with refusing(path.name, DAMAGED):  # not the block below: what goes wrong there is not the archive's fault
            file = zipfile.ZipFile(content)
        with file:
            infos = file.infolist()
            if len(infos) > limits.max_members:
                raise _too_many(infos[limits.max_members].filename, limits.max_members)
            for info in infos:
                _check_member(info)
            _check_sizes(infos, path.stat().st_size, limits)
            yield Archive(file, *_contents(infos), limits)


class _Wary(io.BufferedReader):
    """Refuses a directory of too many members while it is read, before an object is made of each of them.

    zipfile reads the directory in one go, and the only other long reads are ours, of at most an image. The directory's
    length, and where it lies, are told in up to three places; to watch what is read is safe whichever is believed.
    """

    def __init__(self, raw: io.FileIO, max_members: int) -> None:
        super().__init__(raw)
        self.max_members = max_members
        self.size_bytes = os.fstat(raw.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        most = max(1 << 20, self.max_members * 1024)  # an entry of a directory is 46 bytes and a name
        left = max(0, self.size_bytes - self.tell())
        content = super().read(min(most, left if size is None or size < 0 else min(left, size)))
        if len(content) > 1 << 20 and content.startswith(b"PK\1\2") and content.count(b"PK\1\2") > self.max_members:
            raise _too_many("its directory", self.max_members)
        return content


def _too_many(entry: str, most: int) -> InvalidInput:
    return InvalidInput("file", entry, f"an archive has at most {most:,} members: send fewer images")


def _check_member(info: zipfile.ZipInfo) -> None:
    """Raises InvalidInput for a member that no ordinary archive has."""
    name = info.orig_filename
    kind = stat.S_IFMT(info.external_attr >> 16)
    parts = name.removesuffix("/").split("/")
    if has_control(name):
        mend = "names have no control characters: rename it"
    elif "\\" in name or name[1:2] == ":" or name.startswith("/") or any(part in ("", ".", "..") for part in parts):
        mend = "names in an archive are relative, with / between folders, and stay inside it: pack it again"
    elif info.flag_bits & 0x41:
        mend = "it is encrypted: pack without a password"
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        mend = "it is a link or a device: pack the file itself"
    elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        mend = "it is packed in an unusual way: pack with the method deflate, which every program has"
    else:
        return
    raise InvalidInput("file", name, mend)


def _check_sizes(infos: list[zipfile.ZipInfo], size_bytes: int, limits: Limits) -> None:
    """Raises InvalidInput for what unpacks to too much: against the limit, and against the bytes that came."""
    total = 0
    for info in infos:
        total += info.file_size
        if total > limits.max_unpacked_bytes:
            mend = f"an archive unpacks to at most {limits.max_unpacked_bytes:,} bytes: send fewer or smaller images"
            raise InvalidInput("file", info.filename, mend)
    # Against the size of the file, because members may share their packed bytes (Fifield 2019, A better zip bomb).
    if total > max(NEVER_A_BOMB_BYTES, limits.max_ratio * size_bytes):
        worst = max(infos, key=lambda info: info.file_size / max(1, info.compress_size))
        mend = f"an archive unpacks to at most {limits.max_ratio:g} times its size: send JPEG or PNG images"
        raise InvalidInput("file", worst.filename, mend)


def _contents(infos: list[zipfile.ZipInfo]) -> tuple[dict[str, zipfile.ZipInfo], tuple[str, ...]]:
    """The files by name, and the empty folders, without junk. Raises InvalidInput for a file that is there twice."""
    files: dict[str, zipfile.ZipInfo] = {}
    folders: set[str] = set()
    for info in infos:
        name = unicodedata.normalize("NFC", info.filename)  # macOS writes é as two characters, other systems as one
        if any(part.startswith(".") or part in JUNK for part in name.split("/")):
            continue
        if info.is_dir():
            folders.add(name)
        elif name in files:
            raise InvalidInput("file", name, "it is in the archive twice: pack it again")
        else:
            files[name] = info
    full = {f"{folder}/" for name in files for folder in accumulate(name.split("/")[:-1], "{}/{}".format)}
    # A folder of empty folders is told by the first of these.
    return dict(sorted(files.items())), tuple(sorted(folders - full, key=lambda name: (-name.count("/"), name)))
