"""Logging in with a browser: what the cookie is, what it allows, and until when."""

import logging
import secrets
import time
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import select, update

from api.keyring import FRESH_S, KeyRing
from api.main import create_app
from api.upkeep import expire_logins
from nas.errors import Unauthorized
from nas.settings import Settings
from nas.store import keys, logins
from nas.store.keys import Scope
from nas.store.session import now
from nas.store.tables import ApiKey, Login
from tests.api.browsing import NOT_LOGGED_IN, Browser, ask, cookie_of, log_in, rows
from tests.api.client import ApiClient, calling, problem
from tests.api.served import listening


@pytest.fixture
def ada(api: ApiClient) -> ApiClient:
    """Somebody with a key that writes."""
    return api.of("ada")


# --- what it is


def test_a_login_gives_a_cookie_that_no_script_and_no_other_site_can_use(ada: ApiClient) -> None:
    answer = ask(ada, ada.key)
    cookie = cookie_of(answer)
    assert (cookie.key, cookie["path"], cookie["samesite"].lower()) == ("nas_session", "/", "strict")
    assert cookie["httponly"] is True
    assert cookie["secure"] == "" and cookie["domain"] == ""  # noqa: PT018 - plain http, and this host alone
    assert 12 * 3600 - 10 < int(cookie["max-age"]) <= 12 * 3600
    assert len(cookie.value) == 43
    assert answer.json() == {
        "login": True,
        "required": False,
        "owner": "ada",
        "scope": "write",
        "csrf": logins.csrf(cookie.value),
    }
    assert answer.headers["Cache-Control"] == "no-store"
    assert cookie.value not in answer.text
    assert str(ada.key) not in answer.text


def test_over_https_the_cookie_goes_over_nothing_else(settings: Settings) -> None:
    app = create_app(settings)
    with listening(app) as url:
        parts = app.state.parts
        with parts.store.write() as session:
            _, key = keys.create(session, "ada", Scope.READ)
        with httpx.Client(base_url=url) as client:
            client.get("/v1/jobs")  # by now it knows that there are keys
            time.sleep(FRESH_S)
            for scheme, secure in (("https", True), ("http", False)):
                answer = client.post("/session", json={"key": key}, headers={"X-Forwarded-Proto": scheme})
                assert (cookie_of(answer)["secure"] is True) == secure, scheme


def test_under_a_path_of_its_own_the_cookie_goes_nowhere_else(settings: Settings) -> None:
    app = create_app(settings)
    app.root_path = "/nas"
    with calling(app) as api:
        cookie = cookie_of(ask(api.of("ada"), api.of("bob").key))
        assert cookie["path"] == "/nas"


def test_the_database_holds_no_token_and_two_logins_share_none(ada: ApiClient) -> None:
    first, second = log_in(ada), log_in(ada)
    assert first.token != second.token
    assert first.csrf != second.csrf
    with ada.store.read() as session:
        kept = session.scalars(select(Login.digest)).all()
    assert len(kept) == 2
    assert not {first.token, second.token, first.csrf, second.csrf} & set(kept)


def test_neither_key_nor_token_is_in_the_log(ada: ApiClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        browser = log_in(ada)
        assert browser.post("/v1/jobs", json={"dataset": "squares"}).status_code == 201
        ask(ada, "nas_wrong_key")
        browser.request("DELETE", "/session")
    assert caplog.records
    said = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    for secret in (str(ada.key), browser.token, str(browser.csrf), "nas_wrong_key"):
        assert secret not in said


# --- what it allows


def test_who_is_logged_in_sees_and_does_what_the_key_may(ada: ApiClient) -> None:
    browser = log_in(ada)
    made = browser.post("/v1/jobs", json={"dataset": "squares"})
    assert made.status_code == 201
    job = made.json()["id"]
    assert browser.get(f"/v1/jobs/{job}").status_code == 200
    assert ada.get(f"/v1/jobs/{job}").status_code == 200
    assert browser.get("/session").json() == {
        "login": True,
        "required": False,
        "owner": "ada",
        "scope": "write",
        "csrf": browser.csrf,
    }
    problem(log_in(ada.of("bob")).get(f"/v1/jobs/{job}"), 404)
    problem(browser.get("/metrics"), 403, "the scope admin")
    reader = log_in(ada.of("ada", "read"))
    problem(reader.post(f"/v1/jobs/{job}/cancel"), 403, "the scope write")
    assert reader.request("DELETE", "/session").status_code == 204
    assert log_in(ada.of("root", "admin")).get("/metrics").status_code == 200


def test_events_come_by_cookie_too(ada: ApiClient) -> None:
    browser, job = log_in(ada), ada.add_job()
    assert ada.post(f"/v1/jobs/{job}/cancel").status_code == 200
    answer = browser.get(f"/v1/jobs/{job}/events", headers={"Accept": "text/event-stream"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    problem(replace(ada, key=None).get(f"/v1/jobs/{job}/events"), 401)


def test_who_is_not_logged_in_is_told_so_and_no_more(ada: ApiClient) -> None:
    stranger = replace(ada, key=None)
    assert stranger.get("/session").json() == NOT_LOGGED_IN  # a browser's first visit, which is no fault
    for header in ("Bearer nonsense", "Basic YTpi", ""):
        problem(stranger.get("/session", headers={"Authorization": header}), 401)
    problem(stranger.request("DELETE", "/session"), 401)
    assert ada.get("/session").json() == NOT_LOGGED_IN | {"required": False, "owner": "ada", "scope": "write"}


# --- until when


def test_whoever_logs_out_is_out_at_once(ada: ApiClient) -> None:
    browser, other = log_in(ada), log_in(ada)
    assert browser.get("/v1/jobs").status_code == 200
    answer = browser.request("DELETE", "/session")
    assert answer.status_code == 204
    cookie = cookie_of(answer)
    assert (cookie.key, cookie.value, cookie["max-age"], cookie["path"]) == ("nas_session", "", "0", "/")
    problem(browser.get("/v1/jobs"), 401, "not logged in any more")
    assert browser.get("/session").json() == NOT_LOGGED_IN
    assert other.get("/v1/jobs").status_code == 200
    assert rows(ada.store) == 1
    assert ada.request("DELETE", "/session").status_code == 204  # by key: nothing to end
    assert other.get("/v1/jobs").status_code == 200


def test_to_log_in_again_ends_the_login_before(ada: ApiClient) -> None:
    browser = log_in(ada)
    again = ask(ada, ada.key, headers={"Cookie": f"nas_session={browser.token}"})
    assert again.status_code == 200
    problem(browser.get("/v1/jobs"), 401)
    assert rows(ada.store) == 1


def test_no_login_outlives_its_key(ada: ApiClient) -> None:
    with ada.store.write() as session:
        row, short = keys.create(session, "eve", Scope.READ, now(session) + timedelta(seconds=60))
        prefix = row.prefix
    answer = ask(ada, short)
    assert 50 < int(cookie_of(answer)["max-age"]) <= 60
    soon, revoked = Browser(ada, cookie_of(answer).value, None), log_in(ada)
    assert soon.get("/v1/jobs").status_code == revoked.get("/v1/jobs").status_code == 200
    with ada.store.write() as session:
        session.execute(update(ApiKey).where(ApiKey.prefix == prefix).values(expires_at=now(session)))
        keys.revoke(session, str(ada.key))
    time.sleep(FRESH_S)
    problem(soon.get("/v1/jobs"), 401, "has expired", "log in again")
    problem(revoked.get("/v1/jobs"), 401, "was revoked", "log in again")


def test_a_login_ends_after_its_time(ada: ApiClient) -> None:
    browser = log_in(ada)
    with ada.store.write() as session:
        session.execute(update(Login).values(expires_at=now(session)))
    time.sleep(FRESH_S)
    problem(browser.get("/v1/jobs"), 401, "not logged in any more")


def test_upkeep_forgets_what_has_ended_and_nothing_else(ada: ApiClient) -> None:
    over, revoked, kept = log_in(ada), log_in(ada.of("bob")), log_in(ada)
    with ada.store.write() as session:
        digest = session.scalars(select(Login.digest).order_by(Login.created_at)).first()
        session.execute(update(Login).where(Login.digest == digest).values(expires_at=now(session)))
        [bob] = [row.prefix for row in keys.listed(session) if row.owner == "bob"]
        keys.revoke(session, bob)
    assert expire_logins(ada.parts) == 2
    assert rows(ada.store) == 1
    assert kept.get("/v1/jobs").status_code == 200
    time.sleep(FRESH_S)
    assert (over.get("/v1/jobs").status_code, revoked.get("/v1/jobs").status_code) == (401, 401)


# --- where there are no keys, and where there is one of one's own


def test_without_keys_nobody_has_to_log_in(api: ApiClient) -> None:
    everyone = NOT_LOGGED_IN | {"required": False, "owner": "local", "scope": "admin"}
    assert api.get("/session").json() == everyone
    answer = ask(api, "whatever")
    assert (answer.status_code, answer.json()) == (200, everyone)
    assert "Set-Cookie" not in answer.headers
    assert rows(api.store) == 0
    assert api.post("/v1/jobs", json={"dataset": "squares"}, headers={"Cookie": "nas_session=x"}).status_code == 201
    problem(api.get("/session", headers={"Host": "evil.example"}), 421)


def test_the_key_of_who_started_the_service_logs_in_there_and_nowhere_else(settings: Settings) -> None:
    own = secrets.token_urlsafe(32)
    with calling(create_app(settings, own)) as api:
        api.of("ada")
        browser = log_in(api, own)
        assert browser.get("/session").json()["scope"] == "admin"
        assert browser.post("/v1/jobs", json={"dataset": "digits"}, headers={}).status_code == 201
        for other in (None, secrets.token_urlsafe(32)):
            ring = KeyRing(api.store, other)
            with pytest.raises(Unauthorized):
                api.portal.call(ring.logged_in, browser.token)


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_logins_are_kept_on_either_database(backend: str, api: ApiClient) -> None:
    ada = api.of("ada")
    browser = log_in(ada)
    assert browser.get("/session").json()["owner"] == "ada"
    assert browser.request("DELETE", "/session").status_code == 204
    assert browser.get("/session").json() == NOT_LOGGED_IN
