"""The list of jobs in a real browser."""

from playwright.sync_api import expect

from nas.store.states import JobState
from nas.store.tables import Job
from tests.web.site import Site


def test_the_list_is_filtered_and_its_address_says_how(site: Site) -> None:
    jobs = [site.api.add_job(name=name) for name in ("needle one", "needle two", "hay")]
    with site.api.store.write() as session:
        row = session.get_one(Job, jobs[1])
        row.state, row.reason = JobState.FAILED, "<i>the trials</i> failed"
    page = site.page
    page.goto(site.url)
    page.get_by_role("searchbox").fill("needle")
    expect(page.get_by_role("row")).to_have_count(3)  # the head, and two
    page.get_by_role("button", name="failed").click()
    expect(page.get_by_role("row")).to_have_count(2)
    expect(page.get_by_role("row").nth(1)).to_contain_text("<i>the trials</i> failed")
    assert page.url.endswith("/?state=failed&q=needle")
    page.reload()
    expect(page.get_by_role("row")).to_have_count(2)
    expect(page.get_by_role("button", name="failed")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("searchbox").fill("nothing like it")
    expect(page.get_by_role("heading", name="No job is like that")).to_be_visible()


def test_a_new_job_comes_into_the_list_and_the_focus_stays(site: Site) -> None:
    site.api.add_job(name="looked at")
    page = site.page
    page.goto(site.url)
    page.get_by_role("link", name="looked at").focus()
    site.api.add_job(name="has just come")
    expect(page.get_by_role("link", name="has just come")).to_be_visible()
    expect(page.get_by_role("link", name="looked at")).to_be_focused()
