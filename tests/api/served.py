"""A route on a real socket."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI, Response

from api.downloads import CurrentWishes, Wishes
from cli.service import listen


@contextmanager
def served(answer: Callable[[Wishes], Response]) -> Iterator[str]:
    """The URL at which requests are answered so."""
    app = FastAPI()

    @app.get("/")
    def root(wishes: CurrentWishes) -> Response:
        return answer(wishes)

    with listening(app) as url:
        yield url


@contextmanager
def listening(app: FastAPI, port: int = 0) -> Iterator[str]:
    """The URL of an app that is served, by default at a port that is free."""
    sock = listen("127.0.0.1", port)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
