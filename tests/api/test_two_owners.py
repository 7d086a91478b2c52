"""Two owners on one service: what is one's does not exist for the other, however it is asked for."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest
from sqlalchemy import delete

from nas.store import datasets
from nas.store.tables import Job, Trial
from tests.api.client import ApiClient, attach, problem, succeed
from tests.support import random_images, take

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
MISSING: Final = "0123456789ab"
SPEC: Final = {"dataset": "squares", "strategy": "random", "pruning": "none"}
BODIES: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"json": {}},
    {"json": SPEC},
    {"json": {"trials": 5, "budget": {"trials": 50}, "name": "mine"}},
    {"content": b"{", "headers": {"Content-Type": "application/json"}},
    {"headers": {"If-None-Match": "*", "Range": "bytes=0-1", "Idempotency-Key": "k", "Last-Event-ID": "1"}},
)
REQUEST_ID: Final = re.compile(r'"instance": "[0-9a-f]+"')
PERSONAL: Final = ("date", "content-length", "ratelimit", "x-request-id", "server-timing")


@pytest.fixture(scope="module")
def ada(shared_api: ApiClient) -> ApiClient:
    return shared_api.of("ada")


@pytest.fixture(scope="module")
def bob(ada: ApiClient) -> ApiClient:
    return ada.of("bob")


@pytest.fixture(scope="module")
def theirs(ada: ApiClient) -> str:
    """A job of ada's with all that a job can have."""
    job_id = succeed(ada, b"PK secret model")
    ask = ada.post(f"/v1/jobs/{job_id}/trials/0/retrain")
    assert ask.status_code == 202, ask.text
    attach(ada, take(ada.store), "tensorboard", b"secret log")
    return job_id


def paths(api: ApiClient, part: str) -> list[str]:
    found = [path for path in api.get("/openapi.json").json()["paths"] if part in path]
    assert found
    return found


def same(answers: list[httpx.Response], this: str, that: str) -> None:
    """Checks that nothing but the name tells two answers apart."""
    one, other = answers
    where = f"{one.request.method} {one.request.url}"
    assert one.status_code == other.status_code, where
    texts = [REQUEST_ID.sub("", each.text).replace(name, "") for each, name in ((one, this), (other, that))]
    assert texts[0] == texts[1], where
    headers = [{k: v for k, v in each.headers.items() if k not in PERSONAL} for each in (one, other)]
    assert headers[0] == headers[1], where


def test_no_path_tells_anothers_job_from_one_that_is_not_there(ada: ApiClient, bob: ApiClient, theirs: str) -> None:
    declared = bob.get("/openapi.json").json()["paths"]
    before = snapshot(ada, theirs)
    for path in paths(bob, "{job_id}"):
        for method in METHODS:
            for body in BODIES if method in ("POST", "PUT", "PATCH") else BODIES[::5]:
                answers = [
                    bob.request(method, path.format(job_id=job, number=0, kind="package", name="x"), **body)
                    for job in (theirs, MISSING)
                ]
                same(answers, theirs, MISSING)
                if method.lower() in declared[path] and body != BODIES[4]:
                    assert answers[0].status_code == 404, (method, path, answers[0].text)
                    if method != "HEAD":
                        problem(answers[0], 404, f"there is no job '{theirs}'")
                assert answers[0].status_code in (404, 405, 422)
    assert snapshot(ada, theirs) == before


def snapshot(api: ApiClient, job_id: str) -> tuple[Any, ...]:
    job = api.get(f"/v1/jobs/{job_id}").json()
    trials = api.get(f"/v1/jobs/{job_id}/trials").json()["items"]
    return job["state"], job["spec"], [(trial["number"], trial["state"]) for trial in trials]


def test_the_owner_and_an_admin_do_see_it(ada: ApiClient, theirs: str) -> None:
    root = ada.of("root", "admin")
    for api in (ada, root, ada.of("ada", "read")):
        for path in ("", "/dashboard", "/trials", "/trials/0", "/best", "/model", "/tensorboard", "/pareto"):
            assert api.get(f"/v1/jobs/{theirs}{path}").status_code == 200, path
    assert theirs in [job["id"] for job in root.get("/v1/jobs").json()["items"]]


def test_an_admins_jobs_are_their_own(ada: ApiClient, bob: ApiClient) -> None:
    root = ada.of("root", "admin")
    mine = root.add_job()
    for api in (ada, bob):
        problem(api.get(f"/v1/jobs/{mine}"), 404)


def test_lists_hold_ones_own_only(ada: ApiClient, bob: ApiClient, theirs: str) -> None:
    mine = {bob.add_job(name=f"bob {index}") for index in range(5)}
    others = {ada.add_job(name=f"ada {index}") for index in range(5)} | {theirs}
    for api, wanted, alien in ((bob, mine, others), (ada, others, mine)):
        found: list[str] = []
        cursor: str | None = None
        while True:
            page = api.get("/v1/jobs", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
            found += [job["id"] for job in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert wanted <= set(found)
        assert alien.isdisjoint(found)
        assert len(found) == len(set(found))


def test_a_cursor_that_is_anothers_is_none(bob: ApiClient, theirs: str) -> None:
    same([bob.get(f"/v1/jobs?cursor={theirs}"), bob.get(f"/v1/jobs?cursor={MISSING}")], theirs, MISSING)


def test_a_job_cannot_start_from_anothers(bob: ApiClient, theirs: str) -> None:
    answers = [bob.ask(SPEC | {"transfer": {"job": job}}) for job in (theirs, MISSING)]
    assert answers[0].status_code == 422
    same(answers, theirs, MISSING)


def test_answers_are_kept_for_their_owner_only(ada: ApiClient, bob: ApiClient) -> None:
    headers = {"Idempotency-Key": "one-key", "Content-Type": "application/json"}
    body = json.dumps(SPEC).encode()
    first, again, other = (api.post("/v1/jobs", content=body, headers=headers) for api in (ada, ada, bob))
    assert [answer.status_code for answer in (first, again, other)] == [201, 201, 201]
    assert again.json()["id"] == first.json()["id"]
    assert other.json()["id"] != first.json()["id"]
    assert bob.get(f"/v1/jobs/{other.json()['id']}").status_code == 200
    assert ada.post("/v1/jobs", json=SPEC | {"name": "x"}, headers={"Idempotency-Key": "one-key"}).status_code == 409
    assert bob.post("/v1/jobs", json=SPEC | {"name": "x"}, headers={"Idempotency-Key": "one-key"}).status_code == 409


def test_an_answer_that_is_known_by_its_tag_is_anothers_all_the_same(ada: ApiClient, bob: ApiClient) -> None:
    job = ada.add_job()
    tag = ada.get(f"/v1/jobs/{job}/dashboard").headers["ETag"]
    for given in (tag, "*", f"{tag}, W/{tag}"):
        problem(bob.get(f"/v1/jobs/{job}/dashboard", headers={"If-None-Match": given}), 404)


# --- data sets


@pytest.fixture(scope="module")
def secret(ada: ApiClient) -> str:
    datasets.add(ada.store, ada.artifacts, "secret", random_images(8, seed=3), "ada")
    return "secret"


def test_no_path_tells_anothers_data_set_from_one_that_is_not_there(
    ada: ApiClient, bob: ApiClient, secret: str
) -> None:
    for path in [*paths(bob, "/v1/datasets/{name}"), "/v1/datasets/{name}?owner=ada", "/v1/datasets/{name}?owner=bob"]:
        for method in METHODS:
            answers = [bob.request(method, path.format(name=name)) for name in (secret, "nothing")]
            assert answers[0].status_code in (404, 405)
            same(answers, secret, "nothing")
    assert ada.get(f"/v1/datasets/{secret}").status_code == 200


def test_anothers_data_set_can_be_neither_used_nor_listed(ada: ApiClient, bob: ApiClient, secret: str) -> None:
    answers = [bob.ask(SPEC | {"dataset": name}) for name in (secret, "nothing")]
    assert answers[0].status_code == 422
    same(answers, secret, "nothing")
    assert secret not in [row["name"] for row in bob.get("/v1/datasets").json()["items"]]
    assert ada.ask(SPEC | {"dataset": secret}).status_code == 201


def test_a_name_that_another_has_taken_is_free(ada: ApiClient, bob: ApiClient, secret: str) -> None:
    mine = datasets.add(bob.store, bob.artifacts, secret, random_images(8, seed=4), "bob")
    shown = {api: api.get(f"/v1/datasets/{secret}").json() for api in (ada, bob)}
    assert shown[bob]["digest"] == mine.digest != shown[ada]["digest"]
    assert (shown[ada]["owner"], shown[bob]["owner"]) == ("ada", "bob")
    root = ada.of("root", "admin")
    assert [row["owner"] for row in root.get("/v1/datasets").json()["items"] if row["name"] == secret] == ["ada", "bob"]
    assert root.get(f"/v1/datasets/{secret}?owner=bob").json() == shown[bob]
    problem(root.get(f"/v1/datasets/{secret}"), 404)  # what an admin has is theirs
    assert bob.request("DELETE", f"/v1/datasets/{secret}").status_code == 204
    assert ada.get(f"/v1/datasets/{secret}").json() == shown[ada]


def test_what_is_everyones_only_admins_delete(ada: ApiClient, bob: ApiClient) -> None:
    assert bob.ask(SPEC | {"dataset": "digits"}).status_code == 201
    problem(ada.request("DELETE", "/v1/datasets/digits"), 403, "only admins")
    answer = ada.of("root", "admin").request("DELETE", "/v1/datasets/digits")
    problem(answer, 409, "refers to it")
    assert ada.get("/v1/datasets/digits").json()["owner"] is None


# --- all that one sees


@pytest.fixture
def walls(ada: ApiClient, bob: ApiClient) -> Iterator[tuple[str, str]]:
    mine = bob.add_job(name="of bob")
    alien = ada.add_job(name="private-name", priority=100)
    with ada.store.write() as session:
        session.get_one(Job, alien).reason = "private-reason"
    yield mine, alien
    with ada.store.write() as session:
        session.execute(delete(Trial).where(Trial.job_id.in_((mine, alien))))


def test_nothing_that_one_reads_names_anything_of_anothers(
    ada: ApiClient, bob: ApiClient, secret: str, walls: tuple[str, str], theirs: str
) -> None:
    mine, alien = walls
    for path, methods in bob.get("/openapi.json").json()["paths"].items():
        if "get" not in methods or path.endswith("/events"):
            continue
        answer = bob.get(path.format(job_id=mine, number=0, name="squares", kind="package"))
        assert answer.status_code < 500
        for word in (alien, theirs, "private", '"ada"', "ada 0"):
            assert word not in answer.text, path
