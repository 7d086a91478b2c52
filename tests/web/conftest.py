"""A real browser: with the pages' own files and no service behind them, or with a service that has no workers."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from api.main import create_app
from api.web.pages import STATIC
from nas.settings import Settings
from nas.store import datasets
from tests.api.client import calling
from tests.api.served import listening
from tests.support import database, random_images
from tests.web.browser import WIDE, chromium, unexpected, visit
from tests.web.sections import Service
from tests.web.site import Site

STYLES = "".join(f'<link rel="stylesheet" href="/css/{name}.css">' for name in ("tokens", "base", "job", "cells"))
BLANK = f'<!doctype html><html><head>{STYLES}<script src="/vendor/d3.min.js"></script></head><main></main></html>'
FRAME = "export const go = (path) => { window.gone = path; }; export const connection = () => {};"
"""Of the frame around all pages what a part of one calls; it remembers where it was sent."""


class Quiet(SimpleHTTPRequestHandler):
    """The pages' files."""

    def log_message(self, format: str, *args: Any) -> None:
        return None


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One for all tests of the pages. No longer: as long as it is there, no test can have a loop of its own."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """An empty page, into which tests put what a module of the pages makes."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(STATIC)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        opened = browser.new_page(viewport={"width": 1400, "height": 900})
        opened.route("**/blank", lambda route: route.fulfill(content_type="text/html", body=BLANK))
        opened.route("**/app.js", lambda route: route.fulfill(content_type="text/javascript", body=FRAME))
        opened.goto(f"http://127.0.0.1:{server.server_port}/blank")
        yield opened
        opened.close()
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def service(page: Page) -> Iterator[Service]:
    """In place of the API; the page is empty again afterwards."""
    made = Service()
    page.route("**/v1/**", made)
    yield made
    page.unroute("**/v1/**")
    page.evaluate(
        "window.over?.abort(); document.querySelector('main').replaceChildren(); history.replaceState({}, '', '/blank')"
    )


@pytest.fixture(scope="package")
def whole(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One service and one page of it for all tests that go through the forms and the list."""
    home = tmp_path_factory.mktemp("site")
    given = {"NAS_HOME": str(home), "NAS_DATABASE_URL": database("sqlite", home), "NAS_MAX_OPEN_JOBS": "1000"}
    app = create_app(Settings.read(given))
    with calling(app) as api:
        datasets.add(api.store, api.artifacts, "squares", random_images(8))
        with listening(app) as url, visit(browser, url) as (page, watch):
            yield Site(api, url, page, watch)


@pytest.fixture
def site(whole: Site) -> Iterator[Site]:
    """A test fails whose page complains, raises, asks in vain or asks another host, unless it expects just that."""
    yield whole
    whole.page.set_viewport_size(WIDE)
    faults, expected = list(whole.watch.faults), list(whole.watch.expected)
    whole.watch.faults.clear()
    whole.watch.expected.clear()
    assert unexpected(faults, expected) == []
