"""A section of a job's page by itself: a service that answers as the API does, and what it is shown."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, Route

STATES = ("queued", "running", "paused", "complete", "pruned", "infeasible", "failed", "cancelled")


class Service:
    """Answers by path, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, str, Any]] = []

    def __call__(self, route: Route) -> None:
        request = route.request
        parts = urlsplit(request.url)
        sent = request.post_data_json if request.post_data else parse_qs(parts.query)
        self.asked.append((request.method, parts.path, sent))
        found = self.answers.get(f"{request.method} {parts.path}", self.answers.get(parts.path))
        status, body = (
            found(sent) if callable(found) else (200, found) if found is not None else (404, {"detail": "no"})
        )
        kind = "application/json" if status < 400 else "application/problem+json"
        route.fulfill(status=status, content_type=kind, body=json.dumps(body))


def dashboard(**more: Any) -> dict[str, Any]:
    """Of a job with as many trials in each state as is said, at the least."""
    counts = dict.fromkeys(STATES, 0) | more.pop("counts", {})
    job: dict[str, Any] = {
        "id": "j1",
        "name": "mine",
        "state": "running",
        "phase": "search",
        "dataset": "digits",
        "strategy": "tpe",
    }
    job |= {"engine": "optuna", "owner": "me", "priority": 0, "reason": None, "note": None}
    job |= {"created_at": "2026-01-01T10:00:00Z", "started_at": "2026-01-01T10:00:00Z", "finished_at": None}
    base: dict[str, Any] = {
        "job": job | more.pop("job", {}),
        "counts": counts,
        "metric": "accuracy",
        "objectives": [{"metric": "accuracy", "direction": "maximize"}],
        "phases": {"search": {"finished": counts["complete"], "planned": 20}},
        "progress": {"fraction": 0.25, "trials_finished": 5, "trials_planned": 20, "elapsed_s": 100.0, "eta_s": 300.0},
        "reasons": {},
        "cached": 0,
        "running": [],
        "incumbents": [],
        **dict.fromkeys(("best", "waiting", "verdict", "supernet", "pareto")),
    }
    return base | more


def show(page: Page, name: str, shown: dict[str, Any]) -> None:
    """Puts a section into the page, after `shown`."""
    page.evaluate(
        """async ([name, shown]) => {
          const { make } = await import(`/js/sections/${name}.js`);
          window.over = new AbortController();
          window.part = make("j1", { signal: window.over.signal });
          document.querySelector("main").replaceChildren(window.part.element);
          window.part.update(shown);
        }""",
        [name, shown],
    )


def update(page: Page, shown: dict[str, Any]) -> None:
    page.evaluate("(shown) => window.part.update(shown)", shown)


def trial(number: int, **more: Any) -> dict[str, Any]:
    base = {"number": number, "phase": "search", "state": "complete", "reason": None, "accuracy": 0.5, "epoch": 4}
    base |= {"epochs": 4, "params": 1000, "macs": 9000, "front": False, "cached": False, "worker": "w", "attempt": 1}
    return base | {"started_at": "2026-01-01T10:00:00Z", "finished_at": "2026-01-01T10:00:09Z"} | more
