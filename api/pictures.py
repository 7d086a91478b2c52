"""Pictures and reports that were made, kept as long as the rows that they were made from stay as they are."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Annotated, Any, Final

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request, Response

from nas.store.figures import stamp
from nas.store.session import Store

DRAWN_AT_ONCE: Final = 2
"""More would only take turns: a picture is drawn by one core, and all other answers need some, too."""

KEPT_BYTES: Final = 32 << 20


@dataclass(frozen=True, eq=False, slots=True)
class Asked:
    """A picture, or a report, of a job.

    Attributes:
        job_id: whose.
        what: which one, and how: the same question about the same rows has the same answer.
        media_type: of it.
        headers: of the answer.
        make: reads what it needs in transactions of its own, and makes it.
    """

    job_id: str
    what: tuple[Hashable, ...]
    media_type: str
    headers: dict[str, str]
    make: Callable[[], bytes]


class Pictures:
    """Makes what is asked for, unless it is there or the client has it: whether that still holds, the rows say."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Hashable, ...], tuple[tuple[Any, ...], bytes]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()
        self._limiter = CapacityLimiter(DRAWN_AT_ONCE)

    @property
    def kept_bytes(self) -> int:
        """Of all that is kept."""
        return self._bytes

    async def answer(self, store: Store, asked: Asked, known: str | None) -> Response:
        """The answer, made in a thread of those that pictures have; 304 to who has it.

        Raises:
            NotFound: there is no such job.
        """
        return await to_thread.run_sync(self._answer, store, asked, known, limiter=self._limiter)

    def _answer(self, store: Store, asked: Asked, known: str | None) -> Response:
        with store.read() as session:
            found = stamp(session, asked.job_id)
        question = (asked.job_id, *asked.what)
        tag = f'"{hashlib.sha256(repr((question, found)).encode()).hexdigest()[:32]}"'
        headers = asked.headers | {"ETag": tag, "Cache-Control": "no-cache"}
        if known is not None and (known.strip() == "*" or tag in [entry.strip() for entry in known.split(",")]):
            return Response(status_code=304, headers=headers)
        with self._lock:
            before, content = self._kept.get(question, ((), b""))
        if before != found:
            # Between the stamp and what is read now something may have changed: then this is newer than its tag says,
            # and the next one who asks gets it anew.
            content = asked.make()
            self._keep(question, found, content)
        return Response(content, media_type=asked.media_type, headers=headers)

    def _keep(self, question: tuple[Hashable, ...], found: tuple[Any, ...], content: bytes) -> None:
        with self._lock:
            self._bytes += len(content) - len(self._kept.pop(question, ((), b""))[1])
            self._kept[question] = (found, content)
            while self._bytes > KEPT_BYTES:
                _, (_, oldest) = self._kept.popitem(last=False)
                self._bytes -= len(oldest)


async def _pictures(request: Request) -> Pictures:  # async: FastAPI would take a thread for it
    found = request.app.state.pictures
    if not isinstance(found, Pictures):
        raise TypeError(found)
    return found


KeptPictures = Annotated[Pictures, Depends(_pictures)]
