"""What a worker process has for all its trials."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from nas.data.images import ImageSet
from nas.search.catalog import STRATEGIES
from nas.search.strategy import Observation, Strategy
from nas.settings import Settings
from nas.store import history
from nas.store.artifacts import ArtifactStore
from nas.store.session import Store
from nas.store.tables import Dataset
from worker.lease import Heartbeat

KEPT_JOBS = 8
"""Jobs whose replayed history a worker keeps."""


@dataclass(eq=False, slots=True)
class Context:
    """A worker's parts, and what it remembers; all it remembers can be read again from the store.

    Attributes:
        stopping: whether the process was asked to stop.
    """

    store: Store
    artifacts: ArtifactStore
    settings: Settings
    worker: str
    device: torch.device
    heartbeat: Heartbeat
    stopping: Callable[[], bool]
    _dataset: tuple[int, ImageSet] | None = None
    _strategies: dict[str, Strategy] = field(default_factory=dict)
    _settled: dict[str, list[Observation]] = field(default_factory=dict)

    def should_stop(self) -> bool:
        """Whether the current trial has to stop: the process ends, or the trial is no longer this worker's."""
        return self.stopping() or self.heartbeat.lost

    def data(self, dataset_id: int) -> ImageSet:
        """The images of a data set; the last one stays in memory."""
        if self._dataset is None or self._dataset[0] != dataset_id:
            with self.store.read() as session:
                sha256 = session.get_one(Dataset, dataset_id).sha256
            self._dataset = dataset_id, ImageSet.from_bytes(self.artifacts.get(sha256))
        return self._dataset[1]

    def strategy(self, job_id: str, name: str) -> Strategy:
        """The job's strategy; it is kept because it may keep what it has replayed."""
        if job_id not in self._strategies:
            while len(self._strategies) >= KEPT_JOBS:
                oldest = next(iter(self._strategies))
                del self._strategies[oldest]
                self._settled.pop(oldest, None)
            self._strategies[job_id] = STRATEGIES[name].make()
        return self._strategies[job_id]

    def history(self, job_id: str) -> list[Observation]:
        """The job's trials; those before the first unfinished one cannot change and are read once only."""
        settled = self._settled.setdefault(job_id, [])
        with self.store.read() as session:
            found = settled + history.observations(session, job_id, since=settled[-1].number + 1 if settled else 0)
        for expected, observation in enumerate(found):
            # A gap is a reserved number: its candidate will appear between these.
            if not observation.finished or observation.number != expected:
                break
            if expected >= len(settled):
                settled.append(observation)
        return found
