"""Schemathesis over the OpenAPI document: whatever is sent to whatever route, the answer is one that it declares.

It draws requests that follow the document and requests that do not, the same ones every time, and looks whether the
answers are as documented: status, headers, type and content; that nothing but 401 comes without a key; and never a 5xx.
"""

from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from api.main import create_app
from nas.settings import Settings
from nas.store import datasets, keys
from tests.support import database, random_images

GIVEN: Final = {"NAS_RATE_PER_MINUTE": "0", "NAS_MAX_OPEN_JOBS": "0"}

CONFIG: Final[dict[str, Any]] = {
    "seed": 1,
    "generation": {"deterministic": True, "database": "none", "max-examples": 2},
    "phases": {"stateful": {"enabled": False}},
    "checks": {
        # That a cursor is one that was handed out, that 1.0 is no whole number, that a file holds images: all refused,
        # and none of it can be said in a schema.
        "positive_data_acceptance": {"enabled": False},
    },
    "operations": [
        # The cases that its schema alone makes take it ten seconds to find; test_fuzz.py draws better ones.
        {"include-name": "POST /v1/jobs", "phases": {"coverage": {"enabled": False}}},
        {
            "include-name": "POST /v1/jobs/estimate",
            "phases": {"coverage": {"enabled": False}},
            # With `check` what is wrong is the answer, and its status 200.
            "checks": {"negative_data_rejection": {"enabled": False}},
        },
    ],
}


def faults(home: Path, *, key: bool, only: str | None = None, **more: Any) -> tuple[Counter[str], list[str]]:
    """How many requests each operation got, and what was wrong with the answers."""
    settings = Settings.read(GIVEN | {"NAS_HOME": str(home), "NAS_DATABASE_URL": database("sqlite", home)})
    app = create_app(settings)
    parts = app.state.parts
    datasets.add(parts.store, parts.artifacts, "digits", random_images(8))  # what the examples ask for
    config = CONFIG | more
    if key:
        with parts.store.write() as session:
            _, made = keys.create(session, "ada", keys.Scope.ADMIN)
        config |= {"headers": {"Authorization": f"Bearer {made}"}}
    schema: Any = schemathesis.openapi.from_asgi("/openapi.json", app, config=SchemathesisConfig.from_dict(config))
    if only is not None:
        schema = schema.include(name=only)
    sent: Counter[str] = Counter()
    found: list[str] = []
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            sent[event.recorder.label] += len(event.recorder.cases)
            for checks in event.recorder.checks.values():
                failed = ((check.name, check.failure_info) for check in checks if check.failure_info is not None)
                found += [f"{name}: {info.failure}\n{info.code_sample}" for name, info in failed]
        elif isinstance(event, events.NonFatalError):
            found.append(f"{event.label}: {event.value}")
        elif isinstance(event, events.FatalError):
            raise event.exception
    return sent, found


def test_with_keys_every_answer_is_as_documented(tmp_path: Path) -> None:
    sent, found = faults(tmp_path, key=True)
    assert found == []
    assert sum(sent.values()) > 300
    assert all(count > 0 for count in sent.values())


def test_without_keys_it_is_so_too(tmp_path: Path) -> None:
    sent, found = faults(tmp_path, key=False, phases={"stateful": {"enabled": False}, "coverage": {"enabled": False}})
    assert found == []
    assert sum(sent.values()) > 50


def test_a_fault_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("nas.store.jobs.page", broken)
    _, found = faults(tmp_path, key=False, only="GET /v1/jobs")
    assert found
