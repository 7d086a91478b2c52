"""Pages that need no worker, on a phone and on large screens, light and dark: read by all, and nowhere too wide."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from api.main import create_app
from nas.settings import Settings
from nas.store import datasets
from tests.api.client import calling, succeed
from tests.api.served import listening
from tests.support import database, random_images, run_trial
from tests.web.browser import accessible, fits, keep, unroll, visit

SCREENS = [
    ("phone", (360, 740), "light"),
    ("laptop", (1280, 800), "dark"),
    ("large", (2560, 1440), "light"),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with a job that has ended, one at work and one that waits."""
    home = tmp_path_factory.mktemp("axe")
    app = create_app(Settings.read({"NAS_HOME": str(home), "NAS_DATABASE_URL": database("sqlite", home)}))
    with calling(app) as api, listening(app) as served:
        datasets.add(api.store, api.artifacts, "squares", random_images(8))
        succeed(api)
        api.add_job(name="at work")
        run_trial(api.store)
        api.add_job(name="waits with a name that is as long as names of people who like to say it all may be " * 2)
        yield served


def open_form(page: Page) -> None:
    """Shows all that is folded away."""
    expect(page.get_by_role("button", name="Start the search")).to_be_visible()
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")


@pytest.mark.parametrize(("name", "size", "colours"), SCREENS)
def test_every_page_is_accessible_and_fits(
    url: str, browser: Browser, name: str, size: tuple[int, int], colours: Any
) -> None:
    view = {"width": size[0], "height": size[1]}
    with visit(browser, url, viewport=view, color_scheme=colours) as (page, watch):
        watch.expect("status of 404")  # the last one
        for path in ("/", "/?q=nothing+like+it", "/new", "/datasets", "/login", "/jobs/nonesuch"):
            page.goto(path)
            expect(page.locator("h1")).to_be_visible()
            if path == "/new":
                open_form(page)
            unroll(page)
            shown = path.strip("/?").partition("=")[0].replace("/", "-") or "jobs"
            keep(page, f"{shown}-{name}-{colours}")
            assert fits(page), f"{path} is wider than {size[0]} px"
            assert accessible(page) == [], path


def test_the_list_of_jobs_fits_every_width(url: str, browser: Browser) -> None:
    with visit(browser, url) as (page, _):
        page.goto("/")
        expect(page.get_by_role("link", name="at work")).to_be_visible()
        for width in (320, 360, 520, 700, 701, 768, 900, 1000, 1001, 1280, 1920, 3840):
            page.set_viewport_size({"width": width, "height": 800})
            assert fits(page), width


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_dialogs_are_accessible_keep_to_the_keyboard_and_give_the_focus_back(
    url: str, browser: Browser, colours: Any
) -> None:
    with visit(browser, url, color_scheme=colours) as (page, _):
        page.goto("/")
        page.get_by_role("link", name="at work").click()
        for name in ("Extend…", "Cancel…"):
            button = page.get_by_role("button", name=name, exact=True)
            button.focus()
            page.keyboard.press("Enter")
            expect(page.get_by_role("dialog")).to_be_visible()
            assert page.evaluate("document.activeElement.closest('dialog') !== null")
            assert accessible(page) == [], name
            page.keyboard.press("Escape")
            expect(page.get_by_role("dialog")).to_have_count(0)
            expect(button).to_be_focused()


def test_what_has_the_focus_is_never_behind_the_header(url: str, browser: Browser) -> None:
    hidden = """() => {
      const one = document.activeElement, below = document.querySelector(".top").getBoundingClientRect().bottom;
      const box = one.getBoundingClientRect();
      const behind = box.bottom <= innerHeight && box.top < below - 1;
      return behind && one.closest(".top, .skip") === null ? one.outerHTML : null;
    }"""
    with visit(browser, url, viewport={"width": 1280, "height": 500}) as (page, _):
        page.goto("/")
        page.get_by_role("link", name="at work").click()
        unroll(page)
        for key in ["Tab"] * 60 + ["Shift+Tab"] * 60:
            page.keyboard.press(key)
            assert page.evaluate(hidden) is None


def test_the_colours_are_chosen_kept_and_told(url: str, browser: Browser) -> None:
    with visit(browser, url, color_scheme="light") as (page, _):
        page.goto("/")
        ground = "getComputedStyle(document.documentElement).backgroundColor"
        light = page.evaluate(ground)
        for told in ("light", "dark"):
            page.locator("#theme").click()
            expect(page.locator("#theme")).to_have_accessible_name(f"Colours: {told}")
        dark = page.evaluate(ground)
        page.reload()
        assert page.evaluate(ground) == dark != light


def test_who_wants_no_motion_sees_none(url: str, browser: Browser) -> None:
    with visit(browser, url, reduced_motion="reduce") as (page, _):
        page.goto("/")
        page.get_by_role("link", name="at work").click()
        expect(page.get_by_role("heading", name="at work")).to_be_visible()
        unroll(page)
        moving = """document.getAnimations().filter((one) => one.playState === "running"
            && one.effect.getComputedTiming().duration > 10).length"""
        assert page.evaluate(moving) == 0
