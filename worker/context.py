"""What a worker process has for all its trials."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load
from torch import Tensor

from nas.data.images import ImageSet
from nas.result.package import network_of
from nas.search.catalog import STRATEGIES
from nas.search.strategy import Observation, Strategy
from nas.settings import Settings
from nas.space import Candidate
from nas.store import history
from nas.store.artifacts import ArtifactStore
from nas.store.session import Store
from nas.store.tables import Dataset
from nas.store.trials import Claim
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
    _dataset: tuple[str, ImageSet] | None = None
    _strategies: dict[str, Strategy] = field(default_factory=dict)
    _settled: dict[str, list[Observation[Candidate]]] = field(default_factory=dict)
    _source: tuple[str, dict[str, Tensor]] | None = None

    def should_stop(self) -> bool:
        """Whether the current trial has to stop: the process ends, or the trial is no longer this worker's."""
        return self.stopping() or self.heartbeat.lost

    def data(self, dataset_id: int) -> ImageSet:
        """The images of a data set; the last one stays in memory."""
        with self.store.read() as session:
            sha256 = session.get_one(Dataset, dataset_id).sha256
        if self._dataset is None or self._dataset[0] != sha256:
            self._dataset = None  # two large ones need not fit into memory
            with tempfile.TemporaryDirectory(prefix="nas-data-") as folder:
                path = Path(folder) / "data.npz"
                self.artifacts.fetch(sha256, path)
                self._dataset = sha256, ImageSet.load(path)
        return self._dataset[1]

    def digests(self, claim: Claim) -> set[str]:
        """What the job has trials of."""
        with self.store.read() as session:
            return history.digests(session, claim.job_id)

    def source(self, sha256: str) -> dict[str, Tensor]:
        """The network that a transfer starts from; the last one stays in memory."""
        if self._source is None or self._source[0] != sha256:
            self._source = sha256, network_of(load(self.artifacts.get(sha256)))
        return self._source[1]

    def strategy(self, job_id: str, name: str) -> Strategy:
        """The job's strategy; it is kept because it may keep what it has replayed."""
        if job_id not in self._strategies:
            while len(self._strategies) >= KEPT_JOBS:
                oldest = next(iter(self._strategies))
                del self._strategies[oldest]
                self._settled.pop(oldest, None)
            self._strategies[job_id] = STRATEGIES[name].make()
        return self._strategies[job_id]

    def history(self, claim: Claim) -> list[Observation[Candidate]]:
        """The job's trials; those before the first unfinished one cannot change and are read once only."""
        settled = self._settled.setdefault(claim.job_id, [])
        since = settled[-1].number + 1 if settled else 0
        with self.store.read() as session:
            found = settled + history.observations(session, claim.job_id, claim.spec.space.shape(), since)
        for expected, observation in enumerate(found):
            # A gap is a reserved number: its candidate will appear between these.
            if not observation.finished or observation.number != expected:
                break
            if expected >= len(settled):
                settled.append(observation)
        return found
