"""A person's way through the pages, with a real service and a worker: from the empty list to the model."""

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from sklearn.datasets import load_digits

from api.main import create_app
from tests.api.served import listening
from tests.processes import TINY, open_store, settings_in, worker
from tests.web.browser import Watch, accessible, fits, keep, unroll, visit

LONG_MS = 120_000
ENDLESS: dict[str, Any] = TINY | {"budget": {"trials": 500, "epochs": 200}}
MARKED = "() => { window.marker = 'not loaded again'; window.first = document.querySelector('.job'); }"
SAME = "() => window.marker === 'not loaded again' && window.first?.isConnected"
READ = {("phone", "dark"), ("laptop", "light"), ("large", "dark")}  # every size and both colours; all pairs cost much
SIZES = {"phone": (360, 740), "laptop": (1280, 800), "large": (2560, 1440)}


@dataclass(frozen=True)
class Service:
    url: str

    def job(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.url}/v1/jobs/{job_id}").json()
        return found

    def ask(self, spec: dict[str, Any]) -> str:
        return str(httpx.post(f"{self.url}/v1/jobs", json=spec).raise_for_status().json()["id"])

    def cancel(self, job_id: str) -> None:
        httpx.post(f"{self.url}/v1/jobs/{job_id}/cancel").raise_for_status()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("journey")
    settings = settings_in(home)
    open_store(settings).close()
    with listening(create_app(settings)) as url, worker(settings, home / "log"):
        yield Service(url)


@pytest.fixture
def seen(service: Service, browser: Browser) -> Iterator[tuple[Page, Watch]]:
    with visit(browser, service.url) as opened:
        yield opened


@pytest.fixture(scope="module")
def finished(service: Service, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The job that the journey makes; made by it, so that no test depends on another one."""
    with visit(browser, service.url) as (page, _):
        return _asks_for_a_job(page)


def _asks_for_a_job(page: Page) -> str:
    page.goto("/")
    expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
    keep(page, "jobs-empty")
    page.get_by_role("link", name="New job").first.click()
    expect(page.get_by_role("heading", name="New job")).to_be_visible()
    page.get_by_label("The job as JSON").evaluate("box => { box.closest('details').open = true; }")
    page.get_by_label("The job as JSON").fill(json.dumps(TINY))
    page.locator("input[name=name]").fill("my first")
    page.get_by_label("Trials").fill("-3")
    page.get_by_role("button", name="Start the search").click()
    told = page.locator(".faults")
    expect(told).to_contain_text("budget.trials")
    expect(told).to_be_focused()
    expect(told).to_have_attribute("role", "status")
    expect(page.get_by_label("Trials")).to_have_attribute("aria-invalid", "true")
    keep(page, "new-job-mistake")
    page.get_by_label("Trials").fill("3")
    expect(told).to_be_empty()
    expect(page.get_by_role("complementary", name="What it would take")).to_contain_text("retraining")
    keep(page, "new-job")
    page.get_by_role("button", name="Start the search").click()
    page.wait_for_url("**/jobs/*")
    expect(page.get_by_role("heading", name="my first")).to_be_visible()
    page.evaluate(MARKED)
    state = page.locator(".job-head .state")
    expect(state).to_have_text("running", timeout=LONG_MS)
    trials = page.locator("table.trials tbody tr")
    page.locator("table.trials").scroll_into_view_if_needed()  # before that nothing is asked for
    expect(trials.filter(has_text=re.compile(r"[12]/2")).first).to_be_visible(timeout=LONG_MS)
    keep(page, "running")
    expect(page.locator(".verdict-lead")).to_be_visible(timeout=LONG_MS)
    expect(state).to_have_text("succeeded", timeout=LONG_MS)
    expect(page).to_have_title(re.compile("^succeeded"))
    assert page.evaluate(SAME), "the page was loaded again"
    return page.url.rpartition("/")[2]


def digit(folder: Path) -> Path:
    """A picture of a nought."""
    pixels = (255 * load_digits().images[0] / 16).astype("uint8")
    Image.fromarray(pixels).resize((64, 64)).save(folder / "nought.png")
    return folder / "nought.png"


def test_a_job_is_asked_for_and_watched_to_its_end_without_a_reload(service: Service, finished: str) -> None:
    stored = service.job(finished)
    assert (stored["name"], stored["state"]) == ("my first", "succeeded")
    assert stored["spec"]["budget"]["trials"] == 3


def test_the_model_is_downloaded_and_tried(finished: str, seen: tuple[Page, Watch], tmp_path: Path) -> None:
    page, _ = seen
    page.goto(f"/jobs/{finished}")
    with page.expect_download() as started:
        page.get_by_role("link", name="Download the model").click()
    started.value.save_as(tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "model.zip") as package:
        assert package.testzip() is None
        assert any(name.endswith("model.onnx") for name in package.namelist())
    page.get_by_label("Choose an image").set_input_files(digit(tmp_path))
    answer = page.locator(".tryit [role=status]")
    expect(answer).to_contain_text("with a probability of")
    expect(answer.get_by_role("listitem")).to_have_count(10)


def test_a_trial_tells_its_story_and_its_log(finished: str, seen: tuple[Page, Watch]) -> None:
    page, _ = seen
    page.goto(f"/jobs/{finished}")
    page.get_by_role("link", name="Trial 0", exact=True).last.click()
    page.wait_for_url(f"**/jobs/{finished}/trials/0")
    expect(page.get_by_role("heading", name="Trial 0")).to_be_visible()
    for part in ("Learning curves", "Cost and result", "Where its time went", "Architecture", "Recipe", "Log"):
        expect(page.get_by_role("heading", name=part, exact=True)).to_be_visible()
    expect(page.locator("main")).to_contain_text("epoch 2")
    page.go_back()
    expect(page.get_by_role("heading", name="my first")).to_be_visible()


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_a_finished_job_and_its_trial_are_accessible_and_fit(
    service: Service, finished: str, browser: Browser, size: str, colours: Any
) -> None:
    width, height = SIZES[size]
    view = {"width": width, "height": height}
    with visit(browser, service.url, viewport=view, color_scheme=colours) as (page, _):
        for name, path in (("finished", f"/jobs/{finished}"), ("trial", f"/jobs/{finished}/trials/0")):
            page.goto(path)
            expect(page.locator("h1")).to_be_visible()
            unroll(page)
            assert fits(page), f"{path} is wider than {width} px"
            keep(page, f"{name}-{size}-{colours}")
            if (size, colours) in READ:
                assert accessible(page) == []


def test_a_running_job_obeys_its_buttons_in_both_tabs(service: Service, seen: tuple[Page, Watch]) -> None:
    job = service.ask(ENDLESS | {"name": "endless"})
    page, _ = seen
    page.goto(f"/jobs/{job}")
    other = page.context.new_page()
    other.goto(f"/jobs/{job}")
    state, told = page.locator(".job-head .state"), other.locator(".job-head .state")
    expect(state).to_have_text("running", timeout=LONG_MS)
    expect(told).to_have_text("running")
    for button, after in (("Pause", "paused"), ("Resume", re.compile("queued|running"))):
        page.bring_to_front()
        page.get_by_role("button", name=button).click()
        expect(state).to_have_text(after)
        other.bring_to_front()
        expect(told).to_have_text(after)
    other.get_by_role("button", name="Extend").click()
    dialog = other.get_by_role("dialog")
    expect(dialog.get_by_label("Trials")).to_be_focused()
    dialog.get_by_label("Trials").fill("501")
    dialog.get_by_role("button", name="Extend").click()
    expect(dialog).to_have_count(0)
    assert service.job(job)["spec"]["budget"]["trials"] == 501
    other.get_by_role("button", name="Cancel").click()
    other.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert service.job(job)["state"] != "cancelled"
    other.get_by_role("button", name="Cancel").click()
    dialog.get_by_role("button", name="Cancel the job").click()
    expect(told).to_have_text("cancelled")
    page.bring_to_front()
    expect(state).to_have_text("cancelled")
    page.get_by_role("button", name="Clone").click()
    expect(page.get_by_role("heading", name="New job like endless")).to_be_visible()
    assert json.loads(page.get_by_label("The job as JSON").input_value())["budget"]["trials"] == 501


def test_keys_alone_ask_for_a_job_and_end_it(service: Service, seen: tuple[Page, Watch]) -> None:
    page, _ = seen

    def tab_to(name: str) -> None:
        """Goes on with the Tab key until something of that name has the focus, which can be seen."""
        for _ in range(150):
            page.keyboard.press("Tab")
            here = page.evaluate("""() => { const one = document.activeElement, style = getComputedStyle(one);
                const name = one.getAttribute("aria-label") ?? one.labels?.[0]?.textContent ?? one.textContent;
                return [name.trim(), style.outlineStyle !== "none" || style.boxShadow !== "none"]; }""")
            if here[0].startswith(name):
                assert here[1], f"the focus cannot be seen on {name}"
                return
        raise AssertionError(f"{name} is not reached by Tab")

    page.goto("/new")
    expect(page.get_by_role("button", name="Start the search")).to_be_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    tab_to("Data set")
    page.keyboard.type("digits")
    tab_to("Name")
    page.keyboard.type("by keys")
    tab_to("As JSON")
    page.keyboard.press("Enter")
    tab_to("The job as JSON")
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(json.dumps(ENDLESS | {"name": "by keys"}))
    tab_to("Start the search")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/*")
    expect(page.get_by_role("heading", name="by keys")).to_be_visible()
    tab_to("Cancel…")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Back")).to_be_focused()
    tab_to("Cancel the job")
    page.keyboard.press("Enter")
    expect(page.locator(".job-head .state")).to_have_text("cancelled")
