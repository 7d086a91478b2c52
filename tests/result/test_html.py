"""report.html: all there is to say of a job, in one file that runs and loads nothing, whatever people wrote."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any, Final

import numpy as np
import pytest

from nas.result.figures import Curves, Incumbents
from nas.result.html import Made, job_page, package_page
from nas.result.parts import duration
from nas.result.story import Best, Data, Spent, Story
from nas.space import Candidate, CellSpace, ResidualNet, Shape
from nas.space.operations import DEFAULT_OPERATIONS
from tests.result.test_figures import cloud, found, learning

SPACE: Final = CellSpace(DEFAULT_OPERATIONS, nodes=2, shape=Shape(channels=4, cells=3))
CANDIDATE: Final = SPACE.sample(np.random.default_rng(0))
HOSTILE: Final = '</style></title><script>alert("1")</script><img src=http://x.example onerror=alert(1)>&amp;\x00\ud800'
TAME: Final = HOSTILE.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
STORY: Final = Story(
    job_id="abc123",
    name="digits, small",
    state="running",
    reason=None,
    note="a note",
    moment=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
    spec={
        "strategy": "tpe",
        "seed": 77,
        "objectives": [{"metric": "accuracy", "direction": "maximize"}],
        "budget": {"trials": 60},
        "final": {"epochs": 9},
    },
    data=Data("digits", "d1g357" * 8, "single_label", (1, 8, 8), tuple("0123456789"), 1149, 288, 360),
    best=Best(12, 0.8765, 12_345, 678_900, CANDIDATE.to_json()),
    spent=Spent((("search", "complete", 40), ("search", "pruned", 17)), 321, 54, 3_700.0, 7_300.0),
    curves=Curves(tuple(learning(trial) for trial in range(3)), 3, 2),
    points=cloud(),
    incumbents=Incumbents(((0, 5.0, 0.6), (12, 50.0, 0.8765))),
)


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, content: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        self.texts[inside] = self.texts.get(inside, "") + data

    @property
    def text(self) -> str:
        return " ".join(text for tag, text in self.texts.items() if tag not in ("style",))


def check(content: str) -> Page:
    """Whatever is in it, a page is well-formed, and runs and loads nothing."""
    page = Page(content)
    assert not page._open
    allowed = {"html", "head", "meta", "title", "style", "body", "header", "main", "section", "figure", "figcaption"}
    allowed |= {"h1", "h2", "h3", "p", "div", "dl", "dt", "dd", "ul", "li", "pre", "code", "details", "summary"}
    allowed |= {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    allowed |= {"svg", "g", "path", "rect", "text", "tspan", "use", "defs", "marker", "clippath", "desc"}
    ids: list[str] = []
    for tag, attributes in page.tags:
        assert tag in allowed
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in ("src", "srcset", "action", "background")
            assert not name.endswith("href") or (value or "").startswith("#")
            assert "url(" not in (value or "") or (value or "").startswith("url(#")
        ids += [value for name, value in attributes.items() if name == "id" and value]
    assert len(ids) == len(set(ids))
    policy = next(attributes for tag, attributes in page.tags if attributes.get("http-equiv"))
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert "@import" not in content
    used = set(re.findall(r"var\((--[\w-]+)\)", content))
    sheet = page.texts["style"]
    assert used - {"--share"} <= set(re.findall(r"(--[\w-]+):", sheet))
    assert len(content) < 1_500_000
    return page


def test_the_page_of_a_running_job_tells_what_its_rows_tell() -> None:
    page = check(job_page(STORY))
    for words in (
        "digits, small",
        "abc123",
        "running, as of 2026-01-02 03:04 UTC",
        "There is no verdict yet",
        "a note",
    ):
        assert words in page.text
    for words in ("87.65 %", "12,345", "678,900", "tpe", "trials 60", "maximize accuracy", "77", STORY.data.digest):
        assert words in page.text
    for words in ("321", "54", "1 h 1 min", "2 h 1 min", "pruned", "17", "train 1,149, validation 288, test 360"):
        assert words in page.text
    assert "There is no model yet" in page.text
    titles = [tag for tag, _ in page.tags].count("svg")
    assert titles == 4  # the cells, the best so far, the curves, size and score


def test_the_page_of_a_job_that_succeeded_has_its_verdict_and_every_retraining() -> None:
    page = check(job_page(replace(STORY, state="succeeded", verdict=found() | {"shipped": {"accuracy": 0.923}})))
    assert "The search beat random networks of its size by 2.00 points on the test split" in page.text
    assert "The search beat random." in page.text
    for words in (
        "random network 2, trial 13",
        "hand-designed residual network, trial 17",
        "88.00 %, 90.00 %",
        "92.30 %",
    ):
        assert words in page.text
    assert "nas.load" in page.text
    assert "/v1/jobs/abc123/model" in page.text


def test_a_job_that_failed_or_has_nothing_yet_has_a_page_too() -> None:
    page = check(job_page(replace(STORY, state="failed", reason="the disk is full")))
    assert "There is none: the job is failed: the disk is full." in page.text
    empty = replace(STORY, best=None, curves=Curves(), incumbents=Incumbents(), points=replace(STORY.points, items=()))
    assert "svg" not in [tag for tag, _ in check(job_page(empty)).tags]
    reference = replace(STORY, best=Best(0, None, None, None, Candidate(ResidualNet(4, 1)).to_json()))
    assert [tag for tag, _ in check(job_page(reference)).tags].count("svg") == 3


def test_whatever_people_wrote_is_text() -> None:
    data = replace(STORY.data, name=HOSTILE, classes=(HOSTILE, "b"))
    hostile = replace(STORY, name=HOSTILE, note=HOSTILE, spec=STORY.spec | {"strategy": HOSTILE}, data=data)
    page = check(job_page(hostile))
    assert page.texts["h1"] == TAME
    assert page.texts["title"].startswith(TAME)
    assert page.texts["dd"].count(TAME) == 3
    page = check(job_page(replace(hostile, state="failed", reason=HOSTILE)))
    assert TAME in page.texts["p"]


# --- of a package; tests/result/test_report.py looks at the pages that packages hold

SHAPE: Final = {"candidate": CANDIDATE.to_json(), "darts": "Genotype(normal=[…])"}
METRICS: Final[dict[str, Any]] = {
    "accuracy": 0.9,
    "metrics": {"accuracy": 0.9, "macro_f1": 0.8765},
    "params": 12_345,
    "macs": 678_900,
    "measured": {"latency_ms": 1.5, "memory_mb": 2.5},
    "recipe": {"epochs": 9, "weight_decay": 0.0005, "clip_value": None},
    "classes": [{"name": name, "images": 36, "recall": 0.75, "precision": None} for name in "abc"],
    "confusion": [[27, 9, 0], [0, 36, 0], [1, 1, 34]],
    "data": {
        "name": "digits",
        "digest": "d1g357",
        "task": "single_label",
        "image": [1, 8, 8],
        "classes": ["a", "b", "c"],
        "splits": {"train": 1149, "validation": 288, "test": 360},
    },
    "job": {"job_id": "abc123", "name": "of <b>mine</b>", "seed": 77},
    "versions": {"torch": "2.99"},
    "verdict": found(),
}


def test_the_page_of_a_package_has_all_that_was_measured_and_how_it_was_verified() -> None:
    page = check(package_page(Made(SHAPE, METRICS), STORY))
    for words in (
        "90.00 %",
        "0.8765",
        "1.50 ms",
        "2.50 MB",
        "Genotype(normal=[…])",
        "torch 2.99",
        "d1g357",
        "weight decay",
    ):
        assert words in page.text
    for words in ("scored 90.00 % again on the same 360 test images", "outputs agreed with torch's", "read once"):
        assert words in page.text
    for words in ("12,345", "678,900", "beat random networks", "75.0 %", "nas jobs download abc123"):
        assert words in page.text
    heat = [attributes["style"] for tag, attributes in page.tags if attributes.get("class") == "heat"]
    assert heat[:4] == ["--share:0.750", "--share:0.250", "--share:0.000", "--share:0.000"]
    assert len(heat) == 9
    assert [tag for tag, _ in page.tags].count("svg") == 5


def test_the_pages_of_a_regression_say_r2_and_no_percent() -> None:
    data = METRICS["data"] | {"task": "regression"}
    metrics = METRICS | {"accuracy": 0.9256, "metrics": {"r2": 0.9256, "mae": 3.5}, "classes": [], "data": data}
    story = replace(STORY, data=replace(STORY.data, task="regression"))
    made = check(package_page(Made(SHAPE, metrics | {"verdict": found() | {"score": "R²"}}), story))
    running = check(job_page(story))
    for words in ("Test R² of these weights", "0.880, 0.900", "scored 0.926 again", "Test mae"):
        assert words in made.text
    assert "0.9256" not in made.text
    assert "R² on validation" in running.texts["dt"]
    assert "0.876" in running.texts["dd"]  # 0.8765, which is a little less in binary
    for page in (made, running):
        assert page.text.count("%") == page.text.count("95 %")


def test_of_many_classes_the_hardest_are_shown_and_no_pairs() -> None:
    many = [{"name": f"class {n}", "images": 9, "recall": n / 100, "precision": 0.5} for n in range(99, -1, -1)]
    page = check(package_page(Made(SHAPE, {**METRICS, "classes": many, "confusion": [[1] * 25] * 25}), STORY))
    assert "The 60 hardest of 100" in page.text
    assert "class 59" in page.text
    assert "class 60" not in page.text
    assert not [1 for _, attributes in page.tags if attributes.get("class") == "heat"]


def test_hostile_names_of_classes_are_text_in_tables() -> None:
    classes = [one | {"name": HOSTILE} for one in METRICS["classes"]]
    page = check(package_page(Made(SHAPE, METRICS | {"classes": classes}), STORY))
    assert page.texts["th"].count(TAME) == 9  # a row in each table, and a column in one


@pytest.mark.parametrize(
    ("seconds", "words"), [(4.4, "4 s"), (200, "3 min 20 s"), (7_500, "2 h 5 min"), (273_600, "3 d 4 h")]
)
def test_times_are_told_as_people_tell_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words
