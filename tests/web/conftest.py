"""A real browser that has the pages' own files, and no service behind them."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from api.web.pages import STATIC
from tests.web.browser import chromium

STYLES = "".join(f'<link rel="stylesheet" href="/css/{name}.css">' for name in ("tokens", "base", "job", "cells"))
BLANK = f'<!doctype html><html><head>{STYLES}<script src="/vendor/d3.min.js"></script></head><main></main></html>'
FRAME = "export const go = () => {}; export const connection = () => {};"
"""Of the frame around all pages what a part of one calls."""


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
