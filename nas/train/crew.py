"""The processes of one training, as the one that started them sees them: what they say, and how they end."""

import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

GRACE_S: Final = 3.0
"""When one process fails the others lose it: for so long the first failure is looked for."""

LAST_WORDS: Final = 4_000
"""Characters of a process's standard error that are quoted."""


@dataclass(frozen=True, eq=False, slots=True)
class Message:
    """What a process says.

    Attributes:
        rank: which one.
        kind: `ready`, `epoch`, `done`, `error`; `end` is its silence: it is no more.
        told: the facts.
        content: of an epoch its checkpoint, of the end of the training the network, as files.
    """

    rank: int
    kind: str
    told: Mapping[str, Any]
    content: bytes = b""


class Crew:
    """Starts `world` processes (nas.train.rank) on a folder's order, and ends them with the block.

    A process hears lines of JSON on its standard input, and ends when that closes; it says lines of JSON on its
    standard output, each followed by as many bytes as its `bytes` says.
    """

    def __init__(self, folder: Path, world: int) -> None:
        self.folder = folder
        self.world = world
        self._heard: queue.Queue[Message] = queue.Queue()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._listeners: list[threading.Thread] = []
        self._errors: list[IO[bytes]] = []

    def __enter__(self) -> Self:
        try:
            for rank in range(self.world):
                self._start(rank)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def next(self, timeout_s: float) -> Message | None:
        """What was said next, in any of the processes; None if nothing was within that time."""
        try:
            return self._heard.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def answer(self, said: Mapping[str, Any]) -> None:
        """Tells all processes the same."""
        line = json.dumps(said).encode() + b"\n"
        for process in self._processes:
            with suppress(BrokenPipeError):  # it has ended, which is what is heard of it next
                _pipe(process.stdin).write(line)
                _pipe(process.stdin).flush()

    def cause(self, first: Message) -> Message:
        """Which failure came first, after one was heard of: a process that loses another one fails, too."""
        seen, deadline = [first], time.monotonic() + GRACE_S
        while all(_follows(message) for message in seen) and time.monotonic() < deadline:
            message = self.next(timeout_s=0.1)
            if message is not None and message.kind in ("error", "end"):
                seen.append(message)
        return next((message for message in seen if not _follows(message)), first)

    def _start(self, rank: int) -> None:
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in _end
        self._errors.append(errors)
        # A session of its own: Ctrl-C is for the worker, which then ends these processes itself.
        process = subprocess.Popen(
            [sys.executable, "-m", "nas.train.rank", str(self.folder), str(rank)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        self._processes.append(process)
        listener = threading.Thread(target=self._listen, args=(rank, process, errors), daemon=True)
        self._listeners.append(listener)
        listener.start()

    def _listen(self, rank: int, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        said = _pipe(process.stdout)
        over = False
        while line := said.readline():
            try:
                told = json.loads(line)
                content = said.read(told.pop("bytes", 0))
                kind = told.pop("kind")
            except (ValueError, KeyError):
                break  # cut off: it was killed as it spoke
            over = over or kind in ("done", "error")
            self._heard.put(Message(rank, kind, told, content))
        status = process.wait()
        if not over:
            errors.seek(0)
            words = errors.read().decode(errors="replace").strip()[-LAST_WORDS:]
            self._heard.put(Message(rank, "end", {"text": _ending(status), "words": words}))

    def _end(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        for listener in self._listeners:
            listener.join()
        for process in self._processes:
            for pipe in (process.stdin, process.stdout):
                with suppress(BrokenPipeError):  # something was still to be said to it
                    _pipe(pipe).close()
        for errors in self._errors:
            errors.close()


def _follows(message: Message) -> bool:
    """Whether a failure may be the consequence of another one."""
    return message.told.get("error") == "Lost"


def _ending(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    return f"was killed by {signal.Signals(-status).name}"


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # noqa: S101 - Popen was told to make it
    return pipe
