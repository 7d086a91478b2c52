"""The table of trials in a real browser."""

from typing import Any

from playwright.sync_api import Page, expect

from tests.web.sections import Service, dashboard, show, trial, update


def test_the_table_is_sorted_filtered_and_paged_by_the_service(page: Page, service: Service) -> None:
    def page_of(query: dict[str, list[str]]) -> tuple[int, Any]:
        second = query.get("cursor") == ["next"]
        rows = [trial(number, state=query.get("state", ["complete"])[0]) for number in ((3, 4) if second else (1, 2))]
        return 200, {"items": rows, "next_cursor": None if second else "next"}

    service.answers["/v1/jobs/j1/trials"] = page_of
    show(page, "trials", dashboard(counts={"complete": 4, "failed": 4}))
    first = page.locator("tbody tr").first
    expect(first).to_contain_text("Trial 1")
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("Score")
    page.get_by_role("button", name="Parameters").click()
    page.get_by_label("State").select_option("failed")
    expect(first).to_contain_text("failed")
    assert service.asked[-1][2] == {"limit": ["25"], "sort": ["-params"], "state": ["failed"]}
    assert page.evaluate("location.search") == "?sort=-params&state=failed"
    page.get_by_role("button", name="Next").click()
    expect(first).to_contain_text("Trial 3")
    expect(page.get_by_role("button", name="Next")).to_be_disabled()
    page.get_by_role("button", name="Epochs").click()
    expect(page.get_by_role("button", name="Before")).to_be_disabled()  # another order begins anew
    expect(first).to_contain_text("Trial 1")
    assert "cursor" not in service.asked[-1][2]
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Before").click()
    expect(first).to_contain_text("Trial 1")
    expect(page.get_by_role("button", name="Before")).to_be_disabled()


def test_a_row_keeps_the_focus_when_its_trial_goes_on(page: Page, service: Service) -> None:
    rows = [trial(1), trial(2, state="running", epoch=1)]
    service.answers["/v1/jobs/j1/trials"] = lambda _: (200, {"items": rows, "next_cursor": None})
    show(page, "trials", dashboard(counts={"complete": 1, "running": 1}))
    page.get_by_role("link", name="Trial 2").focus()
    rows[1] = trial(2, state="running", epoch=2)
    update(page, dashboard(counts={"complete": 2}))
    expect(page.locator("tbody tr").last).to_contain_text("2/4")
    expect(page.get_by_role("link", name="Trial 2")).to_be_focused()
