"""The form that asks for a job, in a real browser on a real service without workers."""

import re
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import expect

from nas.space.operations import DEFAULT_OPERATIONS
from tests.web.site import Site

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


def test_a_search_that_is_wrong_is_not_asked_for(site: Site) -> None:
    site.new("?dataset=squares")
    site.page.get_by_label("Trials").fill("0")
    site.page.keyboard.press("Enter")  # before the form was checked by itself
    expect(site.page.locator(".faults")).to_be_focused()
    expect(site.page.locator(".faults")).to_contain_text("budget.trials: it has to be 1 or more")
    assert site.page.url.endswith("/new?dataset=squares")


def test_what_was_filled_in_is_there_when_one_comes_back(site: Site) -> None:
    site.new("?dataset=squares")
    page, wanted = site.page, {"dataset": "squares", "space": {"cells": 3}}
    page.get_by_text("What may be searched: the space").click()
    with page.expect_response("**/estimate?*"):
        page.get_by_role("spinbutton", name="Cells", exact=True).fill("3")
    page.get_by_role("link", name="Data sets").click()
    expect(page.get_by_role("heading", name="Data sets")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("button", name="Start the search")).to_be_visible()
    assert site.spec() == wanted
    page.reload()
    expect(page.get_by_role("button", name="Start the search")).to_be_visible()
    assert site.spec() == wanted
    page.get_by_role("link", name="New job", exact=True).click()  # another one begins with nothing
    expect(page.get_by_label("Data set")).to_have_value("")


def test_on_a_phone_the_estimate_is_a_line_away_and_nothing_is_cut(site: Site) -> None:
    site.page.set_viewport_size({"width": 360, "height": 740})
    site.new("?dataset=squares")
    button = site.page.get_by_role("button", name="Start the search")
    line = site.page.get_by_role("link", name="about ")
    expect(line).to_contain_text("for 24 trials")
    expect(line).to_be_in_viewport()
    line.press("Enter")
    told = site.page.get_by_role("complementary", name="What it would take")
    expect(told).to_be_focused()
    expect(told).to_be_in_viewport()
    expect(button).to_be_in_viewport()
    boxes = told.bounding_box(), button.bounding_box()
    assert boxes[0]
    assert boxes[1]
    assert boxes[0]["y"] + boxes[0]["height"] <= boxes[1]["y"], "the button stays below while the estimate is read"
    site.page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    cut = """() => [...document.querySelectorAll("main input[placeholder]")].filter((box) => {
      const style = getComputedStyle(box), pen = document.createElement("canvas").getContext("2d");
      pen.font = style.font;
      const room = box.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
      return box.type !== "checkbox" && pen.measureText(box.placeholder).width > room;
    }).map((box) => box.placeholder)"""
    assert site.page.evaluate(cut) == []


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
    site.watch.expect("ERR_FAILED")  # the broken connection
    site.page.get_by_role("button", name="Start the search").click()
    expect(site.page.locator(".faults")).to_contain_text("does not answer")
    job = site.start()
    found = site.api.get("/v1/jobs?q=only%20once").json()["items"]
    assert [each["id"] for each in found] == [job]
    assert len(sent) == 1
