"""A client that calls the app without a network, from tests that are not async."""

import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI

from api.deps import Parts
from api.problems import PROBLEMS
from nas.store import datasets, keys, phases, trials
from nas.store.artifacts import ArtifactStore
from nas.store.claims import Claim
from nas.store.phases import NewTrial
from nas.store.session import Store
from nas.store.states import Phase, TrialState
from tests.support import digest, random_images, run_trial, take


@dataclass(frozen=True)
class ApiClient:
    """Sends requests to an app that has started; an exception in the app is an answer of 500, as on a server."""

    parts: Parts
    portal: BlockingPortal
    http: httpx.AsyncClient
    key: str | None = None

    @property
    def store(self) -> Store:
        """The app's database."""
        return self.parts.store

    @property
    def artifacts(self) -> ArtifactStore:
        """The app's files."""
        return self.parts.artifacts

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Any request, with the key if there is one."""
        if self.key is not None:
            options["headers"] = {"Authorization": f"Bearer {self.key}"} | dict(options.get("headers") or {})

        async def send() -> httpx.Response:
            return await self.http.request(method, url, **options)

        return self.portal.call(send)

    def of(self, owner: str, scope: str = "write") -> "ApiClient":
        """The same app with a new key of that owner's, who has `squares`: from the first one on it asks for keys."""
        datasets.add(self.store, self.artifacts, "squares", random_images(8), owner)
        with self.store.write() as session:
            _, key = keys.create(session, owner, keys.Scope(scope))
        return replace(self, key=key)

    def get(self, url: str, **options: Any) -> httpx.Response:
        """GET."""
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> httpx.Response:
        """POST."""
        return self.request("POST", url, **options)

    def ask(self, body: object, media_type: str = "application/json") -> httpx.Response:
        """POSTs a job; bytes and text are sent as they are, anything else as JSON."""
        content = body if isinstance(body, str | bytes) else json.dumps(body)
        return self.post("/v1/jobs", content=content, headers={"Content-Type": media_type})

    def add_job(self, **more: Any) -> str:
        """The id of a new job on `squares`, with nothing before its search and no rungs in it."""
        answer = self.ask({"dataset": "squares", "strategy": "random", "pruning": "none"} | more)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])


@contextmanager
def calling(app: FastAPI) -> Iterator[ApiClient]:
    """Starts the app, and ends it."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(app.router.lifespan_context(app)),
        portal.wrap_async_context_manager(httpx.AsyncClient(transport=transport, base_url="http://test")) as http,
    ):
        yield ApiClient(app.state.parts, portal, http)


def problem(answer: httpx.Response, status: int, *words: str) -> dict[str, Any]:
    """Checks that the answer is an RFC 9457 document with that status, whose detail has these words; the document."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert set(document) - {"instance"} == {"type", "title", "status", "detail", "errors"}
    assert document["status"] == status
    kind = PROBLEMS[document["type"].removeprefix("/problems/")]
    assert (document["title"], status) == (kind.title, kind.status)
    assert document["detail"]
    for word in words:
        assert word in document["detail"], document["detail"]
    for error in document["errors"]:
        assert set(error) == {"field", "value", "mend"}
        assert error["field"]
        assert error["mend"]
        assert error["field"] in document["detail"]
        assert error["mend"] in document["detail"]
    return document


def fault(answer: httpx.Response, field: str, *mend: str, status: int = 422) -> dict[str, Any]:
    """Checks that the answer finds fault with that field and says these words on how to mend it; what it says."""
    faults = [error for error in problem(answer, status)["errors"] if error["field"] == field]
    assert len(faults) == 1, answer.text
    for word in mend:
        assert word in faults[0]["mend"], faults[0]["mend"]
    return dict(faults[0])


def succeed(api: ApiClient, package: bytes = b"PK zip") -> str:
    """A job that has run to its end; its id."""
    job_id = api.add_job(budget={"trials": 2, "epochs": 3})
    first = run_trial(api.store, accuracy=0.6)
    run_trial(api.store, accuracy=0.8)
    with api.store.read() as session:
        seen = phases.standstill(session)
    assert seen is not None
    with api.store.write() as session:
        phases.go_on(session, seen, [NewTrial(Phase.REPORT, 0)])
    final = take(api.store)
    verdict = {"shipped": {"accuracy": 0.75}, "text": "search beat random by 1.0 ± 0.5 points"}
    with api.store.write() as session:
        phases.succeed(session, final, verdict, api.artifacts.put(package), digest(first.trial_id))
    return job_id


def retrain(api: ApiClient, package: bytes) -> Claim:
    """Takes the retraining that is queued, and ends it with that package."""
    taken = take(api.store)
    assert taken.phase == Phase.RETRAIN
    with api.store.write() as session:
        trials.attach(session, taken, "package", api.artifacts.put(package))
        trials.finish(session, taken, TrialState.COMPLETE)
    return taken


def attach(api: ApiClient, claim: Claim, kind: str, content: bytes) -> None:
    """Gives a trial a file of a kind."""
    with api.store.write() as session:
        trials.attach(session, claim, kind, api.artifacts.put(content))


def log_of(content: bytes) -> dict[str, bytes]:
    """The members of a zip."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
