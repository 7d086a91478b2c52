"""How calls reach a service, from programs that wait and from programs that do not: the same in both."""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any, Final, TypeVar

import httpx

from nas import sse
from nas.client import patience
from nas.client.calls import USUAL_S, Call
from nas.client.errors import NoService, refusal, silence, words
from nas.client.patience import Absence, Resending
from nas.errors import InvalidInput
from nas.fetching import fetch

T = TypeVar("T")
Event = dict[str, Any]

SILENCE_S: Final = 45.0
"""A stream of events that is silent for three of the service's heartbeats is lost."""

KEPT: Final = 64
"""Answers that are kept with their ETags."""

URL_FORM: Final = "it has to be where a service is, such as http://127.0.0.1:8000"


@dataclass(eq=False, slots=True)
class Sender:
    """Sends calls and waits for their answers.

    Attributes:
        url: of the service.
        key: an API key, or None.
    """

    url: str
    key: str | None = field(repr=False)
    http: httpx.Client = field(init=False)
    _known: "_Known" = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=_checked(self.url), headers=_headers(self.key), timeout=USUAL_S)
        self._known = _Known()

    def send(self, call: Call[T]) -> T:
        """The call's value. Raises ServiceError, NoService."""
        before, resending = self._known.before(call), Resending(call.again)
        asked = call if before is None else before.asked(call)
        while True:
            try:
                answer = self.http.request(asked.method, asked.path, **asked.options())
                return self._known.value(call, answer, before)
            except httpx.TransportError as error:
                rest_s = resending.rest_s(error)
                if rest_s is None:
                    raise silence(self.url, error) from error
            time.sleep(rest_s)

    def fetch(self, path: str, target: Path) -> Path:
        """Writes what is there to a file, whole or not at all, and goes on where a connection breaks."""
        try:
            fetch(self.http, path, target, refusal)
        except httpx.TransportError as error:
            raise silence(self.url, error) from error
        return target

    def events(self, path: str, after: str | None) -> Iterator[Event]:
        """What is told there, to the end; a connection that is lost is taken up where it was."""
        absence = Absence()
        while True:
            try:
                for message in self._messages(path, after):
                    absence.over()
                    after = message.id or after
                    if message.data:
                        yield _event(message)
                    if message.event == "end":
                        return
            except NoService as error:
                if not absence.bearable(error):
                    raise
            time.sleep(patience.RECONNECT_S)

    def _messages(self, path: str, after: str | None) -> Iterator[sse.Message]:
        """What one connection brings, until it is lost. Raises ServiceError, NoService if it has brought nothing."""
        begun = False
        try:
            with self.http.stream("GET", path, **_streaming(after)) as answer:
                if answer.is_error:
                    answer.read()
                    raise _no_stream(self.url, answer)
                for message in sse.messages(answer.iter_lines()):
                    begun = True
                    yield message
        except httpx.TransportError as error:
            if not begun:
                raise silence(self.url, error) from error


@dataclass(eq=False, slots=True)
class AsyncSender:
    """Sends calls and lets the program go on until their answers are there. See Sender."""

    url: str
    key: str | None = field(repr=False)
    http: httpx.AsyncClient = field(init=False)
    _known: "_Known" = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.AsyncClient(base_url=_checked(self.url), headers=_headers(self.key), timeout=USUAL_S)
        self._known = _Known()

    async def send(self, call: Call[T]) -> T:
        """The call's value. Raises ServiceError, NoService."""
        before, resending = self._known.before(call), Resending(call.again)
        asked = call if before is None else before.asked(call)
        while True:
            try:
                answer = await self.http.request(asked.method, asked.path, **asked.options())
                return self._known.value(call, answer, before)
            except httpx.TransportError as error:
                rest_s = resending.rest_s(error)
                if rest_s is None:
                    raise silence(self.url, error) from error
            await asyncio.sleep(rest_s)

    async def fetch(self, path: str, target: Path) -> Path:
        """Writes what is there to a file, in a thread: files are not written without waiting."""

        def fetched() -> Path:
            waiting = Sender(self.url, self.key)
            with waiting.http:
                return waiting.fetch(path, target)

        return await asyncio.to_thread(fetched)

    async def events(self, path: str, after: str | None) -> AsyncIterator[Event]:
        """What is told there, to the end; a connection that is lost is taken up where it was."""
        absence = Absence()
        while True:
            try:
                async for message in self._messages(path, after):
                    absence.over()
                    after = message.id or after
                    if message.data:
                        yield _event(message)
                    if message.event == "end":
                        return
            except NoService as error:
                if not absence.bearable(error):
                    raise
            await asyncio.sleep(patience.RECONNECT_S)

    async def _messages(self, path: str, after: str | None) -> AsyncIterator[sse.Message]:
        begun, reader = False, sse.Reader()
        try:
            async with self.http.stream("GET", path, **_streaming(after)) as answer:
                if answer.is_error:
                    await answer.aread()
                    raise _no_stream(self.url, answer)
                async for line in answer.aiter_lines():
                    message = reader.take(line)
                    if message is not None:
                        begun = True
                        yield message
        except httpx.TransportError as error:
            if not begun:
                raise silence(self.url, error) from error


@dataclass(frozen=True, eq=False, slots=True)
class _Before:
    """What a call was answered the last time, and the ETag of that."""

    tag: str
    value: Any

    def asked(self, call: Call[T]) -> Call[T]:
        """The call as it is sent: only what has changed is to come."""
        return replace(call, headers={**call.headers, "If-None-Match": self.tag})


class _Known:
    """The newest answers of calls that are kept. Calls may be under way at once, in threads too."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, _Before] = OrderedDict()
        self._lock = Lock()

    def before(self, call: Call[Any]) -> _Before | None:
        """What is known of a call; whoever sends its ETag holds on to it, since others may put it out meanwhile."""
        if not call.kept:
            return None
        with self._lock:
            return self._answers.get(_place(call))

    def value(self, call: Call[T], answer: httpx.Response, before: _Before | None) -> T:
        """What an answer becomes, or what the last one became if nothing has changed. Raises ServiceError."""
        if before is not None and answer.status_code == httpx.codes.NOT_MODIFIED:
            known: T = before.value
            return known
        if answer.is_error:
            raise refusal(answer)
        value = self._read(call, answer)
        if call.kept and "ETag" in answer.headers:
            with self._lock:
                self._answers[_place(call)] = _Before(answer.headers["ETag"], value)
                self._answers.move_to_end(_place(call))
                while len(self._answers) > KEPT:
                    self._answers.popitem(last=False)
        return value

    @staticmethod
    def _read(call: Call[T], answer: httpx.Response) -> T:
        """Raises NoService for an answer that this project's service would not give."""
        try:
            if answer.is_success:
                return call.becomes(answer)
        except (ValueError, LookupError, TypeError):
            pass
        kind = answer.headers.get("content-type", "no type")
        raise NoService(
            f"another program answers at {answer.url.copy_with(query=None)} ({answer.status_code}, {kind}); {URL_FORM}"
        )


def _place(call: Call[Any]) -> str:
    return json.dumps([call.path, dict(call.params)], sort_keys=True)


def _checked(url: str) -> str:
    """The URL of a service. Raises InvalidInput for what is none: to ask there again and again would not help."""
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise InvalidInput("url", url, f"{error}; {URL_FORM}") from error
    if parts.scheme not in ("http", "https") or not parts.host:
        raise InvalidInput("url", url, URL_FORM)
    return url


def _headers(key: str | None) -> dict[str, str]:
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise InvalidInput("key", "***", "it is no API key; give what `nas keys create` printed")
    return {"Authorization": f"Bearer {key}"} if key else {}


def _streaming(after: str | None) -> dict[str, Any]:
    headers = {"Last-Event-ID": after} if after else {}
    return {"headers": headers, "timeout": httpx.Timeout(10, read=SILENCE_S)}


def _event(message: sse.Message) -> Event:
    told: Event = json.loads(message.data)
    return {"event": message.event, "id": message.id} | told


def _no_stream(url: str, answer: httpx.Response) -> Exception:
    error = refusal(answer)
    return NoService(f"{url} answers {answer.status_code}: {words(answer)}") if error.passing else error
