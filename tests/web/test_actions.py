"""What can be done with a job, and the dialogs for it, in a real browser."""

import pytest
from playwright.sync_api import Page, expect

from api.schemas import Extension
from tests.web.sections import Service, dashboard, show


@pytest.mark.parametrize(
    ("state", "offered"),
    [
        ("running", ["Pause", "Extend…", "Clone…", "Cancel…"]),
        ("paused", ["Resume", "Extend…", "Clone…", "Cancel…"]),
        ("failed", ["Extend…", "Clone…", "Delete…"]),
    ],
)
def test_only_what_makes_sense_is_offered(page: Page, service: Service, state: str, offered: list[str]) -> None:
    show(page, "actions", dashboard(job={"state": state}))
    group = page.get_by_role("group")
    assert group.get_by_role("button").all_inner_texts() == offered
    expect(page.get_by_role("link", name="Download the model")).to_have_count(0)


def test_cancelling_asks_first_and_a_refusal_is_told_in_the_services_words(page: Page, service: Service) -> None:
    page.evaluate("document.body.append(Object.assign(document.createElement('div'), {id: 'notices'}))")
    service.answers["POST /v1/jobs/j1/cancel"] = lambda _: (403, {"detail": "this key may only read"})
    show(page, "actions", dashboard())
    page.get_by_role("button", name="Cancel…").click()
    page.get_by_role("button", name="Back").click()
    assert [asked for asked in service.asked if asked[0] == "POST"] == []
    page.get_by_role("button", name="Cancel…").click()
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.locator(".notice")).to_contain_text("this key may only read")
    page.evaluate("document.getElementById('notices').remove()")


def test_extending_sends_what_was_changed_and_shows_faults_at_their_fields(page: Page, service: Service) -> None:
    schemas = {"Extension": Extension.model_json_schema()}
    page.route("**/openapi.json", lambda route: route.fulfill(json={"components": {"schemas": schemas}}))
    budget = {"trials": 16, "total_epochs": None, "seconds": 60.5, "target": None}
    refusal = {"field": "seconds", "value": 61, "mend": "not today"}
    service.answers["/v1/jobs/j1"] = {"spec": {"budget": budget}}
    service.answers["POST /v1/jobs/j1/extend"] = lambda sent: (
        (422, {"detail": "no", "errors": [refusal]}) if sent["seconds"] else (200, {})
    )
    show(page, "actions", dashboard(job={"state": "succeeded"}))
    page.get_by_role("button", name="Extend…").click()
    trials, seconds = (page.get_by_role("spinbutton", name=name) for name in ("Trials", "Seconds"))
    expect(page.get_by_role("spinbutton")).to_have_count(2)  # what has no limit cannot be given more
    for value, mend in {
        "3": "3 is not possible: at least 16, which the job has; a budget can only grow",
        "16.5": "16.5 is not possible: it has to be a whole number",
        "100001": "100001 is not possible: it has to be 100,000 or less",
        "": "That is not possible: it has to be a whole number",
    }.items():
        trials.fill(value)
        page.keyboard.press("Enter")
        expect(trials).to_be_focused()
        expect(trials).to_have_accessible_description(f"architectures to try, with those so far {mend}")
    trials.fill("16")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("Nothing is different yet")
    assert [asked for asked in service.asked if asked[0] == "POST"] == []
    seconds.fill("61")
    page.keyboard.press("Enter")
    expect(page.locator(".field", has=seconds)).to_contain_text("61 is not possible: not today")
    expect(seconds).to_be_focused()
    seconds.fill("")
    trials.fill("24")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert service.asked[-1] == ("POST", "/v1/jobs/j1/extend", {"trials": 24, "seconds": None})
    page.unroute("**/openapi.json")
