"""Answers that are files: streamed, with the sha256 of their bytes as ETag, in part if a part is asked for (RFC 9110).

A file is read whole and compared with its sha256 before the first of its bytes is sent, once as long as it stays as it
is; a whole answer is compared once more on its way. So a damaged file is an error, or a body that breaks off, never a
file that looks well.
"""

import hashlib
import re
import tempfile
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, BinaryIO, Final, Protocol

from anyio import CancelScope, to_thread
from fastapi import Depends, Header, Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Send

from api.errors import Problem, problem
from nas.errors import ArtifactDamaged
from nas.store.artifacts import ArtifactStore
from nas.store.streams import hashed, troubles

CHUNK_BYTES: Final = 1 << 18
"""What is read and sent at once."""

_RANGE: Final = re.compile(r"(\d{0,4000})-(\d{0,4000})", re.ASCII)


class Source(Protocol):
    """An open file."""

    def read(self, size: int, /) -> bytes:
        """Up to so many bytes; none at the end."""

    def seek(self, offset: int, /) -> int:
        """Goes to a place in the file."""

    def close(self) -> None:
        """Closes it."""


@dataclass(frozen=True, eq=False, slots=True)
class Content:
    """What is to be sent.

    Attributes:
        sha256, size_bytes: of all of it.
        open: opens it; it is closed by who opened it.
        done: called once it is not needed any more, whatever has become of the request.
    """

    sha256: str
    size_bytes: int
    open: Callable[[], Source]
    done: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a request says about the file that it asks for; header by header, see RFC 9110."""

    method: str
    match: str | None = None
    none_match: str | None = None
    ranges: str | None = None
    if_range: str | None = None


def _wishes(
    request: Request,
    if_none_match: Annotated[str | None, Header(description="the ETag of the file you have")] = None,
    if_match: Annotated[str | None, Header(description="the ETag of the file you want")] = None,
    range_: Annotated[str | None, Header(alias="Range", description="the part you want: bytes=FIRST-LAST")] = None,
    if_range: Annotated[str | None, Header(description="the ETag of what you have a part of; else all is sent")] = None,
) -> Wishes:
    return Wishes(request.method, if_match, if_none_match, range_, if_range)


CurrentWishes = Annotated[Wishes, Depends(_wishes)]


def responses(media_type: str, name: str) -> dict[int | str, dict[str, Any]]:
    """What a download can be answered with, for the documentation."""
    return {
        200: {"content": {media_type: {}}, "description": f"{name}; its ETag is the sha256 of its bytes"},
        206: {"content": {media_type: {}}, "description": "the part that Range asks for"},
        304: {"description": "you have it"},
        409: {"model": Problem, "description": "there is none yet"},
        412: {"model": Problem, "description": "it is not the one of If-Match"},
        416: {"model": Problem, "description": "it has no such part; Content-Range says how long it is"},
        503: {"model": Problem, "description": "it cannot be read now, or is damaged"},
    }


def stored(artifacts: ArtifactStore, sha256: str) -> Content:
    """A stored file that is what was stored. Raises ArtifactDamaged, ArtifactsAway."""
    return Content(sha256, artifacts.verify(sha256), lambda: artifacts.open(sha256))


def made(write: Callable[[BinaryIO], None]) -> Content:
    """A file that is made for this one answer; it has no name, so that nothing is left of it whatever happens."""
    with troubles(tempfile.gettempdir()):
        file = tempfile.TemporaryFile(prefix="nas-download-")  # noqa: SIM115 - it is closed when it was sent
    try:
        with troubles(tempfile.gettempdir()):
            write(file)
            file.seek(0)
            sha256, size_bytes = hashed(file)
    except BaseException:
        file.close()
        raise
    return Content(sha256, size_bytes, lambda: file, file.close)


def send(content: Content, wishes: Wishes, filename: str, media_type: str = "application/zip") -> Response:
    """The answer to a request for a file.

    Of several ranges that do not make one together the whole file is sent, as it is for a Range that makes no sense.
    """
    answer = _refusal(content, wishes)
    if answer is not None:
        content.done()
        return answer
    start, stop = _part(content, wishes) or (0, content.size_bytes)
    headers = _headers(content) | {
        "Content-Disposition": f'attachment; filename="{filename}"',
        "Content-Length": str(stop - start),
    }
    if wishes.method == "HEAD":
        content.done()
        return Response(headers=headers, media_type=media_type)
    status = HTTPStatus.OK
    if _part(content, wishes) is not None:
        status = HTTPStatus.PARTIAL_CONTENT
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{content.size_bytes}"
    return _Streamed(content, start, stop, status, headers, media_type)


def _headers(content: Content) -> dict[str, str]:
    return {"ETag": f'"{content.sha256}"', "Cache-Control": "no-cache", "Accept-Ranges": "bytes"}


def _refusal(content: Content, wishes: Wishes) -> Response | None:
    """The answer if no byte of the file is to be sent."""
    headers = _headers(content)
    if wishes.match is not None and not _named(wishes.match, headers["ETag"]):
        detail = f"If-Match: the file's ETag is {headers['ETag']} now; download it anew"
        return problem(HTTPStatus.PRECONDITION_FAILED, detail)
    if wishes.none_match is not None and _named(wishes.none_match, headers["ETag"], weak=True):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if _parts(content, wishes) == []:
        detail = f"Range: {wishes.ranges!r} is not possible: the file has {content.size_bytes} bytes, counted from 0"
        answer = problem(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, detail)
        answer.headers["Content-Range"] = f"bytes */{content.size_bytes}"
        return answer
    return None


class _Streamed(StreamingResponse):
    """The bytes of a content from `start` to before `stop`. All is closed once they are sent, or nobody wants them."""

    def __init__(
        self, content: Content, start: int, stop: int, status: HTTPStatus, headers: dict[str, str], media_type: str
    ) -> None:
        self._content = content
        self._chunks = _chunks(content, start, stop)
        super().__init__(self._chunks, status, headers, media_type)

    async def stream_response(self, send: Send) -> None:
        """Sends it."""
        try:
            await super().stream_response(send)
        finally:
            with CancelScope(shield=True):
                await self._chunks.aclose()
                await to_thread.run_sync(self._content.done)


async def _chunks(content: Content, start: int, stop: int) -> AsyncGenerator[bytes]:
    source = await to_thread.run_sync(content.open)
    try:
        await to_thread.run_sync(source.seek, start)
        whole, left, hasher = stop - start == content.size_bytes, stop - start, hashlib.sha256()
        while left:
            chunk = await to_thread.run_sync(source.read, min(CHUNK_BYTES, left))
            left -= len(chunk)
            hasher.update(chunk)
            if not chunk or (whole and not left and hasher.hexdigest() != content.sha256):
                # The status is sent already; a body without its last bytes is not taken for whole.
                raise ArtifactDamaged(f"artifact {content.sha256} has changed while it was sent")
            yield chunk
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(source.close)


def _part(content: Content, wishes: Wishes) -> tuple[int, int] | None:
    """The one part to send, from its first byte to before its last one; None for the whole file."""
    parts = _parts(content, wishes)
    return parts[0] if parts is not None and len(parts) == 1 else None


def _named(header: str, tag: str, *, weak: bool = False) -> bool:
    """Whether a list of tags names this one; `weak` takes a weak tag of it for it."""
    tags = [entry.strip() for entry in header.split(",")]
    return tags == ["*"] or tag in tags or (weak and f"W/{tag}" in tags)


def _parts(content: Content, wishes: Wishes) -> list[tuple[int, int]] | None:
    """What there is of the parts in Range, those that touch as one; None if it asks for none, or nonsense."""
    if wishes.method != "GET" or wishes.ranges is None or wishes.if_range not in (None, f'"{content.sha256}"'):
        return None
    unit, _, text = wishes.ranges.partition("=")
    asked = [_RANGE.fullmatch(entry.strip()) for entry in text.split(",") if entry.strip()]
    if unit.strip().lower() != "bytes" or not asked:
        return None
    parts: list[tuple[int, int]] = []
    for match in asked:
        if match is None or match[0] == "-" or (match[1] and match[2] and int(match[2]) < int(match[1])):
            return None
        start = int(match[1]) if match[1] else max(0, content.size_bytes - int(match[2]))
        last = int(match[2]) if match[1] and match[2] else content.size_bytes
        parts.append((start, min(last + 1, content.size_bytes)))
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(part for part in parts if part[0] < part[1]):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(stop, joined[-1][1])
        else:
            joined.append((start, stop))
    return joined
