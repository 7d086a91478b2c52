"""Ray's population-based training, where a trial takes over another one's network together with its weights.

Jaderberg et al. 2017, Population Based Training of Neural Networks, algorithm 1, with the search over architectures
beside it: weights fit one architecture, so that the candidate goes with them, and only the recipe is changed.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from ray.tune import Checkpoint as Snapshot
from ray.tune.experiment import Trial
from ray.tune.schedulers import PopulationBasedTraining
from safetensors import SafetensorError

from nas.errors import ArtifactsAway, DiskFull, LeaseLost
from nas.search.options import SchedulerSpec
from nas.search.population import TRIES, mutable, mutated
from nas.seeds import derive
from nas.space import Candidate
from nas.spec import JobSpec
from nas.store import lineage
from nas.store.trials import Twin
from nas.train.checkpoint import Checkpoint
from worker.cache import UNUSABLE
from worker.context import Context
from worker.orders import Order, tag_of
from worker.train import resumed

log = logging.getLogger(__name__)

EPOCH: Final = "epoch"
SCORE: Final = "accuracy"
"""What Ray's schedulers read of a search trial's result: epochs done, and the score of the task."""

CHECKPOINT_FILE: Final = "checkpoint.safetensors"
"""The one file of a Tune checkpoint: a nas.train.checkpoint.Checkpoint."""


@dataclass(frozen=True, eq=False, slots=True)
class Donor:
    """What a trial may go on as.

    Attributes:
        order: of the trial that it takes over from.
        content: that trial's checkpoint, when the two were compared.
    """

    order: Order
    content: bytes


TakeOver = Callable[[Order, int, Donor | None], Order]
"""(order of a trial, epochs that it has done, what it takes over) → its order from now on."""


class Population(PopulationBasedTraining):
    """Ray's PBT over the search trials of a job.

    A trial is compared with those that are at most as old as itself, so that it never goes on with weights that have
    seen more epochs than its row says. Its own age stays what it is, as in the paper: the row's epochs are numbered
    on, and its learning-rate schedule goes on where it was.

    The winner's last candidate is what is retrained in the end, anew and with its last recipe: what its weights went
    through on the way counts for the search alone.

    Args:
        spec, scheduler: of the job.
        take_over: writes that a trial goes on as another one.
    """

    def __init__(self, spec: JobSpec, scheduler: SchedulerSpec, take_over: TakeOver) -> None:
        every = scheduler.every or max(1, spec.budget.epochs // 4)
        super().__init__(
            time_attr=EPOCH,
            metric=SCORE,
            mode=mode_of(spec),
            perturbation_interval=every,
            quantile_fraction=scheduler.quantile,
            resample_probability=scheduler.resample,
            custom_explore_fn=lambda config: config,  # Ray wants one; take_over does it, once the row is written
            log_config=False,
        )
        self._every = every
        self._take_over = take_over
        self._age = 0
        self._changing: dict[Trial, tuple[int, Order, Snapshot]] = {}

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """See TrialScheduler. A trial that was begun by an earlier driver is compared when it would have been."""
        super().on_trial_add(tune_controller, trial)
        done, state = trial.config["order"].claim.epoch, self._trial_state[trial]
        state.last_train_time, state.last_perturbation_time = done, done // self._every * self._every

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """See TrialScheduler."""
        self._age = result[EPOCH]
        return str(super().on_trial_result(tune_controller, trial, result))

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """See TrialScheduler. What has ended is no longer of the population."""
        self._trial_state.pop(trial, None)
        self._changing.pop(trial, None)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """See TrialScheduler."""
        self.on_trial_error(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """See TrialScheduler."""
        self.on_trial_error(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """See TrialScheduler. First what was decided is written, now that the epoch it follows from is."""
        for trial in [trial for trial in self._changing if trial.status == Trial.PAUSED]:
            epoch, order, snapshot = self._changing.pop(trial)
            changed = self._take_over(trial.config["order"], epoch, _read(order, snapshot))
            trial.set_config({**trial.config, "order": changed})  # type: ignore[no-untyped-call]  # Ray's
            # The order says what to go on from. Tune's checkpoint is the other trial's, of its age.
            kept: Any = trial.run_metadata.checkpoint_manager
            kept._latest_checkpoint_result = None
        return super().choose_trial_to_run(tune_controller)

    def _quantiles(self) -> tuple[list[Trial], list[Trial]]:
        population = self._trial_state
        self._trial_state = {trial: state for trial, state in population.items() if state.last_train_time <= self._age}
        try:
            lower, upper = super()._quantiles()
        finally:
            self._trial_state = population
        return lower, upper

    def _get_new_config(self, trial: Trial, trial_to_clone: Trial) -> tuple[dict[str, Any], dict[str, Any]]:
        return trial.config, {}

    def _exploit(self, tune_controller: Any, trial: Trial, trial_to_clone: Trial) -> None:
        snapshot: Any = self._trial_state[trial_to_clone].last_checkpoint
        super()._exploit(tune_controller, trial, trial_to_clone)
        state = self._trial_state[trial]
        state.last_train_time = state.last_perturbation_time = self._age
        self._changing[trial] = self._age, trial_to_clone.config["order"], snapshot


def mode_of(spec: JobSpec) -> str:
    """What a job wants of the score, in Ray's words."""
    wanted = {objective.metric: objective.sign for objective in spec.objectives}
    return "max" if wanted.get(SCORE, 1) > 0 else "min"


def take_over(context: Context, order: Order, epoch: int, donor: Donor | None) -> Order:
    """Lets a trial go on as another one, with a changed recipe; files first, then the row.

    Where that cannot be (all that the recipe may become has been tried with that network, or a file is gone) the trial
    goes on as it was.

    Args:
        context: of the driver.
        order: of the trial.
        epoch: that it has done, and that its row has.
        donor: what it takes over; None if that could not be read.

    Returns:
        Its order from now on.
    """
    claim = replace(order.claim, epoch=epoch)
    try:
        changed = _changed(context, replace(order, claim=claim), donor) if donor is not None else None
        if changed is not None:
            return changed
        claim, checkpoint = resumed(context, claim)
        return Order(claim, resume=checkpoint)
    except LeaseLost as error:  # whoever owns the trial now begins with its row; this one is stopped at its next epoch
        log.info("%s", error)
        return order


def _changed(context: Context, order: Order, donor: Donor) -> Order | None:
    """None if the trial has to go on as it was."""
    claim, source = order.claim, donor.order.claim
    space = claim.spec.search_space()
    try:
        checkpoint = replace(Checkpoint.from_bytes(donor.content), epoch=claim.epoch)
        stored = context.artifacts.put(checkpoint.to_bytes(tag=tag_of(claim)))
    except (*UNUSABLE, SafetensorError, ArtifactsAway, DiskFull) as error:
        log.warning("job %s trial %d goes on as it was: %s", claim.job_id, claim.number, error)
        return None
    for attempt in range(TRIES):
        candidate = _candidate(source.candidate, claim.spec, claim.number, claim.epoch, attempt)
        digest = space.digest(candidate)
        try:
            with context.store.write() as session:
                claim, replaced = lineage.take_over(session, claim, source, candidate, digest, stored)
        except Twin:
            continue
        except LeaseLost:
            context.artifacts.delete(stored.sha256)
            raise
        if replaced is not None:
            context.artifacts.delete(replaced)
        log.info("job %s trial %d goes on as trial %d", claim.job_id, claim.number, source.number)
        return Order(claim, resume=stored.sha256)
    context.artifacts.delete(stored.sha256)
    log.info("job %s: all that the recipe may become has been tried with trial %d", claim.job_id, source.number)
    return None


def _candidate(candidate: Candidate | None, spec: JobSpec, number: int, epoch: int, attempt: int) -> Candidate:
    """The other trial's network, with a recipe that depends on who takes it over, and when."""
    assert candidate is not None and spec.scheduler is not None  # noqa: S101, PT018 - a search trial that trains
    resample = 1.0 if 2 * attempt >= TRIES else spec.scheduler.resample
    rng = np.random.default_rng(derive(spec.seed, "mutate", number, epoch, attempt))
    return mutated(candidate, mutable(spec.recipe.open("")), resample, rng)


def _read(order: Order, snapshot: Snapshot) -> Donor | None:
    try:
        with snapshot.as_directory() as folder:
            return Donor(order, (Path(folder) / CHECKPOINT_FILE).read_bytes())
    except OSError as error:
        log.warning("a checkpoint of trial %d cannot be read: %s", order.claim.number, error)
        return None
