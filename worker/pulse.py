"""A thread that does something again and again."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Pulse:
    """A thread that acts at intervals for as long as it is entered; at the end an act that has begun is waited for.

    Args:
        name: of the thread.
        every_s: the interval.
        act: what it does; whether to go on. It must not raise.
    """

    def __init__(self, name: str, every_s: float, act: Callable[[], bool]) -> None:
        self._every_s, self._act = every_s, act
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._left.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._left.wait(self._every_s) and self._act():
            pass
