"""What a terminal and a notebook show of the client's objects: all of it escaped."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from nas import Client
from nas.client.values import Best
from tests.client.conftest import Both, Service
from tests.client.jobs import RANDOM, work
from tests.support import run_trial

HOSTILE = "<script>alert('1')</script>&\"<b>"
TAGS = {"a", "div", "table", "thead", "tbody", "tr", "th", "td", "progress", "p"}


class Page(HTMLParser):
    """The tags, attributes and text of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str | None] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name == "href"]
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def test_a_job_is_shown_as_it_is_and_links_to_its_page(both: Both, service: Service) -> None:
    job = both.do(both.client.search(RANDOM, name=HOSTILE))
    assert repr(job) == f"<{type(job).__name__} {job.id}, {HOSTILE!r}, queued, squares>"
    work(service)
    both.do(job.refresh())
    assert "best 80.00 %" in repr(job)
    page = Page(job._repr_html_())
    assert page.tags <= TAGS
    assert page.links == [job.url] == [f"{service.url}/jobs/{job.id}"]
    for said in (HOSTILE, "running", "squares", "80.00 %", "trials 4/4"):
        assert said in page.text


def test_a_notebook_looks_at_a_job_again_and_lives_with_a_service_that_is_away(
    client: Client, service: Service
) -> None:
    job = client.search(RANDOM)
    client.job(job.id).cancel()
    assert "cancelled" in Page(job._repr_html_()).text
    client.job(job.id).delete()
    assert "cancelled" in Page(job._repr_html_()).text


def test_jobs_are_a_table(both: Both) -> None:
    assert "no jobs" in Page(both.do(both.client.jobs())._repr_html_()).text
    ids = [both.do(both.client.search(RANDOM, name=HOSTILE)).id for _ in range(2)]
    jobs = both.do(both.client.jobs())
    page = Page(jobs._repr_html_())
    assert page.tags <= TAGS
    assert page.text.count(HOSTILE) == 2
    assert page.text.index(ids[1]) < page.text.index(ids[0])
    assert repr(jobs) == repr(list(jobs))


def test_the_best_network_is_a_table(both: Both, service: Service) -> None:
    job = both.do(both.client.search(RANDOM))
    work(service)
    page = Page(both.do(job.best())._repr_html_())
    assert page.tags <= TAGS
    assert "80.00 %" in page.text
    assert "test" not in page.text, "nobody has measured it yet"
    assert "1,00" in page.text, "its parameters"


def test_r2_is_not_said_in_percent(both: Both, service: Service, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "heights.npz", images=images, labels=np.linspace(0, 1, 60)[:, None])
    job = both.do(both.client.search(**(RANDOM | {"dataset": tmp_path / "heights.npz"})))
    run_trial(service.store, -0.1234)
    both.do(job.refresh())
    best = both.do(job.best())
    assert (best.metric, best.accuracy) == ("r2", -0.1234)
    assert ", best R² -0.123>" in repr(job)
    shown = [Page(found._repr_html_()).text for found in (job, both.do(both.client.jobs()), best)]
    assert "R² on validation" in shown[2]
    for text in shown:
        assert "-0.123" in text
        assert " %" not in text


@pytest.mark.parametrize("verdict", [None, {"text": HOSTILE}])
def test_a_verdict_is_text(verdict: dict[str, str] | None) -> None:
    best = Best(3, None, 0.5, None, None, HOSTILE, None, {}, verdict)
    page = Page(best._repr_html_())
    assert page.tags <= TAGS
    assert page.text.count(HOSTILE) == 1 + (verdict is not None)
    assert "validation" not in page.text
    assert repr(best) == "Best(trial=3, accuracy=None, test_accuracy=0.5, params=None, macs=None)"
