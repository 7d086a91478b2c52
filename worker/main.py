"""A worker process: the loop and the signals."""

import argparse
import logging
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Sequence

import torch
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from nas import plugins
from nas.errors import SchemaDiffers, SettingsError
from nas.settings import Settings
from nas.store import workers
from nas.store.artifacts import ArtifactStore
from nas.store.migrate import prepare
from nas.store.session import WORKER_CONNECTIONS, Store
from nas.traces import Tracing
from worker.context import Context
from worker.evaluate import choose_device
from worker.lease import Heartbeat
from worker.step import step

log = logging.getLogger(__name__)

IDLE_S = 0.5
"""How long a worker with nothing to do waits before it looks again, on average."""


def work(settings: Settings, device: torch.device, stop: threading.Event) -> None:
    """Does steps until asked to stop; the trial at hand is then given back."""
    torch.set_num_threads(1)  # two processes of one thread train more than one process of two
    store = Store(settings.database_url, connections=WORKER_CONNECTIONS, program="nas worker")
    prepare(store)
    worker = f"{socket.gethostname()[:40]}-{os.getpid()}"
    with store.write() as session:
        workers.unregister(session, worker)  # a predecessor with our process id
        workers.register(session, worker, str(device))
    log.info("worker %s on %s, database %s", worker, device, store.name)
    with Tracing(settings.otel, "nas-worker"), Heartbeat(store, worker, settings.lease_s) as heartbeat:
        artifacts = ArtifactStore(settings.artifacts_url)
        context = Context(store, artifacts, settings, worker, device, heartbeat, stop.is_set)
        while not stop.is_set():
            try:
                busy = step(context)
            except (DBAPIError, PoolTimeout) as error:
                log.warning("the database does not answer (%s); trying again", getattr(error, "orig", error))
                busy = False
            if not busy:
                with context.stages.timed("idle"):
                    stop.wait(IDLE_S * random.uniform(0.5, 1.5))
                context.stages.flush(store)
        context.stages.flush(store, after_s=0)
    try:
        with store.write() as session:
            workers.unregister(session, worker)
    except SQLAlchemyError as error:  # it is taken for dead when it was not seen for a lease
        log.warning("the database does not answer (%s); the worker stops without it", error)
    store.close()
    log.info("worker %s has stopped", worker)


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m worker.main [--device auto|cpu|cuda] [--with-parent]`; returns the exit status."""
    parser = argparse.ArgumentParser(prog="nas worker", description=main.__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--with-parent", action="store_true", help="stop when standard input closes")
    options = parser.parse_args(arguments)
    try:
        settings = Settings.read(os.environ)
        device = choose_device(options.device)
        plugins.use(*settings.plugins)
    except (SettingsError, ValueError) as error:
        sys.stderr.write(f"nas worker: {error}\n")
        return 2
    settings.log_to_stderr()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if options.with_parent:
        # The parent holds the other end of the pipe: however it dies, the pipe closes, and no worker outlives it.
        threading.Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()
    try:
        work(settings, device, stop)
    except (SettingsError, SchemaDiffers) as error:
        sys.stderr.write(f"nas worker: {error}\n")
        return 2
    return 0


def _stop_at_end_of_input(stop: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):  # the descriptor itself: a buffered read would hold a lock at exit
        pass
    stop.set()


if __name__ == "__main__":
    sys.exit(main())
