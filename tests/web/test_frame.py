"""What stands around the pages, in a real browser: the documentation of the API, and the way back from the login."""

import pytest
from playwright.sync_api import expect

from tests.web.site import Site


def test_the_api_is_documented_without_any_other_host(site: Site) -> None:
    site.page.goto(f"{site.url}/docs")
    expect(site.page.get_by_role("heading", name="NAS service")).to_be_visible()
    expect(site.page.get_by_text("/v1/jobs/{job_id}/dashboard")).to_be_visible()


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ("/datasets?x=1", "/datasets?x=1"),
        ("//evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("/login?next=/login", "/"),
    ],
)
def test_after_the_login_one_is_on_a_page_of_this_site(site: Site, wanted: str, path: str) -> None:
    page = site.page
    page.goto(f"{site.url}/login?next={wanted}")
    expect(page.get_by_label("Key")).to_be_focused()
    page.get_by_label("Key").fill("nas_any")  # the service has no keys, and lets everybody in
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{site.url}{path}")
    kept = page.evaluate("() => JSON.stringify([localStorage, sessionStorage, history.state, document.cookie])")
    assert "nas_any" not in kept + page.url
