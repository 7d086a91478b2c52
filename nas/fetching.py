"""Downloads that survive a broken connection: the rest is asked for, and the whole is compared with its sha256."""

import contextlib
import hashlib
import os
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from typing import Final

import httpx

from nas.errors import ArtifactDamaged

TRIES: Final = 6
"""Times in a row that a download may break off without any more of it."""

PAUSE_S: Final = 0.5
"""Before the second of them; each later one is twice as long."""

_SHA256: Final = re.compile(r'"([0-9a-f]{64})"')


@dataclass(slots=True)
class _Part:
    """What there is of a file: how many bytes, and of which version, by its ETag."""

    size_bytes: int = 0
    tag: str | None = None


def fetch(http: httpx.Client, url: str, path: Path, refused: Callable[[httpx.Response], Exception]) -> None:
    """Writes what is at a URL to a path, whole or not at all; it never stands in memory as a whole.

    Args:
        http: asks for it.
        url, path: from where to where.
        refused: makes the error that is raised for an answer that is one.

    Raises:
        ArtifactDamaged: what came is not what the ETag says.
        httpx.TransportError: nothing answers, or no more of it comes.
    """
    new = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("x+b") as file:
            tag = _fill(http, url, file, refused)
            _compare(file, tag, url)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        if new and not path.exists():  # nothing came to be put there
            with contextlib.suppress(OSError):
                path.parent.rmdir()


def _fill(
    http: httpx.Client, url: str, file: BufferedRandom, refused: Callable[[httpx.Response], Exception]
) -> str | None:
    """Fills the file, in as many pieces as it takes; the ETag of what is in it."""
    part, tries = _Part(), 0
    while True:
        before = part.size_bytes
        try:
            _go_on(http, url, file, part, refused)
        except httpx.TransportError:
            tries = 1 if part.size_bytes > before else tries + 1
            if not part.tag or tries >= TRIES:  # of a file that one cannot name no part can be asked for
                raise
            time.sleep(PAUSE_S * 2 ** (tries - 1))
        else:
            return part.tag


def _go_on(
    http: httpx.Client, url: str, file: BufferedRandom, part: _Part, refused: Callable[[httpx.Response], Exception]
) -> None:
    """Asks for what is missing, or for all of it if it has become another file meanwhile, and writes what comes."""
    headers = {"Accept-Encoding": "identity"}
    if part.tag is not None:
        headers |= {"Range": f"bytes={part.size_bytes}-", "If-Range": part.tag}
    with http.stream("GET", url, headers=headers) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and _whole(answer, part):
            return
        if answer.is_error:
            answer.read()
            raise refused(answer)
        if answer.status_code != httpx.codes.PARTIAL_CONTENT:
            part.size_bytes = 0
            tag = answer.headers.get("ETag", "")
            part.tag = tag if tag.startswith('"') else None  # a weak one does not stand for the very bytes
        file.seek(part.size_bytes)
        file.truncate()
        for chunk in answer.iter_bytes():  # of a given size, the last one would be lost where the connection breaks
            file.write(chunk)
            part.size_bytes += len(chunk)


def _whole(answer: httpx.Response, part: _Part) -> bool:
    """Whether nothing is left to ask for: the connection broke after the last byte."""
    return bool(answer.headers.get("Content-Range") == f"bytes */{part.size_bytes}")


def _compare(file: BufferedRandom, tag: str | None, url: str) -> None:
    """Compares the content with the tag, if that is a sha256; others are not known to say anything about it."""
    match = _SHA256.fullmatch(tag or "")
    if match is None:
        return
    file.seek(0)
    found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != match[1]:
        raise ArtifactDamaged(f"what came from {url} is {found}, not {match[1]} as the service says; download it again")
