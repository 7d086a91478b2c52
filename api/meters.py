"""The figures of the service in Prometheus's text format: a registry for each app, and none for the process."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from threading import Lock
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from nas.store import metrics
from nas.store.metrics import Figures
from nas.store.session import Store
from nas.store.states import JobState

log = logging.getLogger(__name__)

FRESH_S: Final = 5.0
"""How long figures from the database hold: any number of scrapers costs one reading in that time."""

MEDIA_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

LATENCIES_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

COUNTERS: Final = {
    "stage_seconds": ("nas_stage_seconds", "stage", "what workers have spent their time on"),
    "epochs": ("nas_epochs_trained", "phase", "epochs that were trained, by the phase of their trials"),
    "leases_lost": ("nas_leases_lost", "", "leases that ran out: their workers were lost, or too slow"),
    "setbacks": ("nas_setbacks", "reason", "attempts at trials that came to a bad end"),
}
"""name in nas.store.metrics → (name, label, help); those of another name are not shown."""


class Meters:
    """All figures of an app.

    Args:
        store: the database.
        lease_s: workers that were seen within it are alive.
        streams: how many event streams are open.
        clock: seconds.
    """

    def __init__(
        self, store: Store, lease_s: float, streams: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry = CollectorRegistry()
        self._rows = _Rows(store, lease_s, clock)
        self.latency = Histogram(
            "nas_http_request_seconds",
            "seconds from a request to the end of its answer, or to its beginning where that is a stream",
            ("route", "method", "status"),
            buckets=LATENCIES_S,
            registry=self._registry,
        )
        self.requests_in_flight = Gauge(
            "nas_http_requests_in_flight", "requests that are being answered, streams too", registry=self._registry
        )
        opened = Gauge("nas_event_streams", "event streams that are open", registry=self._registry)
        opened.set_function(streams)
        build = Gauge("nas_build_info", "1, of this version", ("version",), registry=self._registry)
        build.labels(version("nas-service")).set(1)
        self._registry.register(self._rows)

    def text(self) -> bytes:
        """All figures; without those from the database if it does not answer, which `nas_database_up` then says."""
        self._rows.refresh()
        return generate_latest(self._registry)


class _Rows(Collector):
    """The figures from the database."""

    def __init__(self, store: Store, lease_s: float, clock: Callable[[], float]) -> None:
        self._store = store
        self._lease_s = lease_s
        self._clock = clock
        self._lock = Lock()
        self._figures: Figures | None = None
        self._until = float("-inf")

    def refresh(self) -> None:
        """Reads the figures, if they are no longer fresh."""
        with self._lock:
            if self._clock() < self._until:
                return
            try:
                with self._store.read() as session:
                    self._figures = metrics.figures(session, self._lease_s)
            except SQLAlchemyError as error:
                log.warning("figures without those of the database, which does not answer: %s", error)
                self._figures = None
            self._until = self._clock() + FRESH_S

    def describe(self) -> list[Metric]:
        """Nothing is known before the database was asked."""
        return []

    def collect(self) -> Iterator[Metric]:
        """What was read last."""
        shown = self._figures
        yield GaugeMetricFamily("nas_database_up", "whether the database answers", value=float(shown is not None))
        if shown is None:
            return
        yield _gauge("nas_jobs", "jobs", ("state",), (((state,), shown.jobs.get(state, 0)) for state in JobState))
        yield _gauge("nas_trials", "trials of all jobs", ("phase", "state"), shown.trials.items())
        running = sum(count for (_, state), count in shown.trials.items() if state == "running")
        queued = sum(count for (_, state), count in shown.trials.items() if state == "queued")
        yield GaugeMetricFamily("nas_trials_running", "trials at work", value=running)
        yield GaugeMetricFamily("nas_trials_queued", "trials that wait for a worker", value=queued)
        text = "jobs that could run, and of which nothing is running"
        yield GaugeMetricFamily("nas_jobs_waiting", text, value=shown.waiting_jobs)
        text = "for how long the job of these has waited that has waited longest"
        yield GaugeMetricFamily("nas_jobs_waiting_oldest_seconds", text, value=shown.waiting_s)
        devices = (((device,), count) for device, count in shown.workers.items())
        yield _gauge("nas_workers", "workers that are alive", ("device",), devices)
        yield GaugeMetricFamily("nas_stored_bytes", "data sets and artifacts", value=shown.stored_bytes)
        for name, (shown_as, label, text) in COUNTERS.items():
            family = CounterMetricFamily(shown_as, text, labels=(label,) if label else ())
            for (of, value_of), value in shown.counters.items():
                if of == name:
                    family.add_metric((value_of,) if label else (), value)
            yield family


def _gauge(name: str, text: str, labels: tuple[str, ...], values: Iterable[tuple[Sequence[str], int]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for of, value in values:
        family.add_metric(of, value)
    return family
