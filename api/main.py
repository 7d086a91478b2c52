"""The app."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from anyio import CapacityLimiter
from fastapi import FastAPI

from api import errors, openapi
from api.deps import Parts
from api.limits import BodyLimit
from api.routes import catalog, datasets, health, jobs
from nas import plugins
from nas.settings import Settings
from nas.store.artifacts import ArtifactStore
from nas.store.migrate import migrate
from nas.store.session import Store

DESCRIPTION = """Searches for a small, accurate network for your images.

POST a job, poll its dashboard, download the model. A job that has succeeded was retrained, compared with random
controls and a hand-designed network, exported, loaded in a fresh process and scored again."""


def create_app(settings: Settings) -> FastAPI:
    """The API on the database and files of these settings; the schema is brought up to date when it starts.

    Raises:
        SettingsError: a plugin cannot be used.
    """
    plugins.use(*settings.plugins)
    parts = Parts(settings, Store(settings.database_url), ArtifactStore(settings.artifacts_url))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        migrate(parts.store)
        parts.artifacts.check()
        datasets.clear_abandoned(settings)
        yield
        parts.store.close()

    app = FastAPI(title="NAS service", version=version("nas-service"), description=DESCRIPTION, lifespan=lifespan)
    app.state.parts = parts
    app.state.decoding = CapacityLimiter(datasets.DECODERS)
    app.add_middleware(BodyLimit, max_upload_bytes=settings.max_upload_bytes)
    errors.install(app)
    for router in (jobs.router, datasets.router, catalog.router, health.router):
        app.include_router(router)
    openapi.install(app)
    return app
