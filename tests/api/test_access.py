"""Keys over HTTP: who is let in, for what, and until when."""

import secrets
import threading
import time
from collections.abc import Iterator, MutableMapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from anyio.from_thread import BlockingPortal
from sqlalchemy import event, update
from sqlalchemy.exc import OperationalError

from api.access import is_open
from api.keyring import EVERYONE, FRESH_S, Caller, KeyRing
from api.main import create_app
from nas.errors import Unauthorized
from nas.settings import Settings
from nas.store import keys
from nas.store.keys import Scope
from nas.store.session import Store, now
from nas.store.tables import LOCAL, ApiKey
from tests.api.client import ApiClient, calling, problem
from tests.api.conftest import started
from tests.processes import until


@pytest.fixture(scope="module")
def api(shared_api: ApiClient) -> ApiClient:
    """One for all tests, with a key that writes."""
    return shared_api.of("ada")


@pytest.fixture(scope="module")
def scoped(api: ApiClient) -> dict[Scope, ApiClient]:
    return {scope: api.of("ada", scope) for scope in Scope}


def bare(api: ApiClient) -> ApiClient:
    return replace(api, key=None)


# --- which keys

MALFORMED = [
    "",
    "Bearer",
    "Bearer ",
    "Basic bmFzOm5hcw==",
    "bearer",
    "nas_abc",
    "Bearer nas_abc",
    f"Bearer nas_{'a' * 8}_{'a' * 43}",
    "Bearer \x00",
    "Bearer " + "a" * 5000,
    "Bearer é",
    "Bearer a b",
    "Bearer ' OR 1=1 --",
    ",",
]


def test_without_a_key_there_is_a_challenge(api: ApiClient) -> None:
    answer = bare(api).get("/v1/jobs")
    problem(answer, 401, "asks for an API key", "Authorization: Bearer", "nas keys create")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", MALFORMED)
def test_what_is_no_key_is_refused(api: ApiClient, header: str) -> None:
    answer = bare(api).get("/v1/jobs", headers={b"Authorization": header.encode("latin-1")})
    problem(answer, 401)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert len(header) < 10 or header.removeprefix("Bearer ") not in answer.json()["detail"]


def test_a_key_is_taken_in_any_case_of_its_scheme_but_once(api: ApiClient) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert bare(api).get("/v1/jobs", headers={"Authorization": f"{scheme} {api.key}"}).status_code == 200
    twice = [("Authorization", f"Bearer {api.key}"), ("Authorization", "Bearer x")]
    problem(bare(api).get("/v1/jobs", headers=twice), 401, "there once")
    problem(bare(api).get(f"/v1/jobs?key={api.key}&access_token={api.key}"), 401)


def test_paths_that_do_not_exist_need_a_key_too(api: ApiClient) -> None:
    for path in ("/v1/nope", "/v1/jobs/", "/v1/", "/metrics/", "/session/x", "/healthz/../v1/jobs", "/./v1/jobs"):
        problem(bare(api).get(path), 401)


def test_pages_need_none_and_hold_nothing_of_anybody(api: ApiClient) -> None:
    job = api.add_job(name="mine alone")
    for path in ("/", "/new", "/login", "/datasets", f"/jobs/{job}", f"/jobs/{job}/trials/0", "/jobs/no-such-job"):
        answer = bare(api).get(path)
        assert answer.status_code == 200
        assert "mine alone" not in answer.text
        assert answer.text == bare(api).get("/").text


SPELLINGS = (
    "/{0}",
    "//{0}",
    "/./{0}",
    "/x/../{0}",
    "/%2e/{0}",
    "/x/%2e%2e/{0}",
    "/{1}",
    "/{2}",
    "/{3}",
    "/{0};x",
    "/{0}%00",
)


def spelled(path: str) -> Iterator[str]:
    """A path in all the ways that something between a client and the routes might take for the same one."""
    bare_path = path.removeprefix("/")
    first, _, rest = bare_path.partition("/")
    forms = (bare_path, f"{first.upper()}/{rest}", f"{first}%2f{rest}", f"{first}//{rest}")
    yield from (spelling.format(*forms) for spelling in SPELLINGS)
    yield from (f"/static/x/..{path}", f"/static/x/%2e%2e/%2e%2e{path}", f"/%76{bare_path[1:]}", f"/{bare_path}/")


def sent_as_it_is(api: ApiClient, method: str, path: str) -> int:
    """The status for a path that no client has put right, without a key."""
    told: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        told.extend([message["status"]] if message["type"] == "http.response.start" else [])

    scope = {"type": "http", "method": method, "path": unquote(path), "raw_path": path.encode(), "root_path": ""}
    scope |= {"scheme": "http", "http_version": "1.1", "query_string": b"", "headers": [(b"host", b"test")]}
    app: Any = api.http._transport
    api.portal.call(app.app, scope, receive, send)
    return told[0]


def test_no_way_to_spell_a_path_of_the_api_leads_around_the_key(api: ApiClient) -> None:
    job = api.add_job()
    documented = api.get("/openapi.json").json()["paths"]
    named = [
        path.format(job_id=job, number=0, kind="package", name="squares")
        for path in documented
        if not is_open(path) or path == "/session"
    ]
    assert len(named) > 15
    for path in named:
        for form in spelled(path):
            for method in ("GET", "HEAD", "DELETE"):
                status = sent_as_it_is(api, method, form)
                told = (method, path) == ("GET", "/session")  # that nobody is logged in
                assert status in (307, 401, 404, 405) or (told and status == 200), (method, form, status)
    assert api.get(f"/v1/jobs/{job}").status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/docs", "/problems/not-found"])
def test_what_tells_of_nobody_needs_none(api: ApiClient, path: str) -> None:
    assert bare(api).get(path).status_code == 200
    assert bare(api).get(path, headers={"Authorization": "Bearer nonsense"}).status_code == 200


# --- scopes


def test_a_scope_allows_what_it_says_and_no_more(scoped: dict[Scope, ApiClient]) -> None:
    job = scoped[Scope.WRITE].add_job()
    wanted = {Scope.READ: (403, 403, 200, 403), Scope.WRITE: (201, 200, 200, 403), Scope.ADMIN: (201, 200, 200, 200)}
    for scope, (posted, cancelled, read, metrics) in wanted.items():
        api = scoped[scope]
        assert api.ask({"dataset": "squares", "strategy": "random"}).status_code == posted
        assert api.post(f"/v1/jobs/{job}/cancel").status_code == cancelled
        assert api.get(f"/v1/jobs/{job}").status_code == read
        assert (api.get("/metrics").status_code == 403) == (metrics == 403)
    said = problem(scoped[Scope.READ].post(f"/v1/jobs/{job}/cancel"), 403, "the scope write", "is read")
    assert said["type"] == "/problems/forbidden"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "BREW", "post", "TRACE", "CONNECT"])
def test_nothing_but_reading_is_reading(scoped: dict[Scope, ApiClient], method: str) -> None:
    problem(scoped[Scope.READ].request(method, "/v1/jobs"), 403)


# --- when


class Clock:
    """Seconds that a test moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = Store(settings.database_url)
    yield opened
    opened.close()


def make(store: Store) -> str:
    with store.write() as session:
        return keys.create(session, "ada", Scope.WRITE)[1]


def who(portal: BlockingPortal, ring: KeyRing, key: str | None) -> Caller | None:
    try:
        return portal.call(ring.caller, [] if key is None else [f"Bearer {key}"])
    except Unauthorized:
        return None


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"], indirect=False)
def test_keys_begin_and_end_within_a_second(backend: str, store: Store, shared_api: ApiClient) -> None:
    portal, clock = shared_api.portal, Clock()
    ring = KeyRing(store, clock=clock)
    assert who(portal, ring, None) is EVERYONE
    key, other = make(store), make(store)
    clock.now += FRESH_S
    assert who(portal, ring, None) is None
    assert (who(portal, ring, key) or EVERYONE).owner == "ada"
    with store.write() as session:
        keys.revoke(session, key)
    clock.now += FRESH_S
    assert who(portal, ring, key) is None
    assert who(portal, ring, other) is not None
    with store.read() as session:
        moment = now(session)
    with store.write() as session:
        session.execute(update(ApiKey).values(expires_at=moment - timedelta(seconds=1)))
    clock.now += FRESH_S
    assert who(portal, ring, other) is None
    assert who(portal, ring, None) is None  # that the last one has ended opens nothing


def test_a_key_that_is_remembered_ends_when_it_was_to(store: Store, shared_api: ApiClient) -> None:
    with store.write() as session:
        _, key = keys.create(session, "ada", Scope.READ, now(session) + timedelta(seconds=0.5))
    clock = Clock()
    ring = KeyRing(store, clock=clock)
    assert who(shared_api.portal, ring, key) is not None
    time.sleep(0.6)
    clock.now += 0.6
    assert who(shared_api.portal, ring, key) is None


def test_a_key_in_use_is_looked_up_once_a_second(store: Store, shared_api: ApiClient) -> None:
    key = make(store)
    clock = Clock()
    ring = KeyRing(store, clock=clock)
    assert who(shared_api.portal, ring, key) is not None
    seen = Visits(store)
    for _ in range(100):
        clock.now += FRESH_S / 101
        assert who(shared_api.portal, ring, key) is not None
    assert seen.count == 0
    clock.now += FRESH_S
    assert who(shared_api.portal, ring, key) is not None
    assert seen.count == 1


class Visits:
    """How often a store was asked since then."""

    def __init__(self, store: Store) -> None:
        self.count = 0
        event.listen(store.engine, "checkout", self._checkout)

    def _checkout(self, *_: object) -> None:
        self.count += 1


def test_one_process_remembers_so_many_keys_and_no_more(
    store: Store, shared_api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.owners.REMEMBERED", 3)
    ring = KeyRing(store)
    made = [make(store) for _ in range(5)]
    assert all(who(shared_api.portal, ring, key) for key in made)
    assert len(ring._known) == 3


def test_the_last_use_of_a_key_is_shown(api: ApiClient) -> None:
    mine = api.of("eve")
    assert mine.get("/v1/jobs").status_code == 200
    with api.store.read() as session:
        used = {row.owner: row.used_at for row in keys.listed(session)}
    assert used["eve"] is not None


def test_many_at_once_are_told_apart(api: ApiClient) -> None:
    people = {name: api.of(name) for name in ("p1", "p2", "p3", "p4")}
    for name, person in people.items():
        person.add_job(name=name)
    wrong: list[str] = []

    def look(name: str) -> None:
        for _ in range(15):
            items = people[name].get("/v1/jobs").json()["items"]
            wrong.extend(item["name"] for item in items if item["name"] != name)

    threads = [threading.Thread(target=look, args=(name,)) for name in people for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- where there are none, and where there is one of one's own


def test_without_keys_everything_is_local(settings: Settings) -> None:
    with started(settings) as api:
        job = api.add_job()
        assert api.get(f"/v1/jobs/{job}", headers={"Authorization": "Bearer whatever"}).status_code == 200
        ada, local = api.of("ada"), api.of(LOCAL)
        wait_until_required(api)
        problem(ada.get(f"/v1/jobs/{job}"), 404)
        assert local.get(f"/v1/jobs/{job}").status_code == 200
        assert api.of("root", "admin").get(f"/v1/jobs/{job}").status_code == 200


def wait_until_required(api: ApiClient) -> None:
    until(lambda: bare(api).get("/v1/jobs").status_code == 401, "the service asking for keys", 10)


def test_whoever_starts_a_service_has_a_key_that_is_in_no_database(settings: Settings) -> None:
    own = secrets.token_urlsafe(32)
    with calling(create_app(settings, own)) as api:
        api.of("ada")
        for key, status in ((own, 200), (own[:-1], 401), (own + "x", 401), ("", 401), ("é", 401)):
            header = {b"Authorization": f"Bearer {key}".encode("latin-1")}
            assert bare(api).get("/v1/jobs", headers=header).status_code == status


def test_a_database_that_is_gone_is_not_a_wrong_key(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"))

    other = api.of("late")
    monkeypatch.setattr(keys, "recognise", gone)
    answer = other.get("/v1/jobs")
    problem(answer, 503, "does not answer")
    assert int(answer.headers["Retry-After"]) > 0
    assert bare(api).get("/healthz").status_code == 200
