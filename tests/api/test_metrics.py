"""GET /metrics, read by Prometheus's own parser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.exc import OperationalError

from api import meters
from api.meters import Meters
from nas.store import metrics, workers
from nas.store.session import Store
from tests.api.client import ApiClient
from tests.support import add_job, open_store, run_trial, take

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(text: str) -> Samples:
    """(name, labels) → value; every family has a help and a type."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        assert family.type in ("gauge", "counter", "histogram"), family.name
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def get(api: ApiClient) -> Samples:
    answer = api.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return read(answer.text)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "FRESH_S", 0.0)


def test_the_figures_are_those_of_the_rows(api: ApiClient) -> None:
    api.add_job(budget={"trials": 3, "epochs": 3})
    run_trial(api.store)
    take(api.store)
    api.add_job()
    with api.store.write() as session:
        workers.register(session, "w", "cuda:0")
        metrics.count_all(session, {("stage_seconds", "train"): 1.5, ("leases_lost", ""): 2, ("unknown", "x"): 1})
    found = get(api)
    assert found["nas_jobs", (("state", "running"),)] == 1
    assert found["nas_jobs", (("state", "queued"),)] == 1
    assert found["nas_jobs", (("state", "failed"),)] == 0  # a state that no job is in is there all the same
    assert found["nas_trials", (("phase", "search"), ("state", "complete"))] == 1
    assert found["nas_trials_running", ()] == 1
    assert found["nas_trials_queued", ()] == 0
    assert found["nas_jobs_waiting", ()] == 1
    assert found["nas_jobs_waiting_oldest_seconds", ()] >= 0
    assert found["nas_workers", (("device", "cuda"),)] == 1
    assert found["nas_stage_seconds_total", (("stage", "train"),)] == 1.5
    assert found["nas_leases_lost_total", ()] == 2
    assert found["nas_database_up", ()] == 1
    assert found["nas_event_streams", ()] == 0
    assert found["nas_stored_bytes", ()] > 0  # of the data set
    assert [labels for name, labels in found if name == "nas_build_info"] != []
    assert not any("unknown" in name for name, _ in found)


def test_requests_are_counted_by_route_and_never_by_path(api: ApiClient) -> None:
    job_id = api.add_job()
    for path in (f"/v1/jobs/{job_id}", "/v1/jobs/nothing", "/v1/jobs/other", "/no/such/path", "/nor/this"):
        api.get(path)
    api.request("BREW", "/v1/jobs")
    found = get(api)
    counts = {
        (dict(labels)["route"], dict(labels)["method"], dict(labels)["status"]): value
        for (name, labels), value in found.items()
        if name == "nas_http_request_seconds_count"
    }
    assert counts["/v1/jobs/{job_id}", "GET", "200"] == 1
    assert counts["/v1/jobs/{job_id}", "GET", "404"] == 2
    assert counts["/v1/jobs", "POST", "201"] == 1
    assert counts["unmatched", "GET", "404"] == 2
    assert sum(value for (_, method, _), value in counts.items() if method == "OTHER") == 1
    assert {route for route, _, _ in counts} <= {"/v1/jobs", "/v1/jobs/{job_id}", "unmatched"}
    buckets = [value for (name, labels), value in found.items() if name == "nas_http_request_seconds_bucket"]
    assert sum(value == 1 for value in buckets) > 0
    assert found["nas_http_requests_in_flight", ()] == 1  # this one


def test_what_an_app_counts_is_its_own(api: ApiClient, tmp_path: Path) -> None:
    api.get("/v1/jobs")
    with open_store("sqlite", tmp_path) as store:
        other = read(Meters(store, 30.0, lambda: 3).text().decode())
    assert not any(name.startswith("nas_http_request_seconds") for name, _ in other)
    assert other["nas_event_streams", ()] == 3


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store("sqlite", tmp_path) as opened:
        yield opened


def test_the_database_is_asked_once_in_a_while(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "FRESH_S", 5.0)
    moment = 0.0
    kept = Meters(store, 30.0, lambda: 0, clock=lambda: moment)
    jobs = ("nas_jobs", (("state", "queued"),))
    assert read(kept.text().decode())[jobs] == 0
    add_job(store)
    moment = 4.9
    assert read(kept.text().decode())[jobs] == 0
    moment = 5.1
    assert read(kept.text().decode())[jobs] == 1


def test_a_database_that_is_away_is_a_figure_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OperationalError("SELECT", {}, Exception("the server closed the connection"))

    kept = Meters(store, 30.0, lambda: 0)
    with monkeypatch.context() as broken:
        broken.setattr(metrics, "figures", away)
        found = read(kept.text().decode())
    assert found["nas_database_up", ()] == 0
    assert not any(name == "nas_jobs" for name, _ in found)
    assert read(kept.text().decode())["nas_database_up", ()] == 1
