"""The parts of a job's page in a real browser; answers are as the API gives them."""

import json
import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

FRAME = "export const go = (path) => { window.gone = path; }; export const connection = () => {};"
STATES = ("queued", "running", "paused", "complete", "pruned", "infeasible", "failed", "cancelled")


class Service:
    """Answers by path, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, str, Any]] = []

    def __call__(self, route: Route) -> None:
        request = route.request
        parts = urlsplit(request.url)
        sent = request.post_data_json if request.post_data else parse_qs(parts.query)
        self.asked.append((request.method, parts.path, sent))
        found = self.answers.get(f"{request.method} {parts.path}", self.answers.get(parts.path))
        status, body = (
            found(sent) if callable(found) else (200, found) if found is not None else (404, {"detail": "no"})
        )
        kind = "application/json" if status < 400 else "application/problem+json"
        route.fulfill(status=status, content_type=kind, body=json.dumps(body))


@pytest.fixture(scope="module")
def tab(page: Page) -> Page:
    """The page, with a frame that remembers where it was sent."""
    page.route("**/app.js", lambda route: route.fulfill(content_type="text/javascript", body=FRAME))
    return page


@pytest.fixture
def service(tab: Page) -> Iterator[Service]:
    """In place of the API; the page is empty again afterwards."""
    made = Service()
    tab.route("**/v1/**", made)
    yield made
    tab.unroute("**/v1/**")
    tab.evaluate(
        "window.over?.abort(); document.querySelector('main').replaceChildren(); history.replaceState({}, '', '/blank')"
    )


def dashboard(**more: Any) -> dict[str, Any]:
    """Of a job with as many trials in each state as is said, at the least."""
    counts = dict.fromkeys(STATES, 0) | more.pop("counts", {})
    job: dict[str, Any] = {
        "id": "j1",
        "name": "mine",
        "state": "running",
        "phase": "search",
        "dataset": "digits",
        "strategy": "tpe",
    }
    job |= {"engine": "optuna", "owner": "me", "priority": 0, "reason": None, "note": None}
    job |= {"created_at": "2026-01-01T10:00:00Z", "started_at": "2026-01-01T10:00:00Z", "finished_at": None}
    base: dict[str, Any] = {
        "job": job | more.pop("job", {}),
        "counts": counts,
        "metric": "accuracy",
        "objectives": [{"metric": "accuracy", "direction": "maximize"}],
        "phases": {"search": {"finished": counts["complete"], "planned": 20}},
        "progress": {"fraction": 0.25, "trials_finished": 5, "trials_planned": 20, "elapsed_s": 100.0, "eta_s": 300.0},
        "reasons": {},
        "cached": 0,
        "running": [],
        "incumbents": [],
        **dict.fromkeys(("best", "waiting", "verdict", "supernet", "pareto")),
    }
    return base | more


def show(tab: Page, name: str, shown: dict[str, Any]) -> None:
    """Puts a section into the page, after `shown`."""
    tab.evaluate(
        """async ([name, shown]) => {
          const { make } = await import(`/js/sections/${name}.js`);
          window.over = new AbortController();
          window.part = make("j1", { signal: window.over.signal });
          document.querySelector("main").replaceChildren(window.part.element);
          window.part.update(shown);
        }""",
        [name, shown],
    )


def update(tab: Page, shown: dict[str, Any]) -> None:
    tab.evaluate("(shown) => window.part.update(shown)", shown)


def trial(number: int, **more: Any) -> dict[str, Any]:
    base = {"number": number, "phase": "search", "state": "complete", "reason": None, "accuracy": 0.5, "epoch": 4}
    base |= {"epochs": 4, "params": 1000, "macs": 9000, "front": False, "cached": False, "worker": "w", "attempt": 1}
    return base | {"started_at": "2026-01-01T10:00:00Z", "finished_at": "2026-01-01T10:00:09Z"} | more


def test_the_closest_line_is_found_wherever_its_points_are(tab: Page) -> None:
    chance = random.Random(0)
    lines = [sorted([chance.uniform(0, 400), chance.uniform(0, 300)] for _ in range(4)) for _ in range(6)]
    places = [(chance.uniform(0, 400), chance.uniform(0, 300)) for _ in range(200)]
    found = tab.evaluate(
        """async ([lines, places]) => {
          const { closest } = await import("/js/charts/near.js");
          return places.map(([x, y]) => closest(lines, x, y, 25));
        }""",
        [lines, places],
    )

    def passes(line: list[list[float]], x: float, y: float) -> float:
        """How far the line is from the place, where the line runs above or below it; else infinitely."""
        for (x1, y1), (x2, y2) in pairwise(line):
            if x1 < x <= x2:
                area = abs((x2 - x1) * (y1 - y) - (x1 - x) * (y2 - y1))
                return float(area / ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5)
        return float("inf")

    inner = [place for place in range(200) if all(line[0][0] < places[place][0] <= line[-1][0] for line in lines)]
    assert len(inner) > 20
    for place in inner:
        away = [passes(line, *places[place]) for line in lines]
        assert found[place] == (away.index(min(away)) if min(away) <= 25 else -1)


def test_points_are_walked_by_keys_opened_by_enter_and_told_in_a_table(tab: Page, service: Service) -> None:
    rows = [[3, 400, 0.9, "complete", True], [1, 100, 0.7, "complete", True], [2, 300, 0.6, "pruned", False]]
    service.answers["/v1/jobs/j1/points"] = {"x": "params", "y": "accuracy", "total": 3, "shown": 3, "items": rows}
    show(tab, "pareto", dashboard(counts={"complete": 2, "pruned": 1}))
    plot = tab.get_by_role("application")
    expect(plot).to_have_attribute(
        "aria-label",
        "3 trials by Parameters and Validation accuracy, 2 of them on the front. "
        "Arrow keys go from mark to mark, Enter opens one.",
    )
    told = []
    plot.focus()
    for key in ("Home", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowDown"):
        tab.keyboard.press(key)
        told.append(tab.locator(".chart [role=status]").inner_text().split(",")[0])
    assert told == ["Trial 1", "Trial 2", "Trial 3", "Trial 3", "Trial 1"]
    tab.keyboard.press("Enter")
    assert tab.evaluate("window.gone") == "/jobs/j1/trials/1"
    tab.get_by_text("Show as a table").click()
    expect(tab.locator(".as-table tbody tr")).to_have_count(3)
    assert tab.locator(".as-table tbody tr").first.inner_text().split("\t") == [
        "Trial 3",
        "400",
        "90.0 %",
        "complete",
        "yes",
    ]


def test_an_axis_that_is_taken_changes_places_with_the_other(tab: Page, service: Service) -> None:
    service.answers["/v1/jobs/j1/points"] = {"x": "", "y": "", "total": 0, "shown": 0, "items": []}
    show(tab, "pareto", dashboard())
    with tab.expect_request(lambda request: "x=accuracy&y=params" in request.url):
        tab.get_by_label("Up").select_option("params")
    expect(tab.get_by_label("Across")).to_have_value("accuracy")
    expect(tab.get_by_text("No trial has both measures yet.")).to_be_visible()


def test_a_section_asks_when_it_is_seen_and_again_only_when_something_has_changed(tab: Page) -> None:
    tab.evaluate(
        """async () => {
          const { lazily } = await import("/js/sections/panel.js");
          const [high, part] = ["div", "p"].map((tag) => document.createElement(tag));
          high.style.height = "5000px";
          part.textContent = "the part";
          document.querySelector("main").replaceChildren(high, part);
          window.over = new AbortController();
          window.loads = [];
          const load = async (shown) => {
            window.loads.push(shown);
            if (shown === "bad") throw new Error("refused");
            if (shown === "slow") await new Promise((done) => { window.answer = done; });
          };
          const say = (text) => { window.said = text; };
          const options = { signal: window.over.signal, key: (shown) => shown, load, say, everyMs: 20 };
          window.update = lazily(part, options);
          window.update("one");
        }"""
    )
    tab.wait_for_timeout(150)
    assert tab.evaluate("window.loads") == []
    tab.get_by_text("the part").scroll_into_view_if_needed()
    tab.wait_for_function("window.loads.length === 1")
    for shown in ("one", "one", "bad"):
        tab.evaluate("(shown) => window.update(shown)", shown)
    tab.wait_for_function("window.said === 'refused'")
    tab.evaluate("window.update('two'); window.update('three')")  # in the same moment
    tab.wait_for_timeout(150)
    tab.evaluate("window.update('slow')")
    tab.wait_for_function("Boolean(window.answer)")
    tab.evaluate("window.update('slow', true)")  # chosen while an answer is awaited: that one is not enough
    tab.evaluate("window.answer()")
    tab.wait_for_function("window.loads.filter((shown) => shown === 'slow').length === 2")
    tab.evaluate("window.over.abort()")
    assert [shown for shown in tab.evaluate("window.loads") if shown not in ("bad", "slow")] == ["one", "three"]
    assert tab.evaluate("window.said") is None


def test_the_best_curve_stands_out_and_pruned_ones_are_dimmed(tab: Page, service: Service) -> None:
    items = [
        {"trial": n, "phase": "search", "state": state, "points": [[1, score], [2, score]]}
        for n, state, score in ((1, "complete", 0.9), (2, "pruned", 0.5), (3, "complete", 0.1))
    ]
    service.answers["/v1/jobs/j1/curves"] = {"metric": "accuracy", "total": 9, "shown": 3, "items": items}
    best = {"trial": 1, "accuracy": 0.9, "params": 1, "macs": 1, "genotype": None, "candidate": None}
    show(tab, "curves", dashboard(best=best, counts={"complete": 2, "pruned": 1}))
    expect(tab.get_by_text("3 of 9 trials")).to_be_visible()
    tab.wait_for_timeout(100)
    heavy = tab.evaluate(
        """() => { // how much colour each third of the canvas has: the lines lie one below the other
          const canvas = document.querySelector("canvas"), { width, height } = canvas;
          const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
          const thirds = [0, 0, 0];
          for (let at = 3; at < data.length; at += 4) thirds[Math.floor((3 * (at >> 2)) / width / height)] += data[at];
          return thirds;
        }"""
    )
    assert heavy[0] > 2 * heavy[2] > 2 * 2 * heavy[1] > 0


def test_limits_let_through_what_is_within_them(tab: Page, service: Service) -> None:
    dimensions = [
        {"name": "lr", "kind": "number", "choices": None, "log": True},
        {"name": "op", "kind": "category", "choices": ["conv", "pool", "skip"], "log": False},
    ]
    chance = random.Random(1)
    rates = [10 ** chance.uniform(-4, 0) for _ in range(60)]
    ops = [chance.choice(["conv", "pool", "skip"]) for _ in range(60)]
    scores = [chance.random() for _ in range(60)]
    items = [{"trial": n, "score": scores[n], "values": [rates[n], ops[n]]} for n in range(60)]
    service.answers["/v1/jobs/j1/parallel"] = {
        "metric": "accuracy",
        "total": 60,
        "dimensions": dimensions,
        "items": items,
    }
    show(tab, "parallel", dashboard(counts={"complete": 60}))
    count = tab.locator(".panel-body > [role=status]")
    expect(count).to_contain_text("60 trials.")
    tab.get_by_text("Limits by numbers").click()
    tab.get_by_label("lr, at most").fill("0.01")
    tab.get_by_label("op", exact=True).select_option("pool")
    few = [n for n in range(60) if rates[n] <= 0.01 and ops[n] == "pool"]
    expect(count).to_have_text(f"{len(few)} of 60 trials are let through by 2 limits.")
    tab.get_by_label("Score, at least").fill("0.5")
    expect(count).to_contain_text(f"{sum(scores[n] >= 0.5 for n in few)} of 60")
    tab.get_by_role("button", name="Let all through").click()
    expect(count).to_contain_text("60 trials.")
    handle = tab.locator(".handle").last.bounding_box()  # of the score: its upper half
    assert handle
    tab.mouse.move(handle["x"] + 16, handle["y"])
    tab.mouse.down()
    tab.mouse.move(handle["x"] + 16, handle["y"] + handle["height"] / 2, steps=4)
    tab.mouse.up()
    middle = (min(scores) + max(scores)) / 2
    expect(count).to_have_text(f"{sum(score >= middle for score in scores)} of 60 trials are let through by one limit.")


def test_the_table_is_sorted_filtered_and_paged_by_the_service(tab: Page, service: Service) -> None:
    def page_of(query: dict[str, list[str]]) -> tuple[int, Any]:
        second = query.get("cursor") == ["next"]
        rows = [trial(number, state=query.get("state", ["complete"])[0]) for number in ((3, 4) if second else (1, 2))]
        return 200, {"items": rows, "next_cursor": None if second else "next"}

    service.answers["/v1/jobs/j1/trials"] = page_of
    show(tab, "trials", dashboard(counts={"complete": 4, "failed": 4}))
    first = tab.locator("tbody tr").first
    expect(first).to_contain_text("Trial 1")
    expect(tab.locator("th[aria-sort=descending]")).to_contain_text("Score")
    tab.get_by_role("button", name="Parameters").click()
    tab.get_by_label("State").select_option("failed")
    expect(first).to_contain_text("failed")
    assert service.asked[-1][2] == {"limit": ["25"], "sort": ["-params"], "state": ["failed"]}
    assert tab.evaluate("location.search") == "?sort=-params&state=failed"
    tab.get_by_role("button", name="Next").click()
    expect(first).to_contain_text("Trial 3")
    expect(tab.get_by_role("button", name="Next")).to_be_disabled()
    tab.get_by_role("button", name="Epochs").click()
    expect(tab.get_by_role("button", name="Before")).to_be_disabled()  # another order begins anew
    expect(first).to_contain_text("Trial 1")
    assert "cursor" not in service.asked[-1][2]
    tab.get_by_role("button", name="Next").click()
    tab.get_by_role("button", name="Before").click()
    expect(first).to_contain_text("Trial 1")
    expect(tab.get_by_role("button", name="Before")).to_be_disabled()


@pytest.mark.parametrize(
    ("metric", "label", "least", "shown"),
    [
        ("accuracy", "Validation accuracy", 0.2, ["50.00 %", "20.00 %"]),
        ("map", "Validation mAP", 0.2, ["50.00 %", "20.00 %"]),
        ("r2", "Validation R²", -0.02, ["0.500", "−0.020"]),
    ],
)
def test_a_score_is_written_and_named_as_its_task_has_it(
    tab: Page, service: Service, metric: str, label: str, least: float, shown: list[str]
) -> None:
    rows = [trial(1, accuracy=0.5), trial(2, accuracy=least)]
    service.answers["/v1/jobs/j1/trials"] = {"items": rows, "next_cursor": None}
    service.answers["/v1/jobs/j1/points"] = {"x": "params", "y": "accuracy", "total": 0, "shown": 0, "items": []}
    seen = dashboard(metric=metric, counts={"complete": 2}, best={"trial": 1, "accuracy": 0.5, "params": 9, "macs": 9})
    seen["incumbents"] = [{"trial": 1, "at_s": 4.0, "accuracy": 0.5}]
    show(tab, "trials", seen)
    expect(tab.locator("tbody td:nth-child(2)")).to_have_text(shown)
    show(tab, "incumbents", seen)
    assert tab.locator(".figures div").first.inner_text().split("\n") == [label, shown[0]]
    show(tab, "pareto", seen)
    assert tab.get_by_label("Up").locator("option:checked").inner_text() == label


def test_a_row_keeps_the_focus_when_its_trial_goes_on(tab: Page, service: Service) -> None:
    rows = [trial(1), trial(2, state="running", epoch=1)]
    service.answers["/v1/jobs/j1/trials"] = lambda _: (200, {"items": rows, "next_cursor": None})
    show(tab, "trials", dashboard(counts={"complete": 1, "running": 1}))
    tab.get_by_role("link", name="Trial 2").focus()
    rows[1] = trial(2, state="running", epoch=2)
    update(tab, dashboard(counts={"complete": 2}))
    expect(tab.locator("tbody tr").last).to_contain_text("2/4")
    expect(tab.get_by_role("link", name="Trial 2")).to_be_focused()


@pytest.mark.parametrize(
    ("state", "offered"),
    [
        ("running", ["Pause", "Extend…", "Clone…", "Cancel…"]),
        ("paused", ["Resume", "Extend…", "Clone…", "Cancel…"]),
        ("failed", ["Extend…", "Clone…", "Delete…"]),
    ],
)
def test_only_what_makes_sense_is_offered(tab: Page, service: Service, state: str, offered: list[str]) -> None:
    show(tab, "actions", dashboard(job={"state": state}))
    group = tab.get_by_role("group")
    assert group.get_by_role("button").all_inner_texts() == offered
    expect(tab.get_by_role("link", name="Download the model")).to_have_count(0)


def test_cancelling_asks_first_and_a_refusal_is_told_in_the_services_words(tab: Page, service: Service) -> None:
    tab.evaluate("document.body.append(Object.assign(document.createElement('div'), {id: 'notices'}))")
    service.answers["POST /v1/jobs/j1/cancel"] = lambda _: (403, {"detail": "this key may only read"})
    show(tab, "actions", dashboard())
    tab.get_by_role("button", name="Cancel…").click()
    tab.get_by_role("button", name="Back").click()
    assert [asked for asked in service.asked if asked[0] == "POST"] == []
    tab.get_by_role("button", name="Cancel…").click()
    tab.get_by_role("button", name="Cancel the job").click()
    expect(tab.locator(".notice")).to_contain_text("this key may only read")
    tab.evaluate("document.getElementById('notices').remove()")


def test_extending_sends_what_was_changed_and_shows_faults_at_their_fields(tab: Page, service: Service) -> None:
    fault = {"field": "trials", "value": 3, "mend": "at least 16"}
    budget = {"trials": 16, "total_epochs": None, "seconds": None, "target": None}
    service.answers["/v1/jobs/j1"] = {"spec": {"budget": budget}}
    service.answers["POST /v1/jobs/j1/extend"] = lambda sent: (
        (422, {"detail": "trials: 3 is not possible", "errors": [fault]}) if sent["trials"] < 16 else (200, {})
    )
    show(tab, "actions", dashboard(job={"state": "succeeded"}))
    tab.get_by_role("button", name="Extend…").click()
    field = tab.get_by_role("spinbutton", name="Trials")
    field.fill("3")
    tab.get_by_role("button", name="Extend", exact=True).click()
    expect(field).to_be_focused()
    expect(tab.locator(".field", has=field)).to_contain_text("at least 16")
    field.fill("24")
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("dialog")).to_have_count(0)
    assert service.asked[-1] == ("POST", "/v1/jobs/j1/extend", {"trials": 24})


def test_what_went_wrong_is_told_with_tracebacks(tab: Page, service: Service) -> None:
    broken = trial(7, state="failed", reason="error")
    service.answers["/v1/jobs/j1/trials"] = {"items": [broken], "next_cursor": None}
    service.answers["/v1/jobs/j1/trials/7"] = broken | {"error": "Traceback: <b>no</b>", "setbacks": []}
    show(tab, "failures", dashboard())
    expect(tab.locator("section.panel")).to_be_hidden()
    reasons = {"error": {"trials": 1, "again": 2}, "cancelled": {"trials": 9, "again": 0}}
    update(tab, dashboard(counts={"failed": 1, "cancelled": 9}, reasons=reasons))
    assert tab.locator("tbody tr").all_inner_texts() == ["error\t1\t2\tCode raised an error; the traceback is below."]
    tab.get_by_text("Trial 7: error").click()
    expect(tab.locator("pre")).to_have_text("Traceback: <b>no</b>")


def test_why_it_waits_and_how_it_ended_stand_out(tab: Page) -> None:
    waiting = {"reason": "no_worker", "text": "no worker is alive; start `nas worker`", "position": 2, "eta_s": None}
    show(tab, "progress", dashboard(waiting=waiting))
    expect(tab.locator(".banner code")).to_have_text("nas worker")
    expect(tab.locator(".banner")).not_to_contain_text("`")
    expect(tab.locator(".banner")).to_have_text(
        "It waits: no worker is alive; start nas worker. It is number 2 in the queue."
    )
    update(tab, dashboard(job={"state": "failed", "phase": "done", "reason": "three errors in a row"}))
    expect(tab.locator(".banner")).to_have_text("failed: three errors in a row")
    expect(tab.locator(".progress-words")).to_contain_text("took 1 min 40 s")


def test_of_very_many_workers_those_that_began_last_are_shown(tab: Page, service: Service) -> None:
    workers = [f"worker-{n}" for n in range(90)]
    items = [
        {
            "worker": worker,
            "trial": n,
            "phase": "search",
            "state": "complete",
            "start": f"2026-01-01T10:{n % 60:02}:{n // 60:02}Z",
            "end": "2026-01-01T11:00:00Z",
        }
        for n, worker in enumerate(workers)
    ]
    service.answers["/v1/jobs/j1/timeline"] = {"total": 90, "shown": 90, "workers": workers, "items": items}
    show(tab, "timeline", dashboard(counts={"complete": 90}))
    expect(tab.locator(".lane")).to_have_count(60)
    last = sorted(items, key=lambda item: str(item["start"]))[-60:]
    assert set(tab.locator(".lanes svg > text > title").all_text_contents()) == {item["worker"] for item in last}


def test_the_page_says_that_its_job_was_deleted_elsewhere(tab: Page, service: Service) -> None:
    answers = [(200, dashboard()), (404, {"detail": "there is no job j1"})]
    service.answers["/v1/jobs/j1/dashboard"] = lambda _: answers[0] if len(answers) > 1 else answers[-1]
    tab.evaluate(
        """async () => {
          const { show } = await import("/js/pages/job.js");
          window.over = new AbortController();
          const of = { params: { job: "j1" }, query: new URLSearchParams(), signal: window.over.signal };
          document.title = await show(document.querySelector("main"), of);
        }"""
    )
    expect(tab).to_have_title("25 % · mine – NAS")
    expect(tab.get_by_role("navigation", name="On this page").get_by_role("link", name="Trials")).to_be_visible()
    answers.pop(0)
    expect(tab.get_by_role("alert")).to_contain_text("This job was deleted.", timeout=10_000)
