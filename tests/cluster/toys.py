"""Trials that train nothing and take no time, under a real ray.tune.Tuner: what a scheduler decides is all there is."""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ray.tune import CheckpointConfig, FailureConfig, RunConfig, Trainable, TuneConfig, Tuner
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from nas.spec import JobSpec
from nas.store.claims import Claim
from nas.store.states import Phase

FILE = "checkpoint.safetensors"
"""The name that worker.cluster.population reads, which the nodes of a test need not import."""

ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}


@dataclass(frozen=True)
class Order:
    """What worker.orders.Order is, as far as schedulers look.

    Attributes:
        claim: of the trial.
        scores: by epochs, from 1.
        fails: the epoch that is never done.
        owners: whose weights they were, epoch by epoch, that it goes on from.
        slow_s: that an epoch takes.
    """

    claim: Claim
    scores: tuple[float, ...]
    fails: int = 0
    owners: tuple[int, ...] = ()
    slow_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.claim.number}-{self.claim.epoch}"

    def __deepcopy__(self, memo: dict[int, Any]) -> "Order":
        return self


class Toy(Trainable):
    """Trains by noting whose epochs its weights have seen."""

    def setup(self, config: dict[str, Any]) -> None:
        self.order: Order = config["order"]
        self.owners = list(self.order.owners)
        self.epoch = self.order.claim.epoch

    def step(self) -> dict[str, Any]:
        time.sleep(self.order.slow_s)
        claim = self.order.claim
        self.epoch += 1
        if self.epoch == self.order.fails:
            raise ValueError("as was wanted")
        self.owners.append(claim.number)
        told = {"number": claim.number, "owners": list(self.owners), "done": self.epoch >= claim.epochs}
        if claim.phase == Phase.SEARCH:
            told |= {"epoch": self.epoch, "accuracy": self.order.scores[self.epoch - 1]}
        return told

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, FILE).write_text(json.dumps([self.epoch, self.owners]), encoding="utf-8")

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.epoch, self.owners = json.loads(Path(checkpoint, FILE).read_text(encoding="utf-8"))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True


@dataclass
class Course:
    """How a trial went on."""

    results: list[dict[str, Any]] = field(default_factory=list)
    ended: str = ""


class Rows(Searcher):
    """Hands orders out, at most so many at a time, and notes what becomes of them."""

    def __init__(self, orders: Sequence[Order], parallel: int) -> None:
        super().__init__()
        self.left = list(orders)
        self.parallel = parallel
        self.live: dict[str, int] = {}
        self.courses: dict[int, Course] = {}

    def suggest(self, trial_id: str) -> Any:
        if not self.left:
            return Searcher.FINISHED if not self.live else None
        if len(self.live) >= self.parallel:
            return None
        order = self.left.pop(0)
        self.live[trial_id] = order.claim.number
        self.courses.setdefault(order.claim.number, Course())
        return {"order": order}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.courses[self.live[trial_id]].results.append(result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        course = self.courses[self.live.pop(trial_id)]
        if result is not None and (not course.results or course.results[-1] != result):
            course.results.append(result)
        course.ended = "error" if error else "done"

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError


def claim_of(spec: JobSpec, number: int, **more: Any) -> Claim:
    claim = Claim(
        trial_id=100 + number,
        attempt=1,
        job_id="job",
        number=number,
        index=number,
        phase=Phase.SEARCH,
        seed_index=0,
        epochs=spec.budget.epochs,
        epoch=0,
        stage=spec.budget.epochs,
        candidate=None,
        spec=spec,
        dataset_id=1,
        deadline=None,
    )
    return replace(claim, **more)


def run(orders: Sequence[Order], scheduler: TrialScheduler, folder: Path, parallel: int = 100) -> dict[int, Course]:
    """What becomes of the trials, by their numbers."""
    rows = Rows(orders, parallel)
    os.environ.update(ENVIRONMENT)
    tuner = Tuner(
        Toy,
        tune_config=TuneConfig(search_alg=rows, scheduler=scheduler, num_samples=-1, reuse_actors=True),
        run_config=RunConfig(
            name="toys",
            storage_path=str(folder),
            failure_config=FailureConfig(max_failures=0),
            checkpoint_config=CheckpointConfig(num_to_keep=None),
            verbose=0,
        ),
    )
    tuner.fit()
    return rows.courses
