"""The worker processes of a machine: started, watched, and stopped with this one. No torch, no API."""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from cli.places import Place
from nas.settings import Settings

log = logging.getLogger(__name__)

STOP_S: Final = 20.0
"""How long workers have to give their trials back; the longest step that cannot be interrupted takes half of it."""

LONGEST_PAUSE_S: Final = 30.0

MISTAKE: Final = 2
"""Exit status of a worker whose settings somebody has to mend."""


class Workers:
    """Worker processes that are started again when they die, and stopped with this one, however it ends.

    Args:
        settings: handed to the workers as environment variables.
        where: a place for each of them.
        environ: the environment that they inherit.
        options: of `python -m worker.main`, for all.
    """

    def __init__(
        self, settings: Settings, where: Sequence[Place], environ: Mapping[str, str], options: Sequence[str] = ()
    ) -> None:
        self._where = where
        self._environs = [_environ(settings, environ, place) for place in where]
        self._options = options
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * len(where)
        self._mistaken = threading.Event()
        self._stopping = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)

    def __enter__(self) -> Self:
        for index in range(len(self._processes)):
            self._start(index)
        self._supervisor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._supervisor.join()
        running = [process for process in self._processes if process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_S
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("worker %d did not stop in time; its trial is taken over when its lease ends", process.pid)
                process.kill()
                process.wait()
            if process.stdin:
                process.stdin.close()

    def refused(self, wait_s: float) -> bool:
        """Whether a worker ended within that time because of a mistake in its settings, which it has told of."""
        return self._mistaken.wait(wait_s)

    def _start(self, index: int) -> None:
        # Standard input is the tie: it closes when this process ends, also by kill -9, and the worker then stops.
        core = self._where[index].core
        pinned = [] if core is None else ["--core", str(core)]
        self._processes[index] = subprocess.Popen(
            [sys.executable, "-m", "worker.main", "--with-parent", *self._options, *pinned],
            stdin=subprocess.PIPE,
            env=self._environs[index],
        )

    def _supervise(self) -> None:
        pauses = [1.0] * len(self._processes)
        again_at = [0.0] * len(self._processes)
        while not self._stopping.wait(0.2):
            for index, process in enumerate(self._processes):
                if process is None:
                    if time.monotonic() >= again_at[index]:
                        self._start(index)
                elif process.poll() is not None:
                    log.warning("worker %d ended with status %d; starting another", process.pid, process.returncode)
                    if process.stdin:
                        process.stdin.close()
                    if process.returncode == MISTAKE:
                        self._mistaken.set()
                    self._processes[index] = None
                    again_at[index] = time.monotonic() + pauses[index]
                    pauses[index] = min(2 * pauses[index], LONGEST_PAUSE_S)


def _environ(settings: Settings, environ: Mapping[str, str], place: Place) -> dict[str, str]:
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    device = {} if place.gpus is None else {"CUDA_VISIBLE_DEVICES": place.gpus}
    return dict(environ) | one_thread | device | settings.to_environ()
