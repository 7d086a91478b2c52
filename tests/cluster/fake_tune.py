"""What Tune does with a scheduler's decisions, step by step and without a cluster: thousands of courses a second."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray.tune import Checkpoint
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from tests.cluster.toys import FILE, Order


class FakeTrial:
    """What schedulers look at."""

    def __init__(self, order: Order) -> None:
        self.config = {"order": order}
        self.number = order.claim.number
        self.trial_id = f"{self.number:05d}"
        self.status: str = Trial.PENDING
        self.is_saving = False
        self.last_result: dict[str, Any] = {}
        self.experiment_tag = ""
        manager = SimpleNamespace(checkpoint_config=SimpleNamespace(num_to_keep=None), _latest_checkpoint_result=None)
        self.run_metadata = SimpleNamespace(checkpoint_manager=manager)
        self.begin()

    def begin(self) -> None:
        """Goes on as the order has it."""
        self.order = self.config["order"]
        self.epoch = self.order.claim.epoch
        self.owners = list(self.order.owners) or [self.number] * self.epoch

    def set_config(self, config: dict[str, Order]) -> None:
        self.config = config

    def set_experiment_tag(self, tag: str) -> None:
        self.experiment_tag = tag

    def is_finished(self) -> bool:
        return self.status in (Trial.ERROR, Trial.TERMINATED)


class FakeTune:
    """Runs trials in an order that `rng` draws, on so many slots; see ray.tune.execution.tune_controller.

    Args:
        orders: of the trials, as the searcher hands them out: one more than there are slots for.
        scheduler: to be asked.
        slots: trials that train at once.
        parallel: trials that have not ended at once.
        rng: of what comes next.
        folder: for checkpoints.
    """

    def __init__(
        self,
        orders: Sequence[Order],
        scheduler: TrialScheduler,
        *,
        slots: int,
        parallel: int,
        rng: random.Random,
        folder: Path | None = None,
    ) -> None:
        self.folder, self.saved = folder, 0
        self.done: dict[int, list[int]] = {order.claim.number: [] for order in orders}
        self.left, self.scheduler, self.slots, self.parallel, self.rng = list(orders), scheduler, slots, parallel, rng
        self.trials: list[Any] = []
        self.ended: dict[int, str] = {}
        self.epochs: dict[int, int] = {}
        self.search_alg = object()

    def run(self) -> dict[int, str]:
        """How each trial ended: done, stopped or error. Raises AssertionError where all wait."""
        while self.left or len(self.ended) < len(self.trials):
            self._add()
            self._start()
            busy = [trial for trial in self.trials if trial.status == Trial.RUNNING]
            waiting = [trial.number for trial in self.trials if not trial.is_finished()]
            assert busy, f"trials {waiting} wait for ever"
            self._event(self.rng.choice(busy))
        return self.ended

    def get_trials(self) -> list[Any]:
        return self.trials

    def stop_trial(self, trial: Any, how: str = "stopped") -> None:
        if trial.is_finished():
            return
        if trial.status == Trial.RUNNING:
            self.scheduler.on_trial_complete(self, trial, trial.last_result)  # type: ignore[arg-type]
        else:
            self.scheduler.on_trial_remove(self, trial)  # type: ignore[arg-type]
        self._end(trial, Trial.TERMINATED, how)

    def pause_trial(self, trial: Any, should_checkpoint: bool) -> None:
        assert not should_checkpoint
        trial.status = Trial.PAUSED

    def _schedule_trial_save(self, trial: Any, result: Any = None) -> Any:
        assert self.folder is not None
        self.saved += 1
        folder = self.folder / str(self.saved)
        folder.mkdir()
        (folder / FILE).write_text(json.dumps([trial.epoch, trial.owners]), encoding="utf-8")
        return Checkpoint.from_directory(str(folder))

    def _add(self) -> None:
        pending = any(trial.status == Trial.PENDING for trial in self.trials)
        if self.left and not pending and len(self.trials) - len(self.ended) < self.parallel:
            trial: Any = FakeTrial(self.left.pop(0))
            self.trials.append(trial)
            self.scheduler.on_trial_add(self, trial)  # type: ignore[arg-type]

    def _start(self) -> None:
        chosen = self.scheduler.choose_trial_to_run(self)  # type: ignore[arg-type]
        if chosen is not None:
            assert chosen.status in (Trial.PENDING, Trial.PAUSED)
            chosen.status = Trial.PENDING
        for trial in self.trials:
            running = sum(other.status == Trial.RUNNING for other in self.trials)
            if trial.status == Trial.PENDING and running < self.slots:
                trial.status = Trial.RUNNING
                if trial.order is not trial.config["order"]:
                    assert trial.run_metadata.checkpoint_manager._latest_checkpoint_result is None
                    trial.begin()

    def _event(self, trial: Any) -> None:
        order = trial.config["order"]
        if trial.is_saving:
            trial.is_saving, trial.status = False, Trial.PAUSED
        elif trial.epoch + 1 == order.fails:
            self.scheduler.on_trial_error(self, trial)  # type: ignore[arg-type]
            self._end(trial, Trial.ERROR, "error")
        else:
            trial.epoch += 1
            trial.owners.append(trial.number)
            self.done[trial.number].append(trial.epoch)
            trial.last_result = {"epoch": trial.epoch, "accuracy": order.scores[trial.epoch - 1]}
            if trial.epoch >= order.claim.epochs:
                self.stop_trial(trial, "done")
                return
            match self.scheduler.on_trial_result(self, trial, trial.last_result):  # type: ignore[arg-type]
                case TrialScheduler.PAUSE:
                    trial.is_saving = True
                case TrialScheduler.STOP:
                    self.stop_trial(trial)

    def _end(self, trial: Any, status: str, how: str) -> None:
        trial.is_saving, trial.status = False, status
        self.ended[trial.number], self.epochs[trial.number] = how, trial.epoch
