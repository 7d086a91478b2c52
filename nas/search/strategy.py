"""The interface of all search strategies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from nas.space import Space

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Observation(Generic[C]):
    """What is known of one trial.

    Attributes:
        number: of the trial in its job.
        candidate: what it trains.
        finished: whether nothing more will become known.
        complete: whether it was trained to the end; a finished trial that was not was stopped early or failed.
        epoch: epochs done.
        accuracy: on validation, after `epoch` epochs; None before the first one, and of a trial that diverged, that
            broke a limit and was never trained, or that failed.
        infeasible: whether it breaks a limit of the job, and was not trained for that.
    """

    number: int
    candidate: C
    finished: bool
    complete: bool
    epoch: int
    accuracy: float | None
    infeasible: bool = False


class Strategy(Protocol):
    """Chooses what to try next. A pure function: same history and seed, same proposal."""

    def propose(self, space: Space[C], history: Sequence[Observation[C]], seed: int) -> C:
        """Proposes a candidate of the space.

        Args:
            space: the candidates to choose from.
            history: the job's trials in the order of their numbers, running ones included.
            seed: of everything random in the choice.
        """
        ...
