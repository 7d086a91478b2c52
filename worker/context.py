"""What a worker process has for all its trials."""

import errno
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

from nas.data.images import ImageSet
from nas.errors import ArtifactDamaged, ArtifactsAway, DatasetUnready, DiskFull
from nas.result.package import network_of
from nas.search.catalog import make_strategy
from nas.search.pruning import Pruner, make_pruner
from nas.search.strategy import Observation, Strategy
from nas.settings import Settings
from nas.space import Candidate
from nas.spec import JobSpec
from nas.store import datasets, files, jobs
from nas.store.artifacts import ArtifactStore
from nas.store.claims import Claim
from nas.store.history import Replay
from nas.store.session import Store
from nas.store.tables import Dataset
from worker.admission import Need, Seat
from worker.lease import Grip
from worker.measuring import Measured, Wanted, measure
from worker.shelf import Shelf
from worker.spent import Spent
from worker.stages import Stages
from worker.starts import prepared_starts

KEPT_JOBS = 8
"""Jobs whose replayed history a worker keeps."""


@dataclass(eq=False, slots=True)
class Context:
    """A worker's parts, and what it remembers; all it remembers can be read again from the store.

    Attributes:
        stopping: whether the process was asked to stop.
        stages: what its time goes into.
        measurer: measures candidates on other machines, where those are what trains them.
        ray: whether it can drive jobs for Ray; of a process with several lanes one can.
        cores: that a Ray cluster of its own may use, where the process itself is kept to one of them.
        driving: the job for Ray that it drives; it takes trials of no other one.
        shelf: the data sets in the process's memory.
        seat: its place on the device.
        spent: what the time of the attempt at hand goes into.
        write_log: writes what the trial at hand has logged, before others can take it; see worker.journal.
        left_alone: jobs that ask for what this process does not know.
    """

    store: Store
    artifacts: ArtifactStore
    settings: Settings
    worker: str
    device: torch.device
    grip: Grip
    stopping: Callable[[], bool]
    stages: Stages = field(default_factory=Stages)
    measurer: Callable[[Wanted], Measured] | None = None
    ray: bool = False
    cores: frozenset[int] = frozenset()
    driving: str | None = None
    shelf: Shelf = field(default_factory=Shelf)
    seat: Seat = field(default_factory=Seat)
    spent: Spent = field(default_factory=Spent)
    write_log: Callable[[], None] = lambda: None
    left_alone: set[str] = field(default_factory=set)
    _searches: dict[str, "Search"] = field(default_factory=dict)
    _source: tuple[str, dict[str, Tensor]] | None = None

    def should_stop(self) -> bool:
        """Whether the current trial has to stop: the process ends, or the trial is no longer this worker's."""
        return self.stopping() or self.grip.lost

    def measure(self, wanted: Wanted) -> Measured:
        """What a candidate takes when it runs where it would be trained."""
        if self.measurer is not None:
            return self.measurer(wanted)
        self.seat.take(Need(None), self.should_stop)  # others on the device would be measured with it
        try:
            return measure(wanted, self.device)
        finally:
            self.seat.leave()

    def data(self, dataset_id: int) -> ImageSet:
        """The images of a data set; the last one stays in memory, for all lanes of the process.

        Raises:
            DatasetUnready: they cannot be read now; the data set's row says so, too.
            DiskFull: there is no room for a copy of the file.
        """
        with self.store.read() as session:
            row = session.get_one(Dataset, dataset_id)
        try:
            data, fresh = self.shelf.get(row.sha256, lambda: self._read(row.sha256))
        except (MemoryError, DiskFull):
            raise
        except Exception as error:  # whatever keeps it from being read is no fault of the trial
            if is_full(error):
                raise DiskFull(f"there is no room for a copy of data set {row.name!r}: {error}") from error
            text = f"the images of data set {row.name!r} cannot be read: {_words(error, row.sha256)}"
            with self.store.write() as session:
                datasets.note_content(session, dataset_id, text)
            raise DatasetUnready(text) from error
        if fresh and row.unready is not None:
            with self.store.write() as session:
                datasets.note_content(session, dataset_id, None)
        return data

    def digest(self, dataset_id: int) -> str:
        """The digest of a data set's images and of their split."""
        with self.store.read() as session:
            return session.get_one(Dataset, dataset_id).digest

    def _read(self, sha256: str) -> ImageSet:
        with self.stages.timed("data"), tempfile.TemporaryDirectory(prefix="nas-data-") as folder:
            path = Path(folder) / "data.npz"
            self.artifacts.fetch(sha256, path)
            return ImageSet.load(path)

    def search_is_over(self, job_id: str) -> bool:
        """Whether the job's search has what it was for, so that nothing more is trained in it."""
        with self.store.read() as session:
            return jobs.get(session, job_id).search_over

    def digests(self, claim: Claim) -> set[str]:
        """What the job has trials of, as of the last reading of its history."""
        return self.search(claim.job_id, claim.spec).replay.digests

    def source(self, sha256: str) -> dict[str, Tensor]:
        """The network that a transfer starts from; the last one stays in memory."""
        if self._source is None or self._source[0] != sha256:
            self._source = sha256, network_of(load(self.artifacts.get(sha256)))
        return self._source[1]

    def search(self, job_id: str, spec: JobSpec) -> "Search":
        """What is kept of a job's search."""
        if job_id not in self._searches:
            while len(self._searches) >= KEPT_JOBS:
                del self._searches[next(iter(self._searches))]
            strategy = make_strategy(spec.strategy, spec.options)
            self._searches[job_id] = Search(strategy, make_pruner(spec.pruning), Replay(spec))
        return self._searches[job_id]

    def history(self, job_id: str, spec: JobSpec) -> list[Observation[Candidate]]:
        """The job's search trials."""
        with self.store.read() as session:
            return self.search(job_id, spec).replay.read(session, job_id)

    def starts(self, claim: Claim) -> list[Candidate]:
        """What the first trials of a search train: the user's genotypes, then what was prepared."""
        search = self.search(claim.job_id, claim.spec)
        if search.starts is None:
            search.starts = prepared_starts(claim.spec, self.prepared(claim.job_id))
        return search.starts

    def prepared(self, job_id: str) -> list[dict[str, Any]]:
        """What the job's screening or its supernet found, in the order of their trials."""
        with self.store.read() as session:
            found = files.of_kind(session, job_id, "candidates")
        return [entry for _, sha256 in found for entry in json.loads(self.artifacts.get(sha256))["candidates"]]


def is_full(error: BaseException) -> bool:
    """Whether an error says that there is no room for a file."""
    return isinstance(error, DiskFull) or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT))


def _words(error: Exception, sha256: str) -> str:
    """What is wrong with a data set's file, and the mend; an error of the system would name the server's folders."""
    mend = "restore it from a backup"
    match error:
        case ArtifactDamaged():
            return str(error)
        case FileNotFoundError():
            return f"artifact {sha256} is missing; {mend}"
        case ArtifactsAway():
            return f"the artifact store does not answer; it is tried again ({error})"
        case _:
            return f"artifact {sha256} is not readable ({type(error).__name__}); look at the artifact store, or {mend}"


@dataclass(eq=False, slots=True)
class Search:
    """What a worker keeps of a job's search; all of it follows from the rows.

    Attributes:
        strategy: it may keep what it has replayed.
        pruner: of the job.
        replay: the history so far.
        starts: what the first trials train; None until it was read.
    """

    strategy: Strategy
    pruner: Pruner
    replay: Replay
    starts: list[Candidate] | None = None
