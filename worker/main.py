"""A worker process: the loop and the signals."""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import torch

from nas import plugins
from nas.errors import SchemaDiffers, SettingsError
from nas.settings import Settings
from nas.store.migrate import prepare
from nas.store.session import WORKER_CONNECTIONS, Store
from nas.traces import Tracing
from worker import lanes, pack
from worker.evaluate import choose_device
from worker.lanes import Process

log = logging.getLogger(__name__)


def work(
    settings: Settings,
    device: torch.device,
    stop: threading.Event,
    count: int = 1,
    cores: frozenset[int] = frozenset(),
) -> bool:
    """Runs trials in so many lanes until asked to stop; the trials at hand are then given back.

    Args:
        settings, device, stop, cores: see worker.lanes.Process.
        count: of the lanes.

    Returns:
        Whether the process should begin anew; see worker.lanes.run.
    """
    connections = WORKER_CONNECTIONS + count - 1
    store = Store(settings.database_url, connections=connections, program="nas worker")
    try:
        prepare(store)
        with Tracing(settings.otel, "nas-worker"):
            return lanes.run(Process(settings, store, device, stop, find_spec("ray") is not None, cores), count)
    finally:
        store.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m worker.main [--device auto|cpu|cuda] [--pack auto|N] [--core N] [--with-parent]`; the exit status."""
    parser = argparse.ArgumentParser(prog="nas worker", description=main.__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pack", default="auto", help="trials at once, or auto")
    parser.add_argument("--core", type=int, help="the one core that it may use, where the system has that")
    parser.add_argument("--with-parent", action="store_true", help="stop when standard input closes")
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(arguments)
    try:
        settings = Settings.read(os.environ)
        device = choose_device(options.device)
        count = pack.lanes(pack.packed(options.pack), device.type)
        plugins.use(*settings.plugins)
    except (SettingsError, ValueError) as error:
        sys.stderr.write(f"nas worker: {error}\n")
        return 2
    settings.log_to_stderr()
    cores = frozenset[int]() if options.core is None else _pin(options.core)
    stop, asked = threading.Event(), threading.Event()

    def ask(*_: object) -> None:
        asked.set()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    if options.with_parent:
        # The parent holds the other end of the pipe: however it dies, the pipe closes, and no worker outlives it.
        threading.Thread(target=_stop_at_end_of_input, args=(ask,), daemon=True).start()
    try:
        anew = work(settings, device, stop, count, cores)
    except (SettingsError, SchemaDiffers) as error:
        sys.stderr.write(f"nas worker: {error}\n")
        return 2
    if anew and not asked.is_set():
        os.execv(sys.executable, [sys.executable, "-m", "worker.main", *arguments])  # noqa: S606 - the same, anew
    return 0


def _pin(core: int) -> frozenset[int]:
    """Keeps this process to a core; one that it may not use, or a system without such a thing, changes nothing.

    Returns:
        The cores that it might use before.
    """
    before = frozenset[int]()
    try:
        before = frozenset(os.sched_getaffinity(0))
        if core in before:
            os.sched_setaffinity(0, {core})
    except (AttributeError, OSError) as error:
        log.info("the worker is not kept to core %d: %s", core, error)
    return before


def _stop_at_end_of_input(stop: Callable[[], None]) -> None:
    while os.read(sys.stdin.fileno(), 4096):  # the descriptor itself: a buffered read would hold a lock at exit
        pass
    stop()


if __name__ == "__main__":
    sys.exit(main())
