"""The open event streams of a server: one question to the database for all of them, as long as nothing happens.

A stream waits on the event loop, not in a thread and with no connection to the database. What one stream reads, others
that are at the same place share. The database may go away and come back: streams stay open and go on.
"""

import asyncio
import json
import logging
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

from anyio import CapacityLimiter, to_thread
from sqlalchemy.exc import SQLAlchemyError

from nas.errors import NotFound
from nas.store import feed
from nas.store.feed import BEGINNING, Place
from nas.store.session import Store

log = logging.getLogger(__name__)

POLL_S: Final = 0.3
"""How often the versions of all jobs with streams are read, in one query."""

HEARTBEAT_S: Final = 15.0
"""A comment is sent after so long a silence: whoever is in between keeps the connection."""

RETRY_S: Final = 2.0
"""When a client that has lost its connection comes back, and a stream that has lost the database asks again."""

PAGE: Final = 500
"""Events that are held in memory for a stream."""

NOW: Final = "now"
"""The place behind everything that has happened."""

READERS: Final = 4
"""Threads, and with them connections to the database, that all streams together take."""


@dataclass(eq=False, slots=True)
class _Watched:
    """A job with streams.

    Attributes:
        streams: how many.
        version: as it was last seen; None before that, and when there is no such job any more.
        changes: how often another version was seen.
        changed: set when one is, and then replaced.
    """

    streams: int = 0
    version: int | None = None
    changes: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self) -> None:
        """Wakes all streams."""
        self.changes += 1
        self.changed.set()
        self.changed = asyncio.Event()

    async def change_since(self, seen: int, timeout_s: float) -> bool:
        """Waits for a change after so many; whether there was one in time."""
        if self.changes != seen:
            return True
        try:
            await asyncio.wait_for(self.changed.wait(), timeout_s)
        except TimeoutError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class _Part:
    """A page as it is sent, and the place that it leads to; None if the place before it is none of the job's."""

    text: bytes
    place: Place | None
    more: bool = False
    ended: str | None = None


class Feeds:
    """All event streams of an app.

    Args:
        store: the database.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._limiter = CapacityLimiter(READERS)
        self._watched: dict[str, _Watched] = {}
        self._reads: dict[tuple[str, Place, int], asyncio.Task[_Part]] = {}
        self._poll: asyncio.Task[None] | None = None
        self._stopped = False

    @property
    def open(self) -> int:
        """How many streams are open."""
        return sum(watched.streams for watched in self._watched.values())

    def stop(self) -> None:
        """Ends all streams, on the event loop: a server that stops waits for its answers, and these have no end."""
        self._stopped = True
        for watched in self._watched.values():
            watched.note()

    async def begin(self, job_id: str, after: str | None, field: str) -> Place:
        """The place that a client names in a field. Raises NotFound, InvalidInput."""
        place = BEGINNING if after is None or after == NOW else Place.read(field, after)

        def look() -> Place:
            with self._store.read() as session:
                present = feed.present(session, job_id)
            return present if after == NOW else place

        return await to_thread.run_sync(look, limiter=self._limiter)

    async def stream(self, job_id: str, place: Place, longest_s: float = math.inf) -> AsyncIterator[bytes]:
        """The events of a job after a place, as they happen, in the form of text/event-stream.

        Args:
            job_id: of it.
            place: what the client has come to.
            longest_s: when the stream ends at the latest, for its client to come back.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + longest_s
        watched = self._watch(job_id)
        try:
            yield f"retry: {RETRY_S * 1000:.0f}\nid: {place}\n\n".encode()  # who is cut off now comes back to here
            while not self._stopped and clock() < until:
                seen = watched.changes
                try:
                    part = await self._read(job_id, place, seen)
                except NotFound:
                    yield _message("end", {"state": "deleted"})
                    return
                except SQLAlchemyError:  # which the poll has in the log
                    yield b": the database does not answer\n\n"
                    await asyncio.sleep(RETRY_S)
                    continue
                if part.place is None:
                    place = BEGINNING
                    yield _message("reset", {"reason": "the job has not come so far; all of it follows"}, place)
                    continue
                place = part.place
                if part.text:
                    yield part.text
                if part.ended is not None:
                    yield _message("end", {"state": part.ended})
                    return
                while not part.more and not await watched.change_since(seen, min(HEARTBEAT_S, until - clock())):
                    if clock() >= until:
                        return
                    yield b":\n\n"
        finally:
            self._unwatch(job_id)

    def _watch(self, job_id: str) -> _Watched:
        watched = self._watched.setdefault(job_id, _Watched())
        watched.streams += 1
        if self._poll is None:
            self._poll = asyncio.create_task(self._keep_polling())
        return watched

    def _unwatch(self, job_id: str) -> None:
        watched = self._watched[job_id]
        watched.streams -= 1
        if not watched.streams:
            del self._watched[job_id]

    async def _keep_polling(self) -> None:
        """Looks at the versions of all watched jobs, until there are none."""
        away = False
        while self._watched and not self._stopped:
            asked = list(self._watched)
            try:
                found = await to_thread.run_sync(self._versions, asked, limiter=self._limiter)
            except Exception as error:  # whatever it is: without this loop the streams would be silent for ever
                if not away:
                    log.warning("event streams wait for the database: %s", error)
                away = True
            else:
                away = False
                for job_id in asked:
                    watched = self._watched.get(job_id)
                    if watched is not None and watched.version != found.get(job_id):
                        watched.version = found.get(job_id)
                        watched.note()
            await asyncio.sleep(POLL_S)
        self._poll = None

    def _versions(self, job_ids: list[str]) -> dict[str, int]:
        with self._store.read() as session:
            return feed.versions(session, job_ids)

    async def _read(self, job_id: str, place: Place, seen: int) -> _Part:
        """A page; streams that are at one place, and have seen the same, wait for one reading of it."""
        key = (job_id, place, seen)
        reading = self._reads.get(key)
        if reading is None:
            reading = asyncio.create_task(to_thread.run_sync(self._page, job_id, place, limiter=self._limiter))
            self._reads[key] = reading
            reading.add_done_callback(lambda read: self._reads.pop(key) and read.exception())
        return await asyncio.shield(reading)  # one stream that ends does not end it for the others

    def _page(self, job_id: str, place: Place) -> _Part:
        with self._store.read() as session:
            page = feed.since(session, job_id, place, PAGE)
        if page is None:
            return _Part(b"", None)
        text = b"".join(_message(event.name, event.data, event.place) for event in page.events)
        return _Part(text, page.events[-1].place if page.events else place, page.more, page.ended)


def _message(name: str, data: dict[str, Any], place: Place | None = None) -> bytes:
    """An event as it is sent, in one line of JSON: numbers that JSON does not have are null."""
    plain = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in data.items()
    }
    head = f"id: {place}\n" if place is not None else ""
    return f"{head}event: {name}\ndata: {json.dumps(plain, allow_nan=False)}\n\n".encode()
