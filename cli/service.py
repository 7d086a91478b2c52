"""The embedded service: the API in this process, workers as its children."""

import contextlib
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

import uvicorn

from api.feeds import Feeds
from api.main import create_app
from cli.impatient import Impatient
from nas.errors import SettingsError
from nas.settings import Settings
from nas.store import migrate
from nas.store.session import Store

log = logging.getLogger(__name__)

STOP_S = 20.0
"""How long workers have to give their trials back; the longest step that cannot be interrupted takes half of it."""

ANSWERS_S = 10
"""How long a server that stops waits for its answers to be read."""

LONGEST_PAUSE_S = 30.0


class Workers:
    """Worker processes that are started again when they die, and stopped with this one, however it ends.

    Args:
        settings: handed to the workers as environment variables.
        count: how many.
        gpus: CUDA devices to spread them over; empty for CPU workers.
        environ: the environment that they inherit.
    """

    def __init__(self, settings: Settings, count: int, gpus: list[str], environ: Mapping[str, str]) -> None:
        self._environs = [
            _environ(settings, environ, gpus[index % len(gpus)] if gpus else None) for index in range(count)
        ]
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * count
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

    def _start(self, index: int) -> None:
        # Standard input is the tie: it closes when this process ends, also by kill -9, and the worker then stops.
        self._processes[index] = subprocess.Popen(
            [sys.executable, "-m", "worker.main", "--with-parent"],
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
                    self._processes[index] = None
                    again_at[index] = time.monotonic() + pauses[index]
                    pauses[index] = min(2 * pauses[index], LONGEST_PAUSE_S)


def _environ(settings: Settings, environ: Mapping[str, str], gpu: str | None) -> dict[str, str]:
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    device = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
    return dict(environ) | one_thread | device | settings.to_environ()


def listen(host: str, port: int) -> socket.socket:
    """A socket for the API; port 0 takes a free one. Raises SettingsError if the address is not to be had."""
    try:
        sock = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        # What is accepted inherits it: the head of an answer and its body are sent apart, and would wait for each other
        # for 40 ms. asyncio sets it only where the socket names its protocol.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {host}:{port} ({error.strerror}); name another --host or --port"
        ) from error


def server(settings: Settings, own_key: str | None = None) -> uvicorn.Server:
    """The API's server; whoever runs it hands it a socket, and may have a key of their own."""
    app = create_app(settings, own_key)
    config = uvicorn.Config(
        app,
        http=Impatient,
        log_level=settings.log.lower(),
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=ANSWERS_S,
    )
    return _Server(config, app.state.feeds)


class _Server(uvicorn.Server):
    """Ends the event streams before it waits for all answers to be sent."""

    def __init__(self, config: uvicorn.Config, feeds: Feeds) -> None:
        super().__init__(config)
        self._feeds = feeds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Closes the listening sockets and waits for the connections."""
        self._feeds.stop()
        await super().shutdown(sockets)


def prepare(settings: Settings) -> None:
    """Makes an embedded database on its first start. Raises SchemaDiffers if the database is of another version."""
    store = Store(settings.database_url)
    try:
        migrate.prepare(store)
    finally:
        store.close()


@contextlib.contextmanager
def local_service(
    settings: Settings, workers: int, gpus: list[str], environ: Mapping[str, str], own_key: str | None = None
) -> Iterator[str]:
    """A service of one's own on a free port of the loopback, for as long as the block runs; gives its URL.

    It takes `own_key` as well as the keys of its database.
    """
    prepare(settings)
    sock = listen("127.0.0.1", 0)
    api = server(settings, own_key)
    thread = threading.Thread(target=api.run, kwargs={"sockets": [sock]}, name="api", daemon=True)
    with Workers(settings, workers, gpus, environ):
        thread.start()
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            api.should_exit = True
            thread.join()


def find_gpus(environ: Mapping[str, str]) -> list[str]:
    """The CUDA devices that workers can use, by the names CUDA_VISIBLE_DEVICES takes; asks the driver, not torch."""
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name and name != "-1"]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=20)  # noqa: S607
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(index) for index, line in enumerate(listed.stdout.splitlines()) if line.startswith("GPU ")]
