"""The app."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from anyio import CapacityLimiter
from fastapi import Depends, FastAPI
from starlette.middleware.cors import CORSMiddleware

from api import errors, idempotency, openapi
from api.access import Access, JobOwners, KeyRing, own_job
from api.browsers import CORS, SameSite
from api.dashboards import Dashboards
from api.deps import Parts
from api.feeds import Feeds
from api.headers import SecurityHeaders
from api.limits import BodyLimit, Rate
from api.meters import Meters
from api.requests import Requests
from api.routes import catalog, datasets, events, health, jobs, metrics, problems
from api.upkeep import Upkeep
from nas import plugins, traces
from nas.settings import Settings
from nas.store.artifacts import ArtifactStore
from nas.store.migrate import prepare
from nas.store.session import Store

DESCRIPTION = """Searches for a small, accurate network for your images.

POST a job, poll its dashboard, download the model. A job that has succeeded was retrained, compared with random
controls and a hand-designed network, exported, loaded in a fresh process and scored again."""


def create_app(settings: Settings, own_key: str | None = None) -> FastAPI:
    """The API on the database and files of these settings; it starts on a database of its own schema only.

    Args:
        settings: of the installation.
        own_key: a key for whoever starts this process, beside those in the database.

    Raises:
        SettingsError: a plugin cannot be used, or spans are asked for without the packages for them.
    """
    plugins.use(*settings.plugins)
    tracing = traces.Tracing(settings.otel, "nas-api")
    parts = Parts(settings, Store(settings.database_url, program="nas api"), ArtifactStore(settings.artifacts_url))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        prepare(parts.store)
        parts.artifacts.check()
        datasets.clear_abandoned(settings)
        with tracing, Upkeep(parts):
            yield
        parts.store.close()

    app = FastAPI(
        title="NAS service",
        version=version("nas-service"),
        description=DESCRIPTION,
        lifespan=lifespan,
        dependencies=[Depends(own_job)],
    )
    app.state.job_owners = JobOwners(parts.store)
    app.state.parts = parts
    app.state.feeds = feeds = Feeds(parts.store)
    app.state.meters = meters = Meters(parts.store, settings.lease_s, lambda: feeds.open)
    app.state.dashboards = Dashboards()
    app.state.decoding = CapacityLimiter(datasets.DECODERS)
    # The last one stands before all others.
    app.add_middleware(BodyLimit, max_upload_bytes=settings.max_upload_bytes)
    ring = KeyRing(parts.store, own_key)
    app.add_middleware(Access, ring=ring, rate=Rate(settings.rate_per_minute))
    app.add_middleware(SameSite, origins=settings.cors)
    if settings.cors:
        app.add_middleware(CORSMiddleware, allow_origins=settings.cors, **CORS)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Requests, meters=meters)
    errors.install(app)
    idempotency.install(app)
    for router in (
        jobs.router,
        events.router,
        datasets.router,
        catalog.router,
        health.router,
        metrics.router,
        problems.router,
    ):
        app.include_router(router)
    openapi.install(app, ring)
    return app
