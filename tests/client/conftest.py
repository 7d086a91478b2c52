"""A real service on a real socket, and both clients of it."""

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from api.main import create_app
from nas import AsyncClient, Client
from nas.settings import Settings
from nas.store import datasets
from nas.store.artifacts import ArtifactStore
from nas.store.session import Store
from tests.api.served import listening
from tests.support import database, random_images


@dataclass(frozen=True)
class Service:
    """A service without workers, and its database."""

    url: str
    settings: Settings
    store: Store


@dataclass(frozen=True)
class Both:
    """One of the two clients; `do` waits for what the other one would have answered at once."""

    client: Any
    do: Callable[[Any], Any]


@pytest.fixture
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With one small data set, `squares`."""
    home = tmp_path_factory.mktemp("home")
    settings = Settings.read({"NAS_HOME": str(home), "NAS_DATABASE_URL": database("sqlite", home)})
    with listening(create_app(settings)) as url:
        store = Store(settings.database_url)
        datasets.add(store, ArtifactStore(settings.artifacts_url), "squares", random_images(8))
        yield Service(url, settings, store)
        store.close()


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with Client(service.url) as found:
        yield found


@pytest.fixture(params=["sync", "async"])
def both(request: pytest.FixtureRequest, service: Service) -> Iterator[Both]:
    """nas.Client, and nas.AsyncClient on an event loop of its own."""
    if request.param == "sync":
        with Client(service.url) as client:
            yield Both(client, lambda answer: list(answer) if inspect.isgenerator(answer) else answer)
        return
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(AsyncClient(service.url)) as waiting:
        yield Both(waiting, lambda answer: awaited(portal, answer))


def awaited(portal: BlockingPortal, answer: Any) -> Any:
    """What comes of an answer that is waited for."""

    async def wait() -> Any:
        if isinstance(answer, AsyncIterator):
            return [item async for item in answer]
        return await answer

    return portal.call(wait)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the test is in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
