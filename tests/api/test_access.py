"""Keys over HTTP: who is let in, for what, and until when."""

import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from anyio.from_thread import BlockingPortal
from sqlalchemy import event, update
from sqlalchemy.exc import OperationalError

from api.access import EVERYONE, FRESH_S, Caller, KeyRing
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
    for path in ("/v1/nope", "/", "/v1/jobs/", "/healthz/", "//healthz", "/healthz/../v1/jobs", "/docs/x", "/problems"):
        problem(bare(api).get(path), 401)


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
    monkeypatch.setattr("api.access.REMEMBERED", 3)
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
