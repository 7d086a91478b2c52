"""Users of the service that bench/chaos.py torments: they ask for jobs, change their minds, and check every answer."""

import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx

from nas import sse

ALLOWED = frozenset({200, 201, 202, 204, 206, 304, 404, 409, 429, 503})
"""Whatever goes wrong, an answer is one of these; 503 and 429 say when to try again."""

TINY: dict[str, Any] = {
    "dataset": "digits",
    "space": {"ops": ["skip_connect", "max_pool_3x3", "sep_conv_3x3"], "nodes": 2, "channels": 4, "cells": 3},
    "strategy": "random",
    "pruning": "none",
    "budget": {"trials": 3, "epochs": 3},
    "final": {"finalists": 1, "controls": 1, "epochs": 1, "seeds": 2},
}
OPEN = ("queued", "running", "paused", "finalizing")


class Users:
    """Threads that use the service until they are told to stop.

    Args:
        url: of the API.
        seed: of what they do.
        most_open: jobs that they have open at a time.
    """

    def __init__(self, url: str, seed: int, most_open: int) -> None:
        self.jobs: set[str] = set()
        self.deleted: set[str] = set()
        self.violations: list[str] = []
        self.answers: Counter[int] = Counter()
        self._url = url
        self._most_open = most_open
        self._stop = threading.Event()
        self._lock = threading.Lock()
        whats = (self._work, self._poll, self._listen)
        self._threads = [
            threading.Thread(target=self._forever, args=(what, random.Random(seed + index)), daemon=True)
            for index, what in enumerate(whats)
        ]

    def begin(self, seconds: float) -> bool:
        """Begins as soon as somebody answers, and returns once a trial is trained; whether that came to be."""
        deadline = time.monotonic() + seconds
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while self._ask(client, "GET", "/readyz") is None and time.monotonic() < deadline:
                time.sleep(0.2)
            self._start()
            while time.monotonic() < deadline:
                for job_id in sorted(self.jobs):
                    shown = self._ask(client, "GET", f"/v1/jobs/{job_id}/trials")
                    if (
                        shown is not None
                        and shown.status_code == 200
                        and any(entry["epoch"] for entry in shown.json()["items"])
                    ):
                        return True
                time.sleep(0.5)
        return False

    def _start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends, once the last answers are there."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def settle(self, seconds: float, keep: Callable[[], None]) -> dict[str, str]:
        """Resumes what is paused, and waits until every job has ended; the states of all jobs."""
        deadline = time.monotonic() + seconds
        states: dict[str, str] = {}
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while time.monotonic() < deadline:
                keep()
                states = {}
                for job_id in sorted(self.jobs - self.deleted):
                    answer = self._ask(client, "GET", f"/v1/jobs/{job_id}")
                    states[job_id] = answer.json()["state"] if answer is not None and answer.status_code == 200 else "?"
                    if states[job_id] == "paused":
                        self._ask(client, "POST", f"/v1/jobs/{job_id}/resume")
                if not any(state in (*OPEN, "?") for state in states.values()):
                    break
                time.sleep(0.5)
        return states

    def _forever(self, what: Callable[[httpx.Client, random.Random], None], rng: random.Random) -> None:
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while not self._stop.is_set():
                try:
                    what(client, rng)
                except Exception as error:
                    self._violation(f"a user could not make sense of an answer: {error!r}")
                self._stop.wait(rng.uniform(0.0, 0.3))

    def _violation(self, text: str) -> None:
        with self._lock:
            self.violations.append(text)

    def _ask(self, client: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response | None:
        """One request; None if nobody answered. Checks the answer."""
        try:
            answer = client.request(method, path, **more)
        except httpx.TransportError:
            return None
        with self._lock:
            self.answers[answer.status_code] += 1
        if answer.status_code not in ALLOWED:
            self._violation(f"{method} {path} was answered with {answer.status_code}: {answer.text[:300]}")
        if answer.status_code in (429, 503) and path != "/readyz" and "Retry-After" not in answer.headers:
            self._violation(f"{method} {path} was answered with {answer.status_code} without a Retry-After")
        return answer

    def _insist(self, client: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response:
        """The same request until it is answered by something else than try again."""
        while True:
            answer = self._ask(client, method, path, **more)
            if answer is not None and answer.status_code not in (429, 503):
                return answer
            time.sleep(0.2)

    def _work(self, client: httpx.Client, rng: random.Random) -> None:
        """Asks for a job, or does something with one that is there."""
        known = sorted(self.jobs - self.deleted)
        answer = self._ask(client, "GET", "/v1/jobs?limit=100")
        if answer is None or answer.status_code != 200:
            return
        listed = {entry["id"]: entry["state"] for entry in answer.json()["items"]}
        if missing := set(known) - set(listed):
            self._violation(f"jobs that were answered for are not listed: {sorted(missing)}")
        open_jobs = [job_id for job_id, state in listed.items() if state in OPEN]
        if len(open_jobs) < self._most_open:
            self._create(client, rng)
            return
        job_id = rng.choice(known or open_jobs)
        action = rng.choice(("pause", "resume", "resume", "resume", "cancel", "delete", "extend", "best", "trials"))
        key = {"Idempotency-Key": uuid.UUID(int=rng.getrandbits(128)).hex}
        match action:
            case "best" | "trials":
                self._ask(client, "GET", f"/v1/jobs/{job_id}/{action}")
            case "delete" if rng.random() < 0.3:
                self.deleted.add(job_id)
                self._insist(client, "DELETE", f"/v1/jobs/{job_id}?force=true")
            case "cancel" | "delete" if rng.random() < 0.8:
                pass  # most jobs are to come to their end
            case "extend":
                trials = self._ask(client, "GET", f"/v1/jobs/{job_id}")
                if trials is not None and trials.status_code == 200 and rng.random() < 0.2:
                    more = {"trials": trials.json()["spec"]["budget"]["trials"] + 1}
                    self._insist(client, "POST", f"/v1/jobs/{job_id}/extend", json=more, headers=key)
            case _:
                path = f"/v1/jobs/{job_id}/{action if action != 'delete' else 'cancel'}"
                self._insist(client, "POST", path, headers=key)

    def _create(self, client: httpx.Client, rng: random.Random) -> None:
        """Asks for a job until there is an answer, and once more: it has to be the same."""
        body = TINY | {"seed": rng.randrange(1000), "name": f"chaos {rng.randrange(10**6)}"}
        headers = {"Idempotency-Key": uuid.UUID(int=rng.getrandbits(128)).hex}
        first = self._insist(client, "POST", "/v1/jobs", json=body, headers=headers)
        again = self._insist(client, "POST", "/v1/jobs", json=body, headers=headers)
        if first.status_code != 201:
            self._violation(f"a job was refused with {first.status_code}: {first.text[:300]}")
        elif first.json() != again.json():
            self._violation(f"the same key made two jobs: {first.text[:100]} and {again.text[:100]}")
        else:
            self.jobs.add(first.json()["id"])

    def _poll(self, client: httpx.Client, rng: random.Random) -> None:
        """Looks at dashboards: what is counted can only grow."""
        for job_id in rng.sample(sorted(self.jobs), min(3, len(self.jobs))):
            answer = self._ask(client, "GET", f"/v1/jobs/{job_id}/dashboard")
            if answer is not None and answer.status_code == 404 and job_id not in self.deleted:
                self._violation(f"job {job_id} is gone")
        self._ask(client, "GET", rng.choice(("/readyz", "/healthz", "/metrics", "/v1/datasets")))

    def _listen(self, client: httpx.Client, rng: random.Random) -> None:
        """Follows a job's events over every interruption: no epoch is told twice, and none is left out."""
        if not self.jobs:
            return
        job_id, last = rng.choice(sorted(self.jobs)), ""
        seen: set[str] = set()
        epochs: dict[int, int] = {}
        deadline = time.monotonic() + 20
        while not self._stop.is_set() and time.monotonic() < deadline and job_id not in self.deleted:
            headers = {"Last-Event-ID": last} if last else {}
            try:
                with client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers, timeout=5) as answer:
                    if answer.status_code not in ALLOWED:
                        self._violation(f"the events of {job_id} were answered with {answer.status_code}")
                    if answer.status_code != 200:
                        time.sleep(0.2)
                        continue
                    for message in sse.messages(answer.iter_lines()):
                        if message.event == "end":
                            return
                        if message.event == "reset":
                            self._violation(f"the events of {job_id} begin anew after {last}")
                            return
                        if message.id and message.data:
                            last = message.id
                            if message.id in seen:
                                self._violation(f"event {message.id} of {job_id} was told twice")
                            seen.add(message.id)
                        if message.event == "epoch":
                            self._note_epoch(job_id, json.loads(message.data), epochs)
                        if self._stop.is_set() or time.monotonic() > deadline:
                            return
            except httpx.TransportError:
                time.sleep(0.1)

    def _note_epoch(self, job_id: str, data: dict[str, Any], epochs: dict[int, int]) -> None:
        number, epoch = data["trial"], data["epoch"]
        if epoch not in (1, epochs.get(number, 0) + 1):
            self._violation(f"epoch {epoch} of trial {number} of {job_id} was told after {epochs.get(number, 0)}")
        epochs[number] = epoch
