"""What went wrong in a job, in a real browser."""

from playwright.sync_api import Page, expect

from tests.web.sections import Service, dashboard, show, trial, update


def test_what_went_wrong_is_told_with_tracebacks(page: Page, service: Service) -> None:
    broken = trial(7, state="failed", reason="error")
    service.answers["/v1/jobs/j1/trials"] = {"items": [broken], "next_cursor": None}
    service.answers["/v1/jobs/j1/trials/7"] = broken | {"error": "Traceback: <b>no</b>", "setbacks": []}
    show(page, "failures", dashboard())
    expect(page.locator("section.panel")).to_be_hidden()
    reasons = {"error": {"trials": 1, "again": 2}, "cancelled": {"trials": 9, "again": 0}}
    update(page, dashboard(counts={"failed": 1, "cancelled": 9}, reasons=reasons))
    assert page.locator("tbody tr").all_inner_texts() == ["error\t1\t2\tCode raised an error; the traceback is below."]
    page.get_by_text("Trial 7: error").click()
    expect(page.locator("pre")).to_have_text("Traceback: <b>no</b>")
