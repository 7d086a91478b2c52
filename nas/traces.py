"""OpenTelemetry spans, on request only: without an endpoint nothing is imported, and a span costs a comparison.

As with logging, there is one of it in a process, set up in its main() or by its app. Spans leave in batches, from a
thread of their own; a collector that does not answer loses them, and slows nothing.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from nas.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

EXPORT_S: Final = 2.0
"""How long a batch may take, and with it how much longer a process takes to end when its collector is away."""

_Start = Callable[[str, Mapping[str, Any], Mapping[str, str] | None], AbstractContextManager[Any]]
_NOTHING: Final = nullcontext()
_start: _Start | None = None


class Tracing:
    """Sends the spans that begin while it is entered to a collector.

    Args:
        endpoint: OTLP/HTTP URL; `/v1/traces` is added where it has no path. Empty: no spans are made.
        service: the process's part in the service, such as `nas-api`.

    Raises:
        SettingsError: the packages for it are not installed.
    """

    def __init__(self, endpoint: str, service: str) -> None:
        self._sender = _sender(endpoint, service) if endpoint else None

    def __enter__(self) -> Self:
        global _start
        if self._sender is not None:
            _start = _starter(self._sender.provider.get_tracer("nas"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        global _start
        if self._sender is not None:
            _start = None
            self._sender.close()


def span(name: str, attributes: Mapping[str, str | float] | None = None) -> AbstractContextManager[Any]:
    """A span around a block, inside the one that is open; gives the span, or None where no spans are made."""
    return _NOTHING if _start is None else _start(name, attributes or {}, None)


def server_span(name: str, headers: Callable[[], Mapping[str, str]]) -> AbstractContextManager[Any]:
    """A span around the answer to a request, inside the span that the request's headers name (W3C Trace Context)."""
    return _NOTHING if _start is None else _start(name, {}, headers())


@dataclass(eq=False, slots=True)
class _Sender:
    """Makes spans and sends them.

    Attributes:
        provider: OpenTelemetry's maker of tracers.
        exporter: what sends a batch.
        failed: whether the last batch was lost.
    """

    provider: "TracerProvider"
    exporter: "SpanExporter"
    failed: Callable[[], bool]

    def close(self) -> None:
        """Sends what is left, unless the collector is known to be away: then nobody waits for it again."""
        if self.failed():
            self.exporter.shutdown()
        self.provider.shutdown()


def _sender(endpoint: str, service: str) -> _Sender:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
    except ImportError as error:
        raise SettingsError(
            f"NAS_OTEL_ENDPOINT is {endpoint!r}, but {error.name} is not installed; `pip install nas-service[otel]`, "
            "or leave it empty"
        ) from error
    for noisy in ("opentelemetry.sdk", "opentelemetry.exporter"):  # a traceback for every batch while it is away
        logging.getLogger(noisy).setLevel(logging.CRITICAL)

    class Exporter(OTLPSpanExporter):
        result = SpanExportResult.SUCCESS

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            self.result = super().export(spans)
            return self.result

    whole = endpoint if urlsplit(endpoint).path.strip("/") else f"{endpoint.rstrip('/')}/v1/traces"
    exporter = Exporter(endpoint=whole, timeout=EXPORT_S)
    provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return _Sender(provider, exporter, lambda: exporter.result is not SpanExportResult.SUCCESS)


def _starter(tracer: "Tracer") -> _Start:
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    propagator = TraceContextTextMapPropagator()

    def start(
        name: str, attributes: Mapping[str, Any], headers: Mapping[str, str] | None
    ) -> AbstractContextManager[Any]:
        if headers is None:
            return tracer.start_as_current_span(name, attributes=attributes)
        return tracer.start_as_current_span(name, context=propagator.extract(headers), kind=SpanKind.SERVER)

    return start
