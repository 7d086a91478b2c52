"""The embedded service: the API in this process, workers as its children."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping

import uvicorn

from api.feeds import Feeds
from api.main import create_app
from cli.impatient import Impatient
from cli.places import Cores, places
from cli.workers import Workers
from nas.errors import SettingsError
from nas.settings import Settings
from nas.store import migrate
from nas.store.session import Store

ANSWERS_S = 10
"""How long a server that stops waits for its answers to be read."""


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
    settings: Settings, workers: int | None, gpus: list[str], environ: Mapping[str, str], own_key: str | None = None
) -> Iterator[str]:
    """A service of one's own on a free port of the loopback, for as long as the block runs; gives its URL.

    It takes `own_key` as well as the keys of its database.
    """
    prepare(settings)
    sock = listen("127.0.0.1", 0)
    api = server(settings, own_key)
    thread = threading.Thread(target=api.run, kwargs={"sockets": [sock]}, name="api", daemon=True)
    with Workers(settings, places(workers, gpus, Cores.here()), environ):
        thread.start()
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            api.should_exit = True
            thread.join()
