"""Published files: from a folder if they are there, else from the first mirror that has them; always by checksum."""

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from nas.errors import NotReady

TIMEOUT_S = 30.0
"""Without a byte."""

BLOCK_BYTES = 1 << 20

MOST_BYTES = 1 << 30
"""Of a file. The largest that is known has 170 MB."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Published:
    """A file that others publish.

    Attributes:
        name: what it is called in a folder, and on the mirrors.
        checksum: md5 or sha256 in hexadecimal digits, told apart by their number.
        mirrors: URLs of the folders it lies in, ending in /; the first that answers with the right file is taken.
    """

    name: str
    checksum: str
    mirrors: tuple[str, ...]


@contextmanager
def obtained(files: tuple[Published, ...], folder: Path | None) -> Iterator[list[Path]]:
    """Paths of published files for as long as the block lasts.

    Args:
        files: what is needed.
        folder: a file that is there already, and has its checksum, is used as it is; others are fetched into it and
            stay. None fetches into a temporary folder.

    Raises:
        NotReady: no mirror has a file; the message says where to put it.
        OSError: the folder cannot be written.
    """
    if folder is not None:
        yield [fetch(file, folder) for file in files]
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield [fetch(file, Path(temporary)) for file in files]


def fetch(file: Published, folder: Path) -> Path:
    """The path of a published file in a folder, fetched if it is not there or damaged. Raises NotReady, OSError."""
    path = folder / file.name
    if path.is_file() and _digest(path, file.checksum) == file.checksum:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for mirror in file.mirrors:
        log.info("fetching %s from %s", file.name, mirror)
        try:
            _download(mirror + file.name, path, file.checksum)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            failures.append(f"{mirror}: {error or type(error).__name__}")
            log.warning("%s: %s", file.name, failures[-1])
        else:
            return path
    reasons = "; ".join(failures)
    raise NotReady(
        f"{file.name} could not be fetched ({reasons}). Try again later, or put the file with the checksum "
        f"{file.checksum} into the folder {folder.name} of the data folder (NAS_DATA)"
    )


def _download(url: str, path: Path, checksum: str) -> None:
    """Fetches a file and moves it to its place if it is whole. Raises httpx.HTTPError; ValueError for other content."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "wb") as file:  # noqa: PTH123 - a handle
            # The file as it is stored: a server must not pack it once more, nor httpx unpack it.
            plain = {"Accept-Encoding": "identity"}
            with httpx.stream("GET", url, headers=plain, timeout=TIMEOUT_S, follow_redirects=True) as response:
                response.raise_for_status()
                received = 0
                for block in response.iter_raw(BLOCK_BYTES):
                    received += len(block)
                    if received > MOST_BYTES:
                        raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
                    file.write(block)
            file.flush()
            os.fsync(file.fileno())
        found = _digest(Path(temporary), checksum)
        if found != checksum:
            raise ValueError(f"the checksum is {found} and not {checksum}")
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _digest(path: Path, like: str) -> str:
    """md5 or sha256 of a file, by the length of another."""
    # md5 is what these files were published with. It holds against damage; against forgery, the mirrors' https.
    hasher = hashlib.sha256() if len(like) == 64 else hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            hasher.update(block)
    return hasher.hexdigest()
