"""The app on a fresh database, without any worker, and a client of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api.main import create_app
from nas.settings import Settings
from nas.store import datasets
from tests.api.client import ApiClient, calling
from tests.support import database, random_images


@pytest.fixture
def backend() -> str:
    """SQLite, unless a test asks for more by a parameter of this name: the store's tests run on both."""
    return "sqlite"


@pytest.fixture
def settings(backend: str, tmp_path: Path) -> Settings:
    return Settings.read({"NAS_HOME": str(tmp_path), "NAS_DATABASE_URL": database(backend, tmp_path)})


@pytest.fixture
def api(settings: Settings) -> Iterator[ApiClient]:
    """With one small data set, `squares`, that takes no time to load."""
    with started(settings) as client:
        yield client


@pytest.fixture(scope="module")
def shared_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiClient]:
    """The same, for a module whose tests change nothing that they look at."""
    home = tmp_path_factory.mktemp("shared")
    given = {"NAS_HOME": str(home), "NAS_DATABASE_URL": database("sqlite", home), "NAS_RATE_PER_MINUTE": "0"}
    with started(Settings.read(given)) as client:
        yield client


@contextmanager
def started(settings: Settings) -> Iterator[ApiClient]:
    with calling(create_app(settings)) as client:
        datasets.add(client.store, client.artifacts, "squares", random_images(8))
        yield client
