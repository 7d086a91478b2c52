"""Every section writes a task's score in its own unit, in a real browser."""

import pytest
from playwright.sync_api import Page, expect

from tests.web.sections import Service, dashboard, show, trial


@pytest.mark.parametrize(
    ("metric", "label", "least", "shown"),
    [
        ("accuracy", "Validation accuracy", 0.2, ["50.00 %", "20.00 %"]),
        ("map", "Validation mAP", 0.2, ["50.00 %", "20.00 %"]),
        ("r2", "Validation R²", -0.02, ["0.500", "−0.020"]),
    ],
)
def test_a_score_is_written_and_named_as_its_task_has_it(
    page: Page, service: Service, metric: str, label: str, least: float, shown: list[str]
) -> None:
    rows = [trial(1, accuracy=0.5), trial(2, accuracy=least)]
    service.answers["/v1/jobs/j1/trials"] = {"items": rows, "next_cursor": None}
    service.answers["/v1/jobs/j1/points"] = {"x": "params", "y": "accuracy", "total": 0, "shown": 0, "items": []}
    seen = dashboard(metric=metric, counts={"complete": 2}, best={"trial": 1, "accuracy": 0.5, "params": 9, "macs": 9})
    seen["incumbents"] = [{"trial": 1, "at_s": 4.0, "accuracy": 0.5}]
    show(page, "trials", seen)
    expect(page.locator("tbody td:nth-child(2)")).to_have_text(shown)
    show(page, "incumbents", seen)
    assert page.locator(".figures div").first.inner_text().split("\n") == [label, shown[0]]
    show(page, "pareto", seen)
    assert page.get_by_label("Up").locator("option:checked").inner_text() == label
