"""A real browser for tests of the pages, and what no page may do in it."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, ViewportSize, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
"""What a machine may call it; tests/web/install.sh looks for the same."""
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Nothing that only a person's browser needs."""
SCREENSHOTS = Path(os.environ.get("NAS_SCREENSHOTS") or Path(__file__).parents[2] / "screenshots")
WAIT_MS = 20_000
WIDE: ViewportSize = {"width": 1280, "height": 800}


@contextmanager
def chromium() -> Iterator[Browser]:
    """The Chromium of the machine, or Playwright's own. Without one the test is skipped, but not in CI."""
    found = os.environ.get("NAS_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=found, args=list(QUIET))
        except Error as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"no Chromium here: {error}")
        yield browser
        browser.close()


class Watch:
    """What pages do that they must not: complain, raise, ask in vain or ask another host."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.faults: list[str] = []
        self.expected: list[str] = []

    def expect(self, *patterns: str) -> None:
        """Faults with these patterns are what the test is about."""
        self.expected += patterns

    def look_at(self, page: Page) -> None:
        """Watches a page from now on."""
        page.on("console", self._says)
        page.on("pageerror", lambda error: self.faults.append(f"raised: {error}"))
        page.on("request", self._asks)
        page.on("requestfailed", self._fails)

    def check(self) -> None:
        """Fails if a page has done something that was not expected."""
        assert unexpected(self.faults, self.expected) == []

    def _says(self, line: ConsoleMessage) -> None:
        if line.type in ("error", "warning"):
            self.faults.append(f"console: {line.text} ({line.location['url']})")

    def _asks(self, request: Request) -> None:
        if not request.url.startswith((f"{self.url}/", "data:", "blob:")):
            self.faults.append(f"another host: {request.url}")

    def _fails(self, request: Request) -> None:
        if "ERR_ABORTED" not in (request.failure or ""):  # what was asked for a page that was left
            self.faults.append(f"failed: {request.url} {request.failure}")


def unexpected(faults: list[str], expected: list[str]) -> list[str]:
    """The faults that have none of the patterns."""
    return [fault for fault in faults if not any(re.search(each, fault) for each in expected)]


@contextmanager
def visit(browser: Browser, url: str, **options: Any) -> Iterator[tuple[Page, Watch]]:
    """A page of a browser that has never been here, and what watches it: a fault of it fails the test at the end."""
    context = browser.new_context(base_url=url, **{"viewport": WIDE, "reduced_motion": "reduce"} | options)
    context.set_default_timeout(WAIT_MS)
    watch = Watch(url)
    context.on("page", watch.look_at)
    try:
        yield context.new_page(), watch
        watch.check()
    finally:
        context.close()


def unroll(page: Page) -> None:
    """Goes down the page once, for its parts ask for what they show when they are seen; waits until they have it."""
    page.evaluate(
        """async () => {
          for (let y = 0; y < document.documentElement.scrollHeight; y += innerHeight / 2) {
            scrollTo(0, y);
            await new Promise((done) => setTimeout(done, 40));
          }
          scrollTo(0, 0);
        }"""
    )
    page.wait_for_timeout(300)


def keep(page: Page, name: str) -> None:
    """Keeps a picture of the whole page for people to look at."""
    page.evaluate("scrollTo(0, 0)")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def accessible(page: Page) -> list[str]:
    """The serious and critical faults that axe finds on the page as it is now; one line each."""
    found = Axe().run(page).response["violations"]
    return [
        f"{fault['id']}: {fault['help']}: {[node['html'][:200] for node in fault['nodes']][:3]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
    ]


def fits(page: Page) -> bool:
    """Whether nothing of the page lies beside the screen."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))
