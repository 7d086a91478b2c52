"""Every request has an id, which its answer and all lines of the log about it say."""

import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

from nas.log import Json
from tests.api.client import ApiClient


class Lines(logging.Handler):
    """Keeps lines as JSON has them: formatted at once, as their ids are those of the moment."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(Json())
        self.found: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(json.loads(self.format(record)))


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """The lines of our own packages."""
    handler = Lines()
    logger = logging.getLogger("api")
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.INFO)
    yield handler.found
    logger.removeHandler(handler)
    logger.setLevel(before)


def test_a_request_is_a_line_with_its_route(api: ApiClient, lines: list[dict[str, Any]]) -> None:
    job_id = api.add_job()
    lines.clear()
    answer = api.get(f"/v1/jobs/{job_id}")
    [line] = lines
    assert {name: line[name] for name in ("level", "logger", "method", "route", "status", "job_id")} == {
        "level": "INFO",
        "logger": "api.requests",
        "method": "GET",
        "route": "/v1/jobs/{job_id}",
        "status": 200,
        "job_id": job_id,
    }
    assert line["ms"] > 0
    assert line["request_id"] == answer.headers["X-Request-ID"]
    assert re.fullmatch(r"GET /v1/jobs/\{job_id\} 200 \d+\.\d ms", line["message"])


def test_what_machines_ask_for_all_the_time_is_no_line(api: ApiClient, lines: list[dict[str, Any]]) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert api.get(path).status_code == 200
    assert lines == []


def test_a_line_below_the_level_is_not_written(api: ApiClient, lines: list[dict[str, Any]]) -> None:
    logging.getLogger("api").setLevel(logging.WARNING)
    api.get("/v1/jobs")
    assert lines == []


def test_an_id_is_taken_over(api: ApiClient) -> None:
    answer = api.get("/v1/jobs", headers={"X-Request-ID": "Trace.7_of-9"})
    assert answer.headers["X-Request-ID"] == "Trace.7_of-9"


@pytest.mark.parametrize("given", ["", "a b", "a\tb", "x" * 129, "é", 'a"b', "a/b", "{}"])
def test_an_id_that_cannot_be_one_is_replaced(api: ApiClient, given: str, lines: list[dict[str, Any]]) -> None:
    answer = api.get("/v1/jobs", headers={"X-Request-ID": given.encode()})
    assert answer.status_code == 200
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["X-Request-ID"])
    assert lines[-1]["request_id"] == answer.headers["X-Request-ID"]


def test_of_two_ids_none_is_taken(api: ApiClient) -> None:
    answer = api.get("/v1/jobs", headers=[("X-Request-ID", "a"), ("X-Request-ID", "b")])
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["X-Request-ID"])


def test_two_requests_have_two_ids(api: ApiClient) -> None:
    assert api.get("/v1/jobs").headers["X-Request-ID"] != api.get("/v1/jobs").headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/jobs/nothing", 404), ("GET", "/nowhere", 404), ("POST", "/v1/jobs", 422), ("PATCH", "/v1/jobs", 405)],
)
def test_an_error_has_its_id_and_its_line_too(
    api: ApiClient, lines: list[dict[str, Any]], method: str, path: str, status: int
) -> None:
    answer = api.request(method, path)
    assert answer.status_code == status
    assert lines[-1]["status"] == status
    assert lines[-1]["request_id"] == answer.headers["X-Request-ID"]


def test_an_answer_that_is_too_large_to_be_read_has_an_id(api: ApiClient) -> None:
    """It is refused before any route sees it."""
    answer = api.post("/v1/jobs", content=b"x" * (2 << 20))
    assert answer.status_code == 413
    assert answer.headers["X-Request-ID"]
