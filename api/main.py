"""The app."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from api import errors
from api.deps import Parts
from api.limits import BodyLimit
from api.routes import catalog, health, jobs
from nas.settings import Settings
from nas.store.artifacts import ArtifactStore
from nas.store.migrate import migrate
from nas.store.session import Store

DESCRIPTION = """Searches for a small, accurate network for your images.

POST a job, poll its dashboard, download the model. A job that has succeeded was retrained, compared with random
controls and a hand-designed network, exported, loaded in a fresh process and scored again."""


def create_app(settings: Settings) -> FastAPI:
    """The API on the database and files of these settings; the schema is brought up to date when it starts."""
    parts = Parts(settings, Store(settings.database_url), ArtifactStore(settings.artifacts_url))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        migrate(parts.store)
        parts.artifacts.check()
        yield
        parts.store.close()

    app = FastAPI(title="NAS service", version=version("nas-service"), description=DESCRIPTION, lifespan=lifespan)
    app.state.parts = parts
    app.add_middleware(BodyLimit)
    errors.install(app)
    for router in (jobs.router, catalog.router, health.router):
        app.include_router(router)
    return app
