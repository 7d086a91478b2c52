"""The plot of one measure against another in a real browser."""

from playwright.sync_api import Page, expect

from tests.web.sections import Service, dashboard, show


def test_points_are_walked_by_keys_opened_by_enter_and_told_in_a_table(page: Page, service: Service) -> None:
    rows = [[3, 400, 0.9, "complete", True], [1, 100, 0.7, "complete", True], [2, 300, 0.6, "pruned", False]]
    service.answers["/v1/jobs/j1/points"] = {"x": "params", "y": "accuracy", "total": 3, "shown": 3, "items": rows}
    show(page, "pareto", dashboard(counts={"complete": 2, "pruned": 1}))
    plot = page.get_by_role("application")
    expect(plot).to_have_attribute(
        "aria-label",
        "3 trials by Parameters and Validation accuracy, 2 of them on the front. "
        "Arrow keys go from mark to mark, Enter opens one.",
    )
    told = []
    plot.focus()
    for key in ("Home", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
        told.append(page.locator(".chart [role=status]").inner_text().split(",")[0])
    assert told == ["Trial 1", "Trial 2", "Trial 3", "Trial 3", "Trial 1"]
    page.keyboard.press("Enter")
    assert page.evaluate("window.gone") == "/jobs/j1/trials/1"
    page.get_by_text("Show as a table").click()
    expect(page.locator(".as-table tbody tr")).to_have_count(3)
    assert page.locator(".as-table tbody tr").first.inner_text().split("\t") == [
        "Trial 3",
        "400",
        "90.0 %",
        "complete",
        "yes",
    ]


def test_an_axis_that_is_taken_changes_places_with_the_other(page: Page, service: Service) -> None:
    service.answers["/v1/jobs/j1/points"] = {"x": "", "y": "", "total": 0, "shown": 0, "items": []}
    show(page, "pareto", dashboard())
    with page.expect_request(lambda request: "x=accuracy&y=params" in request.url):
        page.get_by_label("Up").select_option("params")
    expect(page.get_by_label("Across")).to_have_value("accuracy")
    expect(page.get_by_text("No trial has both measures yet.")).to_be_visible()
