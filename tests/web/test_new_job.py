"""The pages that ask for jobs and list them, in a real browser on a real service without workers."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect

from api.main import create_app
from nas.settings import Settings
from nas.space.operations import DEFAULT_OPERATIONS
from nas.store import datasets
from nas.store.states import JobState
from nas.store.tables import Job
from tests.api.client import ApiClient, calling
from tests.api.served import listening
from tests.support import database, random_images

ASKED: dict[str, Any] = {
    "dataset": "squares",
    "name": "rich <b>&amp;",
    "strategy": "evolution",
    "options": {"population": 12},
    "pruning": {"method": "median"},
    "objectives": [{"metric": "accuracy", "direction": "maximize"}, {"metric": "params", "direction": "minimize"}],
    "space": {"cells": 2, "channels": {"choices": [4, 8]}, "ops": ["skip_connect", "sep_conv_3x3"], "merge": "concat"},
    "recipe": {
        "lr": {"low": 0.001, "high": 0.1, "log": True},
        "optimizer": {"choices": ["sgd", "adam"]},
        "flip": {"choices": [True, False]},
        "clip_norm": None,
        "momentum": 0.0,
        "milestones": [0.25, 0.5],
    },
    "budget": {"trials": 24, "seconds": 3600.0},
    "limits": {"max_params": 200_000},
    "start": ["DARTS_V1"],
    "tensorboard": True,
    "seed": 7,
}
"""Of every kind of field one that is not as it would be anyway."""


@dataclass(frozen=True)
class Site:
    api: ApiClient
    url: str
    page: Page
    context: BrowserContext
    said: list[str] = field(default_factory=list)

    def spec(self) -> Any:
        """What the form would send."""
        text: str = self.page.get_by_label("The job as JSON").input_value()
        return json.loads(text)

    def new(self, query: str = "") -> None:
        self.page.goto(f"{self.url}/new{query}")
        expect(self.page.get_by_role("button", name="Start the search")).to_be_visible()

    def write(self, spec: Any) -> None:
        """Types the spec into the form's JSON."""
        self.page.get_by_label("The job as JSON").evaluate("box => { box.closest('details').open = true; }")
        self.page.get_by_label("The job as JSON").fill(spec if isinstance(spec, str) else json.dumps(spec))

    def start(self) -> str:
        """Starts the search; the new job's id."""
        self.page.get_by_role("button", name="Start the search").click()
        self.page.wait_for_url("**/jobs/*")
        return self.page.url.rpartition("/")[2]

    def stored(self, job: str) -> dict[str, Any]:
        spec: dict[str, Any] = self.api.get(f"/v1/jobs/{job}").json()["spec"]
        return spec


@pytest.fixture(scope="module")
def whole(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("site")
    given = {"NAS_HOME": str(home), "NAS_DATABASE_URL": database("sqlite", home), "NAS_MAX_OPEN_JOBS": "1000"}
    app = create_app(Settings.read(given))
    with calling(app) as api:
        datasets.add(api.store, api.artifacts, "squares", random_images(8))
        with listening(app) as url:
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            context.set_default_timeout(15_000)
            page = context.new_page()
            site = Site(api, url, page, context)
            listen(site)
            yield site
            context.close()


def listen(site: Site) -> None:
    """Notes what a page must not do: raise, ask another host, break the policy."""

    def asks(request: Request) -> None:
        if not request.url.startswith((f"{site.url}/", "data:", "blob:")):
            site.said.append(request.url)

    def says(line: ConsoleMessage) -> None:
        if "Security Policy" in line.text:
            site.said.append(line.text)

    site.page.on("pageerror", lambda error: site.said.append(str(error)))
    site.page.on("request", asks)
    site.page.on("console", says)


@pytest.fixture
def site(whole: Site) -> Iterator[Site]:
    """Whose scripts raise nothing meanwhile, ask no other host, and keep to the policy."""
    yield whole
    assert whole.said == []


def leaves(schema: Any, definitions: Any, prefix: str = "") -> Iterator[str]:
    """The paths of all fields of a schema, of nested objects those in them."""
    for name, given in schema["properties"].items():
        parts = [definitions.get(part.get("$ref", "").rpartition("/")[2], part) for part in given.get("anyOf", [given])]
        inner = [part for part in parts if "properties" in part and part["title"] not in ("OneOf", "Between")]
        if inner:
            yield from leaves(inner[0], definitions, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_the_form_has_every_field_of_the_schema_once(site: Site) -> None:
    schemas = site.api.get("/openapi.json").json()["components"]["schemas"]
    strategies = {each["name"]: each for each in site.api.get("/v1/strategies").json()["items"]}
    site.new()
    shown = site.page.locator("[data-path]").evaluate_all("found => found.map(each => each.dataset.path)")
    options = {f"options.{name}" for name in strategies["auto"]["options"]["properties"]}
    filled_in = {"transfer.candidate", "transfer.weights"}  # by the service, which refuses them from anybody else
    assert sorted(shown) == sorted((set(leaves(schemas["JobSpec"], schemas)) - {"options"} - filled_in) | options)
    site.page.get_by_label("Strategy").select_option("tpe")
    expect(site.page.locator("[data-path='options.startup']")).to_be_visible()
    shown = site.page.locator("[data-path^='options.']").evaluate_all("found => found.map(each => each.dataset.path)")
    assert shown == [f"options.{name}" for name in strategies["tpe"]["options"]["properties"]]


def test_every_control_has_a_name_of_its_own(site: Site) -> None:
    site.new()
    unnamed = """() => [...document.querySelectorAll("main :is(input, select, textarea)")]
      .filter(each => !each.labels?.length && !each.getAttribute("aria-label")).map(each => each.outerHTML)"""
    assert site.page.evaluate(unnamed) == []
    ids = site.page.evaluate("() => [...document.querySelectorAll('[id]')].map(each => each.id)")
    assert len(ids) == len(set(ids))


def test_only_what_was_changed_is_sent(site: Site) -> None:
    site.new("?dataset=squares")
    assert site.spec() == {"dataset": "squares"}
    page = site.page
    page.get_by_label("Trials").fill("3")
    page.get_by_text("Training: the recipe").click()
    page.get_by_label("Learning rate: fixed or searched", exact=True).select_option("range")
    page.get_by_label("Learning rate: from", exact=True).fill("1e-3")
    page.get_by_label("Learning rate: to", exact=True).fill("0.1")
    page.get_by_label("Clip norm: fixed or searched", exact=True).select_option("none")
    page.get_by_text("What may be searched: the space").click()
    page.get_by_role("spinbutton", name="Cells", exact=True).fill("2")
    page.get_by_label("sep_conv_5x5", exact=True).uncheck()
    page.get_by_role("button", name="Add one").click()
    page.locator(".rows-one").nth(1).get_by_label("Metric").select_option("macs")
    wanted = {
        "dataset": "squares",
        "space": {"cells": 2, "ops": [name for name in DEFAULT_OPERATIONS if name != "sep_conv_5x5"]},
        "recipe": {"lr": {"low": 0.001, "high": 0.1}, "clip_norm": None},
        "objectives": [{"metric": "accuracy", "direction": "maximize"}, {"metric": "macs"}],
        "budget": {"trials": 3},
    }
    assert site.spec() == wanted
    expect(page.get_by_text("2 changed")).to_have_count(2)
    asked = site.api.ask(wanted)
    assert asked.status_code == 201, asked.text
    assert site.stored(site.start()) == site.stored(asked.json()["id"])


def test_json_goes_into_the_form_and_comes_out_of_it_again(site: Site) -> None:
    site.new()
    site.write(ASKED)
    assert site.page.locator("input[name=name]").input_value() == ASKED["name"]
    site.page.locator("input[name=name]").fill("another")  # now it is the form that says what is sent
    assert site.spec() == ASKED | {"name": "another"}


def test_a_clone_asks_for_the_same_again(site: Site) -> None:
    first = site.api.ask(ASKED)
    assert first.status_code == 201, first.text
    site.new(f"?clone={first.json()['id']}")
    expect(site.page.get_by_role("heading", name="New job like rich <b>&amp;")).to_be_visible()
    shown = site.spec()
    assert {name: shown[name] for name in ("recipe", "space", "options", "name")} == {
        name: ASKED[name] for name in ("recipe", "space", "options", "name")
    }
    assert site.stored(site.start()) == site.stored(first.json()["id"])


def test_what_the_service_refuses_stands_at_its_field_while_one_types(site: Site) -> None:
    site.new("?dataset=squares")
    cells = site.page.get_by_role("spinbutton", name="Cells", exact=True)
    site.page.get_by_text("What may be searched: the space").click()
    cells.fill("99")
    mend = site.api.ask({"dataset": "squares", "space": {"cells": 99}}).json()["errors"][0]["mend"]
    expect(site.page.locator("[data-path='space.cells'] .fault")).to_have_text(mend)
    expect(cells).to_have_attribute("aria-invalid", "true")
    expect(cells).to_have_accessible_description(re.compile(re.escape(mend)))
    site.page.get_by_text("What may be searched: the space").click()  # closed: the summary opens it
    site.page.get_by_role("link", name="space.cells").click()
    expect(cells).to_be_focused()
    cells.fill("3")
    expect(site.page.locator(".faults")).to_be_empty()
    expect(cells).not_to_have_attribute("aria-invalid", "true")


def test_what_no_field_can_say_is_told_all_the_same(site: Site) -> None:
    site.new()
    site.write({"dataset": "squares", "nope": 1})
    expect(site.page.locator(".faults")).to_contain_text("nope: there is no such field")
    site.write('{"dataset":')
    expect(site.page.get_by_text("This is no JSON object")).to_be_visible()


def test_the_estimate_is_what_the_service_says(site: Site) -> None:
    site.new("?dataset=squares")
    told = site.page.get_by_role("complementary", name="What it would take")
    said = site.api.post("/v1/jobs/estimate", json={"dataset": "squares", "budget": {"trials": 1234}}).json()
    site.page.get_by_label("Trials").fill("1234")
    expect(told).to_contain_text("1,234")
    assert said["basis"][1:] in told.inner_text()
    assert f"{said['epochs']['final']:,} of retraining" in told.inner_text()


def test_pressed_again_after_a_broken_connection_it_is_one_job(site: Site) -> None:
    site.new("?dataset=squares")
    site.page.locator("input[name=name]").fill("only once")
    sent: list[str] = []

    def answer_is_lost(route: Any) -> None:
        sent.append(route.request.headers["idempotency-key"])
        route.fetch()
        route.abort()

    site.page.route("**/v1/jobs", answer_is_lost, times=1)
    site.page.get_by_role("button", name="Start the search").click()
    expect(site.page.locator(".faults")).to_contain_text("does not answer")
    job = site.start()
    found = site.api.get("/v1/jobs?q=only%20once").json()["items"]
    assert [each["id"] for each in found] == [job]
    assert len(sent) == 1


def test_images_can_be_added_from_the_form(site: Site, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "own.npz", images=rng.integers(0, 255, (60, 8, 8), dtype=np.uint8), labels=np.arange(60) % 3)
    site.new()
    site.page.get_by_text("Upload images of your own").click()
    site.page.locator("input[type=file]").set_input_files(tmp_path / "own.npz")
    expect(site.page.get_by_label("Call it")).to_have_value("own")
    site.page.get_by_label("Call it").fill("digits")
    site.page.get_by_role("button", name="Upload", exact=True).click()
    expect(site.page.locator(".upload [role=alert]")).to_contain_text("a built-in data set has that name")
    site.page.get_by_label("Call it").fill("of my own")
    site.page.get_by_role("button", name="Upload", exact=True).click()
    expect(site.page.get_by_label("Data set")).to_have_value("of my own")
    assert site.spec() == {"dataset": "of my own"}
    assert site.api.get("/v1/datasets/of my own").json()["images"] == 60


def test_the_list_is_filtered_and_its_address_says_how(site: Site) -> None:
    jobs = [site.api.add_job(name=name) for name in ("needle one", "needle two", "hay")]
    with site.api.store.write() as session:
        row = session.get_one(Job, jobs[1])
        row.state, row.reason = JobState.FAILED, "<i>the trials</i> failed"
    page = site.page
    page.goto(site.url)
    page.get_by_role("searchbox").fill("needle")
    expect(page.get_by_role("row")).to_have_count(3)  # the head, and two
    page.get_by_role("button", name="failed").click()
    expect(page.get_by_role("row")).to_have_count(2)
    expect(page.get_by_role("row").nth(1)).to_contain_text("<i>the trials</i> failed")
    assert page.url.endswith("/?state=failed&q=needle")
    page.reload()
    expect(page.get_by_role("row")).to_have_count(2)
    expect(page.get_by_role("button", name="failed")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("searchbox").fill("nothing like it")
    expect(page.get_by_role("heading", name="No job is like that")).to_be_visible()


def test_a_new_job_comes_into_the_list_and_the_focus_stays(site: Site) -> None:
    site.api.add_job(name="looked at")
    page = site.page
    page.goto(site.url)
    page.get_by_role("link", name="looked at").focus()
    site.api.add_job(name="has just come")
    expect(page.get_by_role("link", name="has just come")).to_be_visible()
    expect(page.get_by_role("link", name="looked at")).to_be_focused()


def test_the_api_is_documented_without_any_other_host(site: Site) -> None:
    site.page.goto(f"{site.url}/docs")
    expect(site.page.get_by_role("heading", name="NAS service")).to_be_visible()
    expect(site.page.get_by_text("/v1/jobs/{job_id}/dashboard")).to_be_visible()


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ("/datasets?x=1", "/datasets?x=1"),
        ("//evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("/login?next=/login", "/"),
    ],
)
def test_after_the_login_one_is_on_a_page_of_this_site(site: Site, wanted: str, path: str) -> None:
    page = site.page
    page.goto(f"{site.url}/login?next={wanted}")
    expect(page.get_by_label("Key")).to_be_focused()
    page.get_by_label("Key").fill("nas_any")  # the service has no keys, and lets everybody in
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{site.url}{path}")
    kept = page.evaluate("() => JSON.stringify([localStorage, sessionStorage, history.state, document.cookie])")
    assert "nas_any" not in kept + page.url
