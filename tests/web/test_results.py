"""Verdicts, heat maps and the try-it box in a real browser; answers are as the API gives them."""

import json
from typing import Any

import pytest
from playwright.sync_api import Page

from api.web.pages import STATIC


@pytest.mark.parametrize(
    ("low", "high", "crosses"), [(-0.031, 0.044, True), (0.004, 0.02, False), (-0.03, -0.001, False)]
)
def test_the_interval_lies_where_its_numbers_are(page: Page, low: float, high: float, crosses: bool) -> None:
    row = {"group": "controls", "name": "on random networks", "mean": (low + high) / 2, "low": low, "high": high}
    page.evaluate(
        """async (row) => {
          const { intervals } = await import("/js/spread.js");
          const { signal } = new AbortController();
          document.querySelector("main").replaceChildren(intervals([row], { metric: "accuracy", signal }));
          await new Promise((done) => setTimeout(done, 120));
        }""",
        row,
    )
    band = page.locator(".band").bounding_box()
    zero = page.locator(".zero").bounding_box()
    mean = page.locator(".mean").bounding_box()
    assert band
    assert zero
    assert mean
    at = zero["x"] + zero["width"] / 2
    assert (band["x"] < at < band["x"] + band["width"]) == crosses
    middle = mean["x"] + mean["width"] / 2
    assert abs(middle - (band["x"] + band["width"] / 2)) < 1.5
    assert (at < middle) == (low + high > 0)


def test_a_heat_map_shows_the_shares_of_the_epoch_that_is_chosen(page: Page) -> None:
    def shares(first: float) -> dict[str, Any]:
        alpha = {"normal": [[first, 1 - first], [0.5, 0.5]], "reduce": [[0.9, 0.1], [1 - first, first]]}
        return {"alpha": alpha, "alpha_edges": ["2←0", "2←1"], "alpha_ops": ["skip_connect", "own_op"]}

    epochs = [{"epoch": epoch, "metrics": shares(0.2 * epoch)} for epoch in (1, 2, 3)]
    page.evaluate(
        """async (text) => {
          const { heatMaps } = await import("/js/heat.js");
          const heat = heatMaps();
          heat.update(JSON.parse(text));
          document.querySelector("main").replaceChildren(heat.element);
        }""",
        json.dumps(epochs),
    )
    cells = page.locator(".heat td")
    assert cells.all_inner_texts() == ["0.60", "0.40", "0.50", "0.50", "0.90", "0.10", "0.40", "0.60"]
    assert page.locator(".heat td.most").all_inner_texts() == ["0.60", "0.50", "0.50", "0.90", "0.60"]
    slider = page.get_by_role("slider")
    slider.focus()
    page.keyboard.press("Home")
    assert cells.all_inner_texts()[:2] == ["0.20", "0.80"]
    assert slider.get_attribute("aria-valuetext") == "epoch 1"


def interval(mean: float, low: float, high: float, **more: Any) -> dict[str, Any]:
    return {"mean": mean, "low": low, "high": high} | more


@pytest.mark.parametrize(
    ("difference", "badge"),
    [
        ((0.02, 0.01, 0.03), "Better than random"),
        ((-0.005, -0.02, 0.01), "No clear difference"),
        ((-0.02, -0.03, -0.01), "Worse"),
    ],
)
def test_a_verdict_says_what_its_interval_says(page: Page, difference: tuple[float, float, float], badge: str) -> None:
    network = {"n": 2, "trial": 3, "params": 1000, "accuracies": [0.9, 0.92]}
    verdict = {
        "winner": interval(0.91, 0.9, 0.92, **network),
        "controls": interval(0.9, 0.88, 0.92, n=4, networks=[network, network]),
        "reference": interval(0.89, 0.88, 0.9, **network),
        "difference": interval(*difference),
        "reference_difference": interval(0.02, -0.01, 0.03),
        "beats_random": difference[1] > 0,
        "score": "accuracy",
        "test_images": 360,
        "text": "One sentence, 95 % interval -1.0 to +2.5. Two seeds <b>cannot</b> tell.",
    }
    page.evaluate(
        """async (text) => {
          const { make } = await import("/js/sections/verdict.js");
          const section = make("job", { signal: new AbortController().signal });
          document.querySelector("main").replaceChildren(section.element);
          section.update({ verdict: null });
          window.before = section.element.hidden;
          section.update({ verdict: JSON.parse(text), metric: "accuracy" });
          await new Promise((done) => setTimeout(done, 120));
        }""",
        json.dumps(verdict),
    )
    assert page.evaluate("window.before")
    assert badge in page.locator(".verdict-badge").inner_text()
    assert page.locator(".verdict-lead").inner_text() == "One sentence, 95 % interval -1.0 to +2.5."
    assert "Two seeds <b>cannot</b> tell." in page.locator(".verdict").inner_text()
    assert page.locator(".verdict .dot").count() == 2 + 4 + 2


@pytest.mark.parametrize(
    ("metric", "name", "mean", "lead"),
    [
        ("accuracy", "accuracy", "91.00 %", "+2.05 (−1.00 to +12.50)"),
        ("r2", "R²", "0.910", "+0.021 (−0.010 to +0.125)"),
    ],
)
@pytest.mark.parametrize("width", [280, 700])
def test_the_words_of_a_verdict_are_whole_and_in_the_unit_of_its_score(
    page: Page, metric: str, name: str, mean: str, lead: str, width: int
) -> None:
    shown = page.evaluate(
        """async ([metric, score, width]) => {
          const { dots, intervals } = await import("/js/spread.js");
          const { signal } = new AbortController();
          const row = { group: "controls", name: "on random networks", mean: 0.91, low: 0.9, high: 0.92 };
          const lead = { group: "controls", name: "on random networks", mean: 0.0205, low: -0.01, high: 0.125 };
          const every = dots([{ ...row, accuracies: [0.9, 0.92] }], { score, metric, signal });
          const box = document.createElement("div");
          box.className = "verdict";
          box.style.width = `${width}px`;
          box.append(every, intervals([lead], { metric, signal }));
          document.querySelector("main").replaceChildren(box);
          await new Promise((done) => setTimeout(done, 150));
          const { left, right } = box.getBoundingClientRect();
          const texts = [...box.querySelectorAll("svg text")];
          const beside = (one) => one.left < left - 1 || one.right > right + 1;
          const cut = texts.filter((one) => beside(one.getBoundingClientRect()));
          const tabs = box.querySelectorAll("[tabindex], [role=application]").length;
          return [texts.map((one) => one.textContent).join("|"), cut.map((one) => one.textContent), tabs];
        }""",
        [metric, name, width],
    )
    words, cut, stops = shown
    assert (cut, stops) == ([], 0)  # nothing in it can be pointed at: the keyboard passes it by
    between = "|" if width < 400 else ": "
    assert f"on random networks{between}{mean}" in words
    assert f"on random networks{between}{lead}" in words
    assert ("%" in words.replace("95 % interval", "")) == (metric == "accuracy")


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        ({"task": "single_label", "classes": [["cat", 0.75], ["dog", 0.25]]}, 200, ["cat, with", "75.0 %", "25.0 %"]),
        (
            {"task": "multi_label", "classes": [["red", 0.9], ["blue", 0.6], ["big", 0.1]]},
            200,
            ["red, blue more likely"],
        ),
        ({"task": "regression", "classes": [], "targets": [["age", 41.26]]}, 200, ["age", "41.26"]),
        ({"detail": "file: 'a.txt' is not possible: it does not decode"}, 422, ["file: 'a.txt' is not possible"]),
    ],
)
def test_an_image_that_is_chosen_is_sent_and_answered(
    page: Page, answer: dict[str, Any], status: int, words: list[str]
) -> None:
    classes = [{"name": name, "probability": share} for name, share in answer.get("classes", [])]
    targets = [{"name": name, "value": value} for name, value in answer.get("targets", [])]
    body = answer | {"classes": classes, "targets": targets, "ms": 1.2}
    sent: list[str] = []

    def predict(route: Any) -> None:
        sent.append(route.request.post_data_buffer.decode(errors="replace"))
        route.fulfill(status=status, json=body)

    page.route("**/v1/jobs/job/predict", predict)
    page.route("**/v1/datasets/digits", lambda route: route.fulfill(json={"image": [1, 8, 8]}))
    page.evaluate(
        """async () => {
          const { make } = await import("/js/sections/tryit.js");
          const section = make("job", { signal: new AbortController().signal });
          document.querySelector("main").replaceChildren(section.element);
          section.update({ job: { state: "running", dataset: "digits" } });
          window.before = section.element.innerText;
          await section.update({ job: { state: "succeeded", dataset: "digits" } });
        }"""
    )
    assert "Once the job has succeeded" in page.evaluate("window.before")
    file = {"name": "favicon.svg", "mimeType": "image/svg+xml", "buffer": (STATIC / "favicon.svg").read_bytes()}
    page.get_by_label("Choose an image").set_input_files(file)  # type: ignore[arg-type]
    shown = page.locator(".tryit [role=status]")
    shown.filter(has_text=words[0]).wait_for()
    assert all(word in shown.inner_text() for word in words)
    assert 'name="file"; filename="favicon.svg"' in sent[0]
    page.unroute("**/v1/jobs/job/predict")
