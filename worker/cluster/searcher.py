"""What Ray Tune asks a driver: for the next trial, what its results mean, whether all is over.

None of the classes has a state of its own: everything is in the rows, and in what the driver has under way.
"""

from pathlib import Path
from typing import Any, Protocol

from ray.tune import Callback, Stopper
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from worker.cluster.ride import News
from worker.cluster.trainable import NEWS


class Drives(Protocol):
    """What a driver answers; `tune_id` is Tune's own name of a trial. No method raises: Tune would swallow it."""

    def next_config(self, tune_id: str) -> dict[str, Any] | None:
        """The configuration of another trial; None: there is none now."""

    def over(self) -> bool:
        """Whether everything has to stop, and nothing more is asked for."""

    def began(self, tune_id: str, actor: Any) -> None:
        """Notes that an actor has the trial."""

    def told(self, tune_id: str, news: News) -> bool:
        """Takes what a node tells; whether the trial ends with that."""

    def ended(self, tune_id: str) -> None:
        """Notes that Tune does not run a trial any more."""

    def died(self, tune_id: str, text: str) -> None:
        """Notes that a trial's actor failed, and what Tune says of it."""


class Over(Exception):  # noqa: N818 - the end of all, and no error
    """There is no more to be done.

    It leaves Tune by raising: Tune stops its actors then as always, but does not write down and look up again what it
    knows of every trial that there was.
    """


class Unsaved:
    """Something that Tune saves with an experiment, to go on with it; nothing is to go on with that."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return object, ()


class RowSearcher(Unsaved, Searcher):
    """Suggests what the rows have to be done, as a worker takes it."""

    def __init__(self, driver: Drives) -> None:
        super().__init__()
        self._driver = driver

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """See Searcher."""
        config = self._driver.next_config(trial_id)
        if config is None and self._driver.over():
            raise Over
        return config

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """See Searcher. Of one whose actor failed, Actors hears why."""
        if not error:
            self._driver.ended(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """See Searcher: there is nothing to be saved."""

    def restore(self, checkpoint_path: str) -> None:
        """See Searcher."""


class RowStopper(Unsaved, Stopper):
    """Hears of every result before anyone else, and says whether the trial ends with it."""

    def __init__(self, driver: Drives) -> None:
        self._driver = driver

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """See Stopper."""
        news = result.get(NEWS)
        return news is not None and self._driver.told(trial_id, news)

    def stop_all(self) -> bool:
        """See Stopper."""
        if self._driver.over():
            raise Over
        return False


class Actors(Unsaved, Callback):
    """Hears of the actors that take trials, and of those that fail."""

    def __init__(self, driver: Drives) -> None:
        self._driver = driver

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """See Callback."""
        self._driver.began(trial.trial_id, trial.temporary_state.ray_actor)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """See Callback."""
        path = trial.error_file  # on this machine, and only now written
        self._driver.died(trial.trial_id, Path(path).read_text(errors="replace") if path else "")


class InOrder(FIFOScheduler):
    """Starts trials as they come. Ray's own looks through all that there ever were, at every step."""

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """See TrialScheduler: Tune itself starts what is pending."""
        return None
