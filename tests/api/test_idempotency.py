"""The same key: the same answer, and nothing is done twice."""

import json
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, update

from nas.client import Client, NoService
from nas.settings import Settings
from nas.store import answers
from nas.store.session import Store
from nas.store.tables import Answer, Job
from tests.api.client import ApiClient, fault
from tests.api.conftest import started
from tests.support import BACKENDS, run_trial, together

BODY = {"dataset": "squares", "strategy": "random", "pruning": "none"}


BOTH = pytest.mark.parametrize("backend", BACKENDS)


def ask(api: ApiClient, key: str, body: Any = BODY, path: str = "/v1/jobs") -> Any:
    return api.post(path, json=body, headers={"Idempotency-Key": key})


def count(store: Store, table: Any = Job) -> int:
    with store.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


@BOTH
def test_a_job_that_is_asked_for_again_with_the_same_key_is_the_same_job(api: ApiClient) -> None:
    first, again = ask(api, "one"), ask(api, "one", dict(reversed(BODY.items())))
    assert (first.status_code, again.status_code) == (201, 201)
    assert (first.content, first.headers["Location"]) == (again.content, again.headers["Location"])
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Content-Type"] == first.headers["Content-Type"]
    assert count(api.store) == 1
    assert ask(api, "two").json()["id"] != first.json()["id"]
    assert api.ask(BODY).status_code == 201
    assert count(api.store) == 3


def test_a_key_stands_for_one_request(api: ApiClient) -> None:
    job_id = ask(api, "one").json()["id"]
    mend = "it stands for another request; take a new key, or send that request again as it was"
    for body, path in (
        (BODY | {"seed": 1}, "/v1/jobs"),
        (BODY, "/v1/jobs?x=1"),
        (BODY | {"seed": "wrong"}, "/v1/jobs"),
        (BODY, f"/v1/jobs/{job_id}/clone"),
        ({}, f"/v1/jobs/{job_id}/pause"),
    ):
        found = fault(ask(api, "one", body, path), "Idempotency-Key", mend, status=409)
        assert found["value"] == "one"
    assert count(api.store) == 1


def test_every_post_that_changes_a_job_is_done_once(api: ApiClient) -> None:
    job_id = ask(api, "make").json()["id"]
    at = f"/v1/jobs/{job_id}"
    run_trial(api.store)
    for what, body in (
        ("trials/0/retrain", None),
        ("pause", None),
        ("resume", None),
        ("extend", {"trials": 99}),
        ("clone", {}),
        ("cancel", None),
    ):
        first = api.post(f"{at}/{what}", json=body, headers={"Idempotency-Key": what})
        again = api.post(f"{at}/{what}", json=body, headers={"Idempotency-Key": what})
        assert first.status_code in (200, 201, 202), first.text
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert again.headers["Idempotency-Replayed"] == "true"
    assert count(api.store) == 2
    late = api.post(f"{at}/pause", headers={"Idempotency-Key": "pause"})
    assert late.json()["state"] == "paused", "what was answered then, whatever has happened since"


def test_a_refusal_is_not_kept(api: ApiClient) -> None:
    assert ask(api, "one", BODY | {"seed": -1}).status_code == 422
    assert ask(api, "one", BODY | {"dataset": "circles"}).status_code == 422
    assert count(api.store, Answer) == 0
    assert ask(api, "one").status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "caf\xe9"])
def test_a_key_is_a_short_line_of_printable_characters(api: ApiClient, key: str) -> None:
    answer = api.post("/v1/jobs", json=BODY, headers={b"Idempotency-Key": key.encode("latin-1")})
    fault(answer, "Idempotency-Key")
    assert ask(api, "x" * 255).status_code == 201


@BOTH
def test_of_many_at_the_same_moment_one_makes_the_job(api: ApiClient) -> None:
    found = together(6, lambda _: ask(api, "one"))
    assert [answer.status_code for answer in found] == [201] * 6
    assert len({answer.content for answer in found}) == 1
    assert sorted("Idempotency-Replayed" in answer.headers for answer in found) == [False] + [True] * 5
    assert count(api.store) == 1


@BOTH
def test_a_key_is_free_again_after_a_day(api: ApiClient) -> None:
    first = ask(api, "one").json()["id"]
    ask(api, "two")
    with api.store.write() as session:
        session.execute(update(Answer).where(Answer.key == "one").values(created_at=Answer.created_at))
        row = session.get_one(Answer, ("local", "one"))
        row.created_at -= timedelta(hours=24, seconds=1)
    assert ask(api, "one", BODY | {"seed": 7}).json()["id"] != first
    with api.store.write() as session:
        assert answers.expire(session) == 0
        session.get_one(Answer, ("local", "one")).created_at -= timedelta(hours=25)
    with api.store.write() as session:
        assert answers.expire(session) == 1
    assert count(api.store, Answer) == 1


@BOTH
def test_an_answer_is_there_if_and_only_if_the_job_is(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as broken:
        broken.setattr(answers, "keep", killed)
        assert ask(api, "one").status_code == 500
    assert (count(api.store), count(api.store, Answer)) == (0, 0)
    assert ask(api, "one").status_code == 201


def test_an_owner_has_no_more_open_jobs_than_allowed(settings: Settings) -> None:
    from dataclasses import replace

    with started(replace(settings, max_open_jobs=2)) as api:
        first = ask(api, "one")
        assert ask(api, "two").status_code == 201
        refused = ask(api, "three")
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) > 0
        assert "NAS_MAX_OPEN_JOBS" in refused.json()["detail"]
        assert api.post(f"{first.headers['Location']}/clone").status_code == 429
        assert ask(api, "one").status_code == 201, "it has been made already"
        api.post(f"{first.headers['Location']}/cancel")
        assert ask(api, "three").status_code == 201
        assert api.post(f"{first.headers['Location']}/extend", json={"trials": 99}).status_code == 429
    assert json.loads(first.content)["state"] == "queued"


def test_the_client_asks_again_when_the_answer_is_lost(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client, lost = Client("http://test"), [httpx.ReadError("reset"), httpx.ConnectError("refused")]

    def request(method: str, url: str, **options: Any) -> httpx.Response:
        if not lost or len(lost) == 2:  # the first request arrives, and its answer is lost
            answer = api.request(method, url, **options)
        if lost:
            raise lost.pop(0)
        return answer

    monkeypatch.setattr(client._sender.http, "request", request)
    monkeypatch.setattr("nas.client.sending.time.sleep", lambda _: None)
    job = client.search(BODY)
    assert (client.job(job.id).id, count(api.store)) == (job.id, 1)
    first, second = (job.clone(seed=1, idempotency_key="k") for _ in range(2))
    assert first.id == second.id
    lost += [httpx.ConnectError("refused")] * 3
    with pytest.raises(NoService, match="no service answers"):
        job.pause()
    assert len(lost) == 2, "what never arrived is not sent again"
