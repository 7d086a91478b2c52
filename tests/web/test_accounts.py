"""Who may see the pages of a service that asks for keys, and what of a key stays in the browser: nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from api.main import create_app
from nas.settings import Settings
from nas.store import keys
from tests.api.client import ApiClient, calling
from tests.api.served import listening
from tests.support import database
from tests.web.browser import accessible, fits, keep, visit

REFUSED = "status of 40[13]"
ASK = """async (headers) => (await fetch("/v1/jobs", {method: "POST", body: '{"dataset": "squares"}',
    headers: {"Content-Type": "application/json", ...headers}})).status"""


@dataclass(frozen=True)
class Guarded:
    api: ApiClient
    url: str
    key: str


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    app = create_app(Settings.read({"NAS_HOME": str(tmp_path), "NAS_DATABASE_URL": database("sqlite", tmp_path)}))
    with calling(app) as api, listening(app) as url:
        ann = api.of("ann")
        assert ann.key is not None
        ann.add_job(name="of ann")
        yield Guarded(api, url, ann.key)


def log_in(page: Page, key: str) -> None:
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Log in").click()


def test_a_wrong_key_is_refused_and_the_right_one_leaves_nothing_behind(guarded: Guarded, browser: Browser) -> None:
    with visit(browser, guarded.url) as (page, watch):
        page.goto("/datasets")
        page.wait_for_url("**/login?next=%2Fdatasets")
        field = page.get_by_label("Key")
        expect(field).to_be_focused()
        assert accessible(page) == []
        watch.check()  # to come without a login is no fault
        watch.expect(REFUSED)
        log_in(page, "nas_wrong")
        expect(page.get_by_role("alert")).not_to_be_empty()
        expect(field).to_be_focused()
        expect(field).to_have_attribute("aria-invalid", "true")
        keep(page, "login")
        log_in(page, guarded.key)
        page.wait_for_url(f"{guarded.url}/datasets")
        expect(page.get_by_text("ann (write)")).to_be_visible()
        [cookie] = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
        kept: str = page.evaluate("JSON.stringify([localStorage, sessionStorage, history.state, document.cookie])")
        for secret in (guarded.key, str(cookie["value"])):
            assert secret not in kept + page.url + page.content()


def test_what_changes_something_needs_the_token_and_the_pages_have_it(guarded: Guarded, browser: Browser) -> None:
    with visit(browser, guarded.url) as (page, watch):
        watch.expect(REFUSED)
        page.goto("/login")
        log_in(page, guarded.key)
        page.get_by_role("link", name="of ann").click()
        page.get_by_role("button", name="Pause").wait_for()
        other = page.context.new_page()
        other.goto("/login")
        with page.expect_response("**/session"):  # the login, and with it the token, is another one now
            log_in(other, guarded.key)
        assert page.evaluate(ASK, {}) == 403
        assert page.evaluate(ASK, {"X-CSRF-Token": "guessed"}) == 403
        page.get_by_role("button", name="Pause").click()
        expect(page.locator(".job-head .state")).to_have_text("paused")
        page.reload()  # the page forgets the token, and is told it again
        page.get_by_role("button", name="Resume").click()
        expect(page.locator(".job-head .state")).to_have_text("queued")


@pytest.mark.parametrize("way", ["log out", "revoked"])
def test_who_is_out_sees_nothing_more(guarded: Guarded, browser: Browser, way: str) -> None:
    with visit(browser, guarded.url) as (page, watch):
        watch.expect(REFUSED)
        page.goto("/login")
        log_in(page, guarded.key)
        expect(page.get_by_role("link", name="of ann")).to_be_visible()
        [cookie] = page.context.cookies()
        if way == "log out":
            other = page.context.new_page()
            other.goto("/datasets")
            other.get_by_role("button", name="Log out").click()
        else:
            with guarded.api.store.write() as session:
                keys.revoke(session, guarded.key)
        page.wait_for_url("**/login*")
        expect(page.get_by_label("Key")).to_be_visible()
        assert page.get_by_role("link", name="of ann").count() == 0
        page.context.add_cookies([restored(cookie)])
        page.goto("/")
        page.wait_for_url("**/login*")  # the old cookie opens nothing
        assert fits(page)


def restored(cookie: Any) -> Any:
    return {name: cookie[name] for name in ("name", "value", "domain", "path", "httpOnly", "sameSite")}
