"""A browser sends its cookie with whatever a page asks for: it counts for pages of this origin, with their token."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from nas.settings import Settings
from nas.store.tables import Login
from tests.api.browsing import ask, log_in
from tests.api.client import ApiClient, problem
from tests.api.conftest import started


@pytest.fixture
def ada(api: ApiClient) -> ApiClient:
    """Somebody with a key that writes."""
    return api.of("ada")


METHODS = ("POST", "PUT", "PATCH", "DELETE", "BREW", "post")


def test_nothing_is_changed_by_cookie_without_the_token_of_that_login(ada: ApiClient) -> None:
    browser, other, job = log_in(ada), log_in(ada), ada.add_job()
    tokens: tuple[list[str | None], ...] = ([], [""], ["x"], [other.csrf], [browser.csrf, browser.csrf], ["é"])
    for sent in tokens:
        named = [(b"X-CSRF-Token", str(token).encode("latin-1")) for token in sent]
        headers = [(b"Cookie", f"nas_session={browser.token}".encode()), *named]
        for method in METHODS:
            for path in (f"/v1/jobs/{job}", "/session") if method.upper() != "POST" else (f"/v1/jobs/{job}/cancel",):
                answer = replace(ada, key=None).request(method, path, headers=headers)
                problem(answer, 403, "X-CSRF-Token", "GET /session")
    assert ada.get(f"/v1/jobs/{job}").json()["state"] == "queued"
    assert browser.get("/session").status_code == 200
    assert browser.request("DELETE", f"/v1/jobs/{job}?force=true").status_code == 204


def test_a_key_in_the_header_comes_before_the_cookie(ada: ApiClient) -> None:
    browser, bob = log_in(ada), ada.of("bob")
    header = {"Authorization": f"Bearer {bob.key}"}
    assert browser.get("/session", headers=header).json() == {
        "login": False,
        "required": False,
        "owner": "bob",
        "scope": "write",
        "csrf": None,
    }
    made = replace(browser, csrf=None).post("/v1/jobs", json={"dataset": "squares"}, headers=header)
    assert made.status_code == 201  # nobody's browser sends that by itself
    problem(browser.get("/v1/jobs", headers={"Authorization": "Bearer nonsense"}), 401)


def test_a_cookie_counts_for_pages_of_this_origin_only(ada: ApiClient) -> None:
    browser = log_in(ada)
    for alien in (
        {"Origin": "http://evil.example"},
        {"Origin": "http://test:8080"},  # the same host, so that SameSite does not stop it
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        problem(browser.get("/v1/jobs", headers=alien), 401)
        assert browser.post("/v1/jobs", json={"dataset": "squares"}, headers=alien).status_code in (401, 403)
        assert ask(ada, ada.key, headers=alien).status_code == 403  # nor does it log anybody in
    for own in ({"Origin": "http://test"}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
        assert browser.get("/v1/jobs", headers=own).status_code == 200


def test_origins_that_may_call_the_api_may_not_use_its_cookies(settings: Settings) -> None:
    friend = "https://friend.example"
    with started(replace(settings, cors=(friend,))) as api:
        ada = api.of("ada")
        browser = log_in(ada)
        problem(browser.get("/v1/jobs", headers={"Origin": friend}), 401)
        problem(browser.post("/v1/jobs", json={"dataset": "squares"}, headers={"Origin": friend}), 401)
        allowed = ada.get("/v1/jobs", headers={"Origin": friend})
        assert allowed.headers["Access-Control-Allow-Origin"] == friend
        assert "Access-Control-Allow-Credentials" not in allowed.headers


UNKNOWN = ("", "x", "a" * 43, "a" * 5000, "' OR 1=1 --", "\x00", "é", "%00", '"quoted"', "../../etc")


def test_what_was_never_given_out_is_no_login(ada: ApiClient) -> None:
    for value in UNKNOWN:
        headers = {b"Cookie": b"nas_session=" + value.encode("latin-1")}
        problem(replace(ada, key=None).get("/v1/jobs", headers=headers), 401)
    stored = log_in(ada)
    with ada.store.read() as session:
        digest = session.scalars(select(Login.digest)).one()
    problem(replace(stored, token=digest).get("/v1/jobs"), 401)  # who reads the table cannot log in
    problem(replace(stored, token=digest[:43]).get("/v1/jobs"), 401)
