"""A lean HTTP client for bench/service.py: a general one takes longer than the service that it is to measure."""

import asyncio
import time
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Answer:
    """What came, and after how long."""

    status: int
    tag: str
    body: bytes
    taken_ms: float


class Connection:
    """One connection that is kept alive, and used by one task."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Self:
        """To the service on this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def get(self, path: str, tag: str = "") -> Answer:
        """GET, with If-None-Match if there is a tag."""
        known = f"If-None-Match: {tag}\r\n" if tag else ""
        began = time.perf_counter()
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{known}\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        size = int(headers.get("content-length", "0"))
        body = await self._reader.readexactly(size) if size else b""
        taken_ms = 1e3 * (time.perf_counter() - began)
        return Answer(int(head[0].split(" ", 2)[1]), headers.get("etag", ""), body, taken_ms)

    def close(self) -> None:
        """Ends it."""
        self._writer.close()
