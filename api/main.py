"""The app."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from anyio import CapacityLimiter
from fastapi import Depends, FastAPI
from starlette.middleware.cors import CORSMiddleware

from api import errors, idempotency, openapi
from api.access import Access, own_job
from api.browsers import CORS, SameSite
from api.dashboards import Dashboards
from api.deps import Parts
from api.feeds import Feeds
from api.headers import SecurityHeaders
from api.kept import KeptAnswers
from api.keyring import KeyRing
from api.limits import BodyLimit, Rate, Tries
from api.meters import Meters
from api.owners import JobOwners
from api.pictures import Pictures
from api.requests import Requests
from api.routes import (
    catalog,
    datasets,
    estimate,
    events,
    figures,
    health,
    jobs,
    metrics,
    pictures,
    predict,
    problems,
    session,
    study,
)
from api.studies import Lessons
from api.upkeep import Upkeep
from api.web import pages
from nas import plugins, traces
from nas.result.predict import Models
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
        docs_url=None,  # api.web has the page, with nothing from other hosts
        redoc_url=None,
        dependencies=[Depends(own_job)],
    )
    app.state.job_owners = JobOwners(parts.store)
    app.state.parts = parts
    app.state.feeds = feeds = Feeds(parts.store)
    app.state.meters = meters = Meters(parts.store, settings.lease_s, lambda: feeds.open)
    app.state.dashboards = Dashboards()
    app.state.kept = KeptAnswers()
    app.state.pictures = Pictures()
    app.state.lessons = Lessons()
    app.state.decoding = CapacityLimiter(datasets.DECODERS)
    app.state.models, app.state.looking = Models(), CapacityLimiter(predict.AT_ONCE)
    # The last one stands before all others.
    app.add_middleware(BodyLimit, max_upload_bytes=settings.max_upload_bytes)
    app.state.ring = ring = KeyRing(parts.store, own_key)
    app.state.rate = rate = Rate(settings.rate_per_minute)
    app.state.tries = Tries()
    app.add_middleware(Access, ring=ring, rate=rate)
    app.add_middleware(SameSite, origins=settings.cors)
    if settings.cors:
        app.add_middleware(CORSMiddleware, allow_origins=settings.cors, **CORS)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Requests, meters=meters)
    errors.install(app)
    pages.install(app)
    idempotency.install(app)
    for router in (
        estimate.router,
        jobs.router,
        predict.router,
        study.router,
        events.router,
        figures.router,
        pictures.router,
        datasets.router,
        catalog.router,
        health.router,
        metrics.router,
        problems.router,
        session.router,
        pages.router,
    ):
        app.include_router(router)
    openapi.install(app, ring)
    return app
