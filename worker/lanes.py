"""The lanes of a worker process: threads that each run one trial at a time, beside each other on one device.

A lane is a worker with an id of its own. It shares with the others what there is once in a process: the database, the
artifact store, the data sets in memory and on the device, the heartbeat, and the room on the device.
"""

import logging
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final

import torch
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from nas.settings import Settings
from nas.store import workers
from nas.store.artifacts import ArtifactStore
from nas.store.session import Store
from worker.admission import Learned, Room, Seat
from worker.context import Context
from worker.devices import memory_of
from worker.journal import Journal
from worker.lease import Heartbeat
from worker.needs import learn
from worker.shelf import Shelf
from worker.step import step

log = logging.getLogger(__name__)

IDLE_S: Final = 0.5
"""How long a lane with nothing to do waits before it looks again, on average."""

LEARN_S: Final = 60.0
"""How often a process looks what other workers have measured."""


@dataclass(frozen=True, eq=False, slots=True)
class Process:
    """What the lanes of a process share.

    Attributes:
        settings, store, device: of the process.
        stop: set when it is to end.
        ray: whether it has Ray; its first lane is the one that drives jobs there.
        cores: that a Ray cluster of its own may use; none: those that it uses itself.
    """

    settings: Settings
    store: Store
    device: torch.device
    stop: threading.Event
    ray: bool
    cores: frozenset[int] = frozenset()


def run(process: Process, count: int) -> bool:
    """Works in so many lanes until the process is to stop; the trials at hand are then given back.

    Returns:
        Whether memory of the device was lost, so that the process should begin anew.

    Raises:
        Exception: whatever a lane stopped at; the others are stopped then.
    """
    store, settings = process.store, process.settings
    own = f"{socket.gethostname()[:40]}-{os.getpid()}"
    names = [own] if count == 1 else [f"{own}-{lane}" for lane in range(count)]
    room = Room(memory_of(process.device), Learned())
    artifacts, shelf = ArtifactStore(settings.artifacts_url), Shelf()
    failures: list[BaseException] = []
    with (
        Journal(store) as journal,
        Heartbeat(store, names[0], settings.lease_s, journal.write) as heartbeat,
        ExitStack() as registered,
    ):
        contexts = []
        for lane, name in enumerate(names):
            drives = process.ray and lane == 0
            registered.enter_context(_registered(store, name, str(process.device), ray=drives))
            grip = registered.enter_context(heartbeat.grip(name))
            contexts.append(
                Context(
                    store=store,
                    artifacts=artifacts,
                    settings=settings,
                    worker=name,
                    device=process.device,
                    grip=grip,
                    stopping=process.stop.is_set,
                    ray=drives,
                    cores=process.cores,
                    shelf=shelf,
                    seat=Seat(room),
                    write_log=journal.write,
                )
            )

        def train(context: Context) -> None:
            try:
                _work(process, context, room, packed=count > 1)
            except BaseException as error:  # whatever ends a lane ends the process
                failures.append(error)
                process.stop.set()

        threads = [threading.Thread(target=train, args=(each,), name=each.worker) for each in contexts[1:]]
        for thread in threads:
            thread.start()
        train(contexts[0])
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    return room.leaked_bytes > 0


def _work(process: Process, context: Context, room: Room, *, packed: bool) -> None:
    """The loop of one lane."""
    torch.set_num_threads(1)  # two processes of one thread train more than one process of two
    stream = torch.cuda.Stream(process.device) if packed and process.device.type == "cuda" else None  # type: ignore[no-untyped-call]
    learn_at = time.monotonic() if packed else float("inf")
    with torch.cuda.stream(stream) if stream is not None else nullcontext():
        while not process.stop.is_set():
            try:
                if time.monotonic() >= learn_at:
                    learn(room.learned, process.store, process.device)
                    learn_at = time.monotonic() + LEARN_S
                busy = step(context)
            except (DBAPIError, PoolTimeout) as error:
                log.warning("the database does not answer (%s); trying again", getattr(error, "orig", error))
                busy = False
            if room.leaked_bytes:
                log.error("the process begins anew, so that the device does not fill up slowly")
                process.stop.set()
            if not busy:
                with context.stages.timed("idle"):
                    process.stop.wait(IDLE_S * random.uniform(0.5, 1.5))
                context.stages.flush(process.store)
    context.stages.flush(process.store, after_s=0)


@contextmanager
def _registered(store: Store, worker: str, device: str, *, ray: bool) -> Iterator[None]:
    """A worker that is known to be alive for as long as this lasts."""
    with store.write() as session:
        workers.unregister(session, worker)  # a predecessor with our process id
        workers.register(session, worker, device, ray=ray)
    log.info("worker %s on %s, database %s", worker, device, store.name)
    try:
        yield
    finally:
        try:
            with store.write() as session:
                workers.unregister(session, worker)
        except SQLAlchemyError as error:  # it is taken for dead when it was not seen for a lease
            log.warning("the database does not answer (%s); the worker stops without it", error)
        log.info("worker %s has stopped", worker)
