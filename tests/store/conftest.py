"""Every test of the store runs on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.store.session import Store
from tests.support import BACKENDS, open_store


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(backend: str, tmp_path: Path) -> Iterator[Store]:
    """A store on a fresh database of the newest schema."""
    with open_store(backend, tmp_path) as opened:
        yield opened


@pytest.fixture
def empty_store(backend: str, tmp_path: Path) -> Iterator[Store]:
    """A store on a fresh database without tables."""
    with open_store(backend, tmp_path, migrated=False) as opened:
        yield opened
