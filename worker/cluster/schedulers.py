"""Ray's own schedulers, for the search trials of jobs that ask for one; all other trials run as they come.

A scheduler keeps nothing that a next driver needs and the rows do not hold:

- asha: its rungs are filled again from the rows' epochs. A trial whose decision the last driver did not live to carry
  out is decided anew, one epoch later.
- hyperband: the brackets begin anew. Trials that were not through go on from their checkpoints in the bracket that is
  being filled; trials that have ended keep their results, and are not compared again.
- pbt: what was taken over is written in the rows (nas.store.lineage), and so is a trial's age, which says when it is
  compared next. The population is made up of the trials that go on; each can be taken over from once it was compared.

Trials that wait, for their bracket or for a device, keep their rows running: budget.parallel counts them. So a bracket
is halved with the trials that there are, as soon as all of them have come to its rung.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, HyperBandScheduler, TrialScheduler

from nas.search.halving import rungs
from nas.search.options import SchedulerSpec
from nas.spec import JobSpec
from nas.store import lineage
from nas.store.lineage import Past
from nas.store.states import Phase
from worker.cluster.population import EPOCH, SCORE, Population, TakeOver, mode_of, take_over
from worker.context import Context

Result = dict[str, Any]


def scheduler_of(context: Context, job_id: str, spec: JobSpec) -> "SearchOnly | None":
    """The scheduler of a job as its rows have it; None where the job asks for none."""
    if spec.scheduler is None:
        return None
    with context.store.read() as session:
        pasts = lineage.pasts(session, job_id, compared_at(spec.scheduler, spec.budget.epochs))
    return make_scheduler(spec, spec.scheduler, pasts, partial(take_over, context))


def make_scheduler(spec: JobSpec, scheduler: SchedulerSpec, pasts: Sequence[Past], take_over: TakeOver) -> "SearchOnly":
    """Ray's scheduler over the search trials of a job.

    Args:
        spec, scheduler: of the job.
        pasts: what earlier drivers saw at the epochs of compared_at.
        take_over: writes that a trial goes on as another one, for pbt.
    """
    match scheduler.method:
        case "asha":
            return SearchOnly(Asha(spec, scheduler, pasts))
        case "hyperband":
            return SearchOnly(Hyperband(spec, scheduler))
        case "pbt":
            return SearchOnly(Population(spec, scheduler, take_over))


def compared_at(scheduler: SchedulerSpec, epochs: int) -> tuple[int, ...]:
    """The epochs of ASHA's rungs; none of the other schedulers looks at the past."""
    if scheduler.method != "asha":
        return ()
    found = [_first(scheduler, epochs)]
    while found[-1] * scheduler.eta <= epochs:
        found.append(found[-1] * scheduler.eta)
    return tuple(found)


class SearchOnly(TrialScheduler):
    """Shows a scheduler of Ray's the search trials alone; all others run to their end, in the order of their coming.

    A result without an epoch, which only says that a trial is alive, decides nothing, and a trial that has done all its
    epochs ends by itself.
    """

    _supports_buffered_results = False

    def __init__(self, inner: TrialScheduler) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Ray's
        self.inner = inner
        self._searching: dict[Trial, None] = {}
        self._others: dict[Trial, None] = {}

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return object, ()  # Tune saves what it is made with; nobody goes on with that, and it holds the database

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Nothing to be set: the metric is the job's, and only search trials have it."""
        return True

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """See TrialScheduler."""
        if trial.config["order"].claim.phase == Phase.SEARCH:
            self._searching[trial] = None
            self.inner.on_trial_add(self._seen(tune_controller), trial)
        else:
            self._others[trial] = None

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """See TrialScheduler."""
        if self._left(trial):
            self.inner.on_trial_error(self._seen(tune_controller), trial)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: Result) -> None:
        """See TrialScheduler."""
        if self._left(trial):
            self.inner.on_trial_complete(self._seen(tune_controller), trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """See TrialScheduler."""
        if self._left(trial):
            self.inner.on_trial_remove(self._seen(tune_controller), trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Result) -> str:
        """See TrialScheduler."""
        epoch, score = result.get(EPOCH), result.get(SCORE)
        if trial not in self._searching or epoch is None or score is None:
            return TrialScheduler.CONTINUE
        if epoch >= trial.config["order"].claim.epochs:
            return TrialScheduler.CONTINUE
        return str(self.inner.on_trial_result(self._seen(tune_controller), trial, result))

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """See TrialScheduler. Looks at trials that have not ended, however many have.

        Search trials that are paused and go on again and again would take every device that becomes free; so one that
        is not of the search comes first, unless it asks for more than there is while nothing else runs.
        """
        runs = any(trial.status == Trial.RUNNING for trial in (*self._searching, *self._others))
        waiting = next((trial for trial in self._others if trial.status == Trial.PENDING), None) if runs else None
        return waiting or self.inner.choose_trial_to_run(self._seen(tune_controller))

    def debug_string(self) -> str:
        """See TrialScheduler."""
        return str(self.inner.debug_string())

    def _left(self, trial: Trial) -> bool:
        """Whether it was a search trial that had not ended before."""
        self._others.pop(trial, None)
        return self._searching.pop(trial, trial) is None

    def _seen(self, tune_controller: Any) -> Any:
        return _Seen(tune_controller, tuple(self._searching))


@dataclass(frozen=True, eq=False, slots=True)
class _Seen:
    """What a scheduler sees of Tune: the search trials that have not ended, and no search algorithm.

    (PBT refuses one, since it would have it learn from trials that change on the way. Ours knows: the rows say so.)
    """

    controller: Any
    trials: tuple[Trial, ...]

    @property
    def search_alg(self) -> None:
        return None

    def get_trials(self) -> list[Trial]:
        return list(self.trials)

    get_live_trials = get_trials

    def __getattr__(self, name: str) -> Any:
        return getattr(self.controller, name)


class Asha(AsyncHyperBandScheduler):
    """Ray's ASHA, with rungs that know trials by their rows: one that is tried again stands at a rung once."""

    def __init__(self, spec: JobSpec, scheduler: SchedulerSpec, pasts: Sequence[Past]) -> None:
        epochs = spec.budget.epochs
        super().__init__(
            time_attr=EPOCH,
            metric=SCORE,
            mode=mode_of(spec),
            max_t=epochs,
            grace_period=_first(scheduler, epochs),
            reduction_factor=scheduler.eta,
        )
        self._undecided: dict[str, Result] = {}
        self._late: dict[str, str] = {}
        for past in pasts:
            nobody: Any = None
            row: Any = _Row(str(past.trial_id))
            super().on_trial_add(nobody, row)
            for epoch, score in past.scores:
                result = {EPOCH: epoch, SCORE: score}
                if past.finished or epoch < past.epoch:
                    super().on_trial_result(nobody, row, result)
                else:
                    self._undecided[row.trial_id] = result
            super().on_trial_remove(nobody, row)

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """See TrialScheduler."""
        row = _row(trial)
        super().on_trial_add(tune_controller, row)
        if row.trial_id in self._undecided:
            self._late[row.trial_id] = super().on_trial_result(tune_controller, row, self._undecided.pop(row.trial_id))

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Result) -> str:
        """See TrialScheduler."""
        row = _row(trial)
        if self._late.pop(row.trial_id, None) == TrialScheduler.STOP:
            return str(TrialScheduler.STOP)
        return str(super().on_trial_result(tune_controller, row, result))

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: Result) -> None:
        """See TrialScheduler. Its results have been seen one by one."""
        super().on_trial_remove(tune_controller, _row(trial))

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """See TrialScheduler."""
        super().on_trial_remove(tune_controller, _row(trial))


@dataclass(frozen=True, slots=True)
class _Row:
    """What ASHA sees of a trial."""

    trial_id: str


def _row(trial: Trial) -> Any:
    return _Row(str(trial.config["order"].claim.trial_id))


class Hyperband(HyperBandScheduler):
    """Ray's Hyperband, in brackets of so many trials as may be there at once.

    The last trials of a bracket train to the end: its rungs need not come out at budget.epochs.
    """

    def __init__(self, spec: JobSpec, scheduler: SchedulerSpec) -> None:
        super().__init__(
            time_attr=EPOCH,
            metric=SCORE,
            mode=mode_of(spec),
            max_t=spec.budget.epochs,
            reduction_factor=scheduler.eta,
            stop_last_trials=False,
        )
        self._ready: dict[Trial, None] = {}
        whole: Any = self._get_n0
        parallel = spec.budget.parallel
        self._get_n0 = lambda s: min(whole(s), parallel or whole(s))

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Result) -> str:
        """See TrialScheduler."""
        self._ready.pop(trial, None)
        return str(super().on_trial_result(tune_controller, trial, result))

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """See TrialScheduler."""
        self._ready.pop(trial, None)
        super().on_trial_remove(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """See TrialScheduler. Those that may go on, in that order; Tune itself starts new ones."""
        return next((trial for trial in self._ready if trial.status == Trial.PAUSED), None)

    def _create_bracket(self, s: int) -> Any:
        # Ray counts the trials that have not ended. Where trials come one by one, as devices become free, the first
        # bracket, which trains all to the end, would then never be full.
        bracket: Any = super()._create_bracket(s)  # type: ignore[no-untyped-call]  # Ray's
        bracket.filled = lambda: len(bracket._all_trials) >= bracket._n0
        return bracket

    def _unpause_trial(self, tune_controller: Any, trial: Trial) -> None:
        self._ready[trial] = None

    def _process_bracket(self, tune_controller: Any, bracket: Any) -> str:
        """What becomes of the trial that has just come to the bracket's rung; the others are stopped, or may go on.

        Ray waits for ever in two cases. It leaves the mark of a bracket that is being halved set, so that nobody
        notices where the trial that the others wait for fails. And where all have come further than the next rung, as
        trials may that an earlier driver began, nobody is left to come to it.
        """
        actions = []
        while True:
            last = bracket._halves == 0
            actions.append(str(super()._process_bracket(tune_controller, bracket)))
            bracket.is_being_processed = False
            if last or not bracket.current_trials() or not bracket.cur_iter_done():
                return str(TrialScheduler.STOP) if TrialScheduler.STOP in actions else actions[-1]


def _first(scheduler: SchedulerSpec, epochs: int) -> int:
    """Epochs of ASHA's first rung."""
    return scheduler.first or rungs(epochs, scheduler.eta)[0]
