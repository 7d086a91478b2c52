"""How far a job is, why it waits and how it ended, in a real browser."""

from playwright.sync_api import Page, expect

from tests.web.sections import dashboard, show, update


def test_why_it_waits_and_how_it_ended_stand_out(page: Page) -> None:
    waiting = {"reason": "no_worker", "text": "no worker is alive; start `nas worker`", "position": 2, "eta_s": None}
    show(page, "progress", dashboard(waiting=waiting))
    expect(page.locator(".banner code")).to_have_text("nas worker")
    expect(page.locator(".banner")).not_to_contain_text("`")
    expect(page.locator(".banner")).to_have_text(
        "It waits: no worker is alive; start nas worker. It is number 2 in the queue."
    )
    update(page, dashboard(job={"state": "failed", "phase": "done", "reason": "three errors in a row"}))
    expect(page.locator(".banner")).to_have_text("failed: three errors in a row")
    expect(page.locator(".progress-words")).to_contain_text("took 1 min 40 s")
