"""A trial's epochs are written down beside its training: the next epoch waits for no disk and no database."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult


@dataclass(frozen=True, eq=False, slots=True)
class Done:
    """An epoch that is done.

    Attributes:
        result: of it.
        checkpoint: that follows it; None if a later one is written with it, or nothing goes on from it.
        events: its TensorBoard log, if the job wants them.
    """

    result: EpochResult
    checkpoint: Checkpoint | None
    events: bytes | None


class Writer:
    """Writes the epochs of one trial in a thread, in order; those that come meanwhile are written together.

    So epochs that are shorter than writing them are written as fast as that goes, with the checkpoint of the newest,
    and all others at once. At the end of the block all that was added is written.

    Args:
        write: writes epochs, of which the last one has a checkpoint.
    """

    def __init__(self, write: Callable[[Sequence[Done]], None]) -> None:
        self._write = write
        self._waiting: list[Done] = []
        self._writing = self._closed = False
        self._failure: Exception | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        if error is None:
            self._check()

    def add(self, done: Done) -> None:
        """Has an epoch written. Raises what writing an earlier one raised."""
        self._check()
        with self._changed:
            if self._waiting:
                self._waiting[-1] = replace(self._waiting[-1], checkpoint=None)
            self._waiting.append(done)
            self._changed.notify_all()
        if self._thread is None:  # a trial of a single epoch needs none
            self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
            self._thread.start()

    def settle(self) -> None:
        """Waits until all that was added is written. Raises what writing it raised."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure or not (self._waiting or self._writing))
        self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                taken, self._waiting, self._writing = self._waiting, [], True
            try:
                self._write(taken)
            except Exception as error:  # raised where the training waits for it
                with self._changed:
                    self._failure, self._waiting, self._writing = error, [], False
                    self._changed.notify_all()
                return
