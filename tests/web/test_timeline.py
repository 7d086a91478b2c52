"""The timeline of workers in a real browser."""

from playwright.sync_api import Page, expect

from tests.web.sections import Service, dashboard, show


def test_of_very_many_workers_those_that_began_last_are_shown(page: Page, service: Service) -> None:
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
    show(page, "timeline", dashboard(counts={"complete": 90}))
    expect(page.locator(".lane")).to_have_count(60)
    last = sorted(items, key=lambda item: str(item["start"]))[-60:]
    assert set(page.locator(".lanes svg > text > title").all_text_contents()) == {item["worker"] for item in last}
