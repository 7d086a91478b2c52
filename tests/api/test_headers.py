"""What answers say to browsers, and what pages of other sites may not do."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.browsers import is_loopback
from api.headers import HEADERS
from api.main import create_app
from api.problems import PROBLEMS
from nas.settings import Settings
from tests.api.client import ApiClient, calling, problem, succeed
from tests.support import database


@pytest.fixture(scope="module")
def api(shared_api: ApiClient) -> ApiClient:
    return shared_api


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiClient]:
    """A service that lets pages of one other site in."""
    home = tmp_path_factory.mktemp("cors")
    given = {"NAS_CORS_ORIGINS": "https://lab.example.org", "NAS_DATABASE_URL": database("sqlite", home)}
    with calling(create_app(Settings.read(given | {"NAS_HOME": str(home)}))) as client:
        yield client


PATHS = ["/v1/jobs", "/v1/jobs/nope", "/nope", "/healthz", "/openapi.json", "/docs", "/v1/datasets", "/problems/x"]


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_tells_browsers_to_be_careful(api: ApiClient, path: str) -> None:
    for answer in (api.get(path), api.request("DELETE", path), api.post(path, content=b"x" * 2_000_000)):
        for name, value in HEADERS.items():
            if (path, name) != ("/docs", "Content-Security-Policy"):
                assert answer.headers[name] == value, name
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_what_has_a_tag_may_be_kept_but_is_asked_for_again(api: ApiClient) -> None:
    job = succeed(api)
    for path in ("dashboard", "model"):
        answer = api.get(f"/v1/jobs/{job}/{path}")
        assert answer.headers["ETag"]
        assert "no-cache" in answer.headers["Cache-Control"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_fault_of_the_service_is_a_problem_too(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("nas.store.jobs.page", broken)
    answer = api.get("/v1/jobs", headers={"X-Request-ID": "mine"})
    said = problem(answer, 500, "its log")
    assert "secret" not in answer.text
    assert said["instance"] == answer.headers["X-Request-ID"] == "mine"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_problem_names_its_request(api: ApiClient) -> None:
    answer = api.get("/v1/jobs/nope")
    assert problem(answer, 404)["instance"] == answer.headers["X-Request-ID"]


def test_a_method_that_is_not_there_is_answered_with_those_that_are(api: ApiClient) -> None:
    for path, methods in {"/v1/jobs": {"GET", "POST"}, "/v1/jobs/x": {"GET", "PATCH", "DELETE"}}.items():
        answer = api.request("PUT", path)
        problem(answer, 405)
        assert set(answer.headers["Allow"].split(", ")) == methods


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_type_of_a_problem_leads_to_what_it_means(api: ApiClient, name: str) -> None:
    shown = api.get(f"/problems/{name}").json()
    assert shown["type"] == f"/problems/{name}"
    assert (shown["title"], shown["status"]) == (PROBLEMS[name].title, PROBLEMS[name].status)
    assert len(shown["text"]) > 20


def test_a_problem_that_is_none_is_not_found(api: ApiClient) -> None:
    problem(api.get("/problems/nope"), 404, "invalid-input")


# --- pages of other sites

FOREIGN: list[dict[str, str]] = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://test:81"},
    {"Origin": "http://test.evil.example"},
    {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]
OWN: list[dict[str, str]] = [
    {},
    {"Origin": "http://test"},
    {"Origin": "http://test", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_page_of_another_site_changes_nothing(api: ApiClient, headers: dict[str, str]) -> None:
    job = api.add_job()
    problem(api.post(f"/v1/jobs/{job}/cancel", headers=headers), 403, "another site", "NAS_CORS_ORIGINS")
    form: dict[str, Any] = {"data": {"name": "x"}, "files": {"file": ("x.npz", b"x")}}
    problem(api.post("/v1/datasets", headers=headers, **form), 403)
    problem(api.request("DELETE", f"/v1/jobs/{job}", headers=headers), 403)
    assert api.get(f"/v1/jobs/{job}", headers=headers).json()["state"] == "queued"  # reading: the page sees nothing


@pytest.mark.parametrize("headers", OWN)
def test_ones_own_pages_and_other_clients_do(api: ApiClient, headers: dict[str, str]) -> None:
    job = api.add_job()
    assert api.post(f"/v1/jobs/{job}/cancel", headers=headers).json()["state"] == "cancelled"


def test_only_origins_that_are_named_are_let_in(page: ApiClient) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    for origin, status in (("https://lab.example.org", 200), ("https://evil.example", 400), ("null", 400)):
        answer = page.request("OPTIONS", "/v1/jobs", headers=asked | {"Origin": origin})
        assert answer.status_code == status
        assert answer.headers.get("Access-Control-Allow-Origin") == (origin if status == 200 else None)
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert page.get("/v1/jobs", headers={"Origin": origin}).headers.get("Access-Control-Allow-Origin") == (
            origin if status == 200 else None
        )
        posted = page.post("/v1/jobs", json={"dataset": "digits"}, headers={"Origin": origin})
        assert posted.status_code == (201 if status == 200 else 403)


# --- names that are led here


def at(api: ApiClient, server: str, host: str, path: str = "/v1/jobs") -> httpx.Response:
    """Asks as if connected to the address `server`, with a header Host."""
    app: Any = api.http._transport.app  # type: ignore[attr-defined]  # the same app

    async def moved(scope: Any, receive: Any, send: Any) -> None:
        await app(scope | {"server": (server, 8000)}, receive, send)

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(moved), base_url="http://x") as http:
            return await http.get(path, headers={"Host": host} | headers)

    headers = {"Authorization": f"Bearer {api.key}"} if api.key else {}
    return api.portal.call(send)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000", "127.9.9.9"]
)
def test_a_service_without_keys_answers_to_the_loopbacks_names(api: ApiClient, host: str) -> None:
    assert at(api, "127.0.0.1", host).status_code == 200


STRANGE = [
    *("evil.example", "evil.example:8000", "localhost.evil.example", "10.0.0.1", "127.0.0.1.nip.io", "0.0.0.1"),
    *("[::2]", "[", "]:", "a@b", "localhost@evil.example", "127.0.0.1:8000:1", "127.0.0.1/", "localhost:", "?", " "),
    *("evil.example#localhost", "localhost evil.example", "localhost,evil.example", "[127.0.0.1]evil.example"),
]


@pytest.mark.parametrize("host", STRANGE)
def test_a_service_without_keys_answers_to_no_other(api: ApiClient, host: str) -> None:
    problem(at(api, "127.0.0.1", host), 421, "Host")
    assert at(api, "127.0.0.1", host, "/healthz").status_code == 200


@pytest.mark.parametrize("address", ["10.0.0.5", "2001:db8::1", "192.168.1.1"])
def test_a_service_without_keys_serves_nobody_else_however_it_was_started(api: ApiClient, address: str) -> None:
    for host in ("localhost", address, f"[{address}]", "evil.example"):
        problem(at(api, address, host), 421, "nas keys create")


def test_with_keys_every_name_will_do(tmp_path: Path) -> None:
    given = {"NAS_DATABASE_URL": database("sqlite", tmp_path), "NAS_HOME": str(tmp_path)}
    with calling(create_app(Settings.read(given))) as api:
        keyed = api.of("ada")
        assert at(keyed, "10.0.0.5", "nas.example.org").status_code == 200
        problem(at(replace(keyed, key=None), "10.0.0.5", "nas.example.org"), 401)


def test_what_the_loopback_is() -> None:
    for host in ("127.0.0.1", "127.255.255.254", "::1", "localhost", "LocalHost"):
        assert is_loopback(host)
    for host in (
        "",
        "0.0.0.1",
        "::",
        "10.0.0.1",
        "128.0.0.1",
        "localhost.",
        "local",
        "127.1",
        "::ffff:10.0.0.1",
        "a b",
    ):
        assert not is_loopback(host)
