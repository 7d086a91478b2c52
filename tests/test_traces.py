"""Spans reach a collector over HTTP, and nobody waits for one that is away."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from api.main import create_app
from nas import traces
from nas.errors import SettingsError
from nas.settings import Settings
from nas.traces import Tracing
from tests.api.client import calling
from tests.api.conftest import started
from tests.support import database


@dataclass
class Collector:
    """What a collector was sent."""

    url: str
    paths: list[str] = field(default_factory=list)
    services: set[str] = field(default_factory=set)
    spans: list[Any] = field(default_factory=list)

    def named(self, name: str) -> Any:
        """The one span of that name."""
        [found] = [span for span in self.spans if span.name == name]
        return found


def attributes(span: Any) -> dict[str, Any]:
    return {entry.key: getattr(entry.value, entry.value.WhichOneof("value")) for entry in span.attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port that takes OTLP as protobuf."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/x-protobuf"
            collector.paths.append(self.path)
            if self.headers.get("Content-Encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                named = {entry.key: entry.value.string_value for entry in group.resource.attributes}
                collector.services.add(named["service.name"])
                for scope in group.scope_spans:
                    collector.spans += scope.spans
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_request_is_a_span_of_its_route_in_the_trace_of_its_caller(tmp_path: Path) -> None:
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with collecting() as collector:
        environ = {"NAS_HOME": str(tmp_path), "NAS_DATABASE_URL": database("sqlite", tmp_path)}
        with started(Settings.read(environ | {"NAS_OTEL_ENDPOINT": collector.url})) as api:
            api.get("/v1/jobs/nothing", headers={"traceparent": f"00-{trace}-{parent}-01", "X-Request-ID": "r-1"})
            api.get("/v1/jobs")
    assert set(collector.paths) == {"/v1/traces"}
    assert collector.services == {"nas-api"}
    span = collector.named("GET /v1/jobs/{job_id}")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (trace, parent)
    assert span.kind == 2  # a server's
    assert attributes(span) == {
        "http.request.method": "GET",
        "http.route": "/v1/jobs/{job_id}",
        "http.response.status_code": 404,
        "nas.request_id": "r-1",
    }
    other = collector.named("GET /v1/jobs")
    assert other.trace_id.hex() != trace
    assert other.parent_span_id == b""


def test_spans_lie_in_each_other() -> None:
    with collecting() as collector:
        with Tracing(f"{collector.url}/", "nas-test"):
            with traces.span("trial", {"nas.trial": 7}), traces.span("train"):
                pass
            with pytest.raises(ValueError, match="no"), traces.span("fails"):
                raise ValueError("no")
        with traces.span("after") as none:
            assert none is None
    trial, train = collector.named("trial"), collector.named("train")
    assert attributes(trial) == {"nas.trial": 7}
    assert (train.trace_id, train.parent_span_id) == (trial.trace_id, trial.span_id)
    assert collector.named("fails").status.code == 2  # an error
    assert {span.name for span in collector.spans} == {"trial", "train", "fails"}


def test_an_endpoint_with_a_path_is_taken_as_it_is() -> None:
    with collecting() as collector, Tracing(f"{collector.url}/my/traces", "nas-test"), traces.span("one"):
        pass
    assert collector.paths == ["/my/traces"]


def test_nobody_waits_for_a_collector_that_is_away(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "EXPORT_S", 0.5)
    begun = time.monotonic()
    with Tracing("http://127.0.0.1:9", "nas-test"):
        for _ in range(5000):  # more than are kept
            with traces.span("lost"):
                pass
        worked_s = time.monotonic() - begun
    assert worked_s < 10
    assert time.monotonic() - begun - worked_s < 5
    assert "Traceback" not in capfd.readouterr().err


def test_without_an_endpoint_nothing_is_loaded() -> None:
    script = """
import sys
from nas import traces
with traces.Tracing("", "nas-api"), traces.span("trial", {"nas.trial": 1}), traces.server_span("GET", dict):
    assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    settings = Settings.read({"NAS_HOME": str(tmp_path), "NAS_OTEL_ENDPOINT": "http://127.0.0.1:4318"})
    with pytest.raises(SettingsError, match=r"NAS_OTEL_ENDPOINT is .*pip install nas-service\[otel\]"):
        create_app(settings)
    with calling(create_app(Settings.read({"NAS_HOME": str(tmp_path)}))) as api:
        assert api.get("/healthz").status_code == 200
