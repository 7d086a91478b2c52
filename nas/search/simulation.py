"""What a simulated search may spend, and what came of it."""

from dataclasses import dataclass
from typing import Generic

from pydantic import Field

from nas.search.fronts import fronts
from nas.search.strategy import C, Observation
from nas.strict import Strict


class Budget(Strict):
    """What a search may spend; it ends with the first of them that is spent. One of the first three is needed."""

    trials: int | None = Field(None, ge=1, description="trials that are begun")
    total_epochs: int | None = Field(None, ge=1, description="epochs of all trials together")
    seconds: float | None = Field(None, gt=0, description="of the simulated clock")
    epochs: int | None = Field(None, ge=1, description="of a whole training; null: what simulate is given")
    target: float | None = Field(None, description="the score of a fully trained trial at which the search ends")


@dataclass(frozen=True, slots=True)
class Improvement(Generic[C]):
    """A fully trained trial that beat all before it.

    Attributes:
        epochs: spent on all trials until then, those that were running included.
        seconds: on the simulated clock.
        score, candidate: of the trial.
    """

    epochs: int
    seconds: float
    score: float
    candidate: C


@dataclass(frozen=True, slots=True)
class Simulation(Generic[C]):
    """A search that was simulated.

    Attributes:
        history: all trials, in the order of their numbers.
        best, best_score: the fully trained trial with the largest (first) score; None if there is none.
        epochs: spent.
        seconds: on the simulated clock when the last worker stopped.
        trajectory: whenever a fully trained trial beat all before it.
        busy_seconds: of all workers together.
    """

    history: tuple[Observation[C], ...]
    best: C | None
    best_score: float | None
    epochs: int
    seconds: float
    trajectory: tuple[Improvement[C], ...]
    busy_seconds: float

    @property
    def pareto(self) -> tuple[Observation[C], ...]:
        """The fully trained trials that no other one dominates."""
        trained = [observation for observation in self.history if observation.complete]
        ranks = fronts([observation.values for observation in trained])
        return tuple(observation for observation, rank in zip(trained, ranks, strict=True) if rank == 0)

    def score_at(self, epochs: float) -> float | None:
        """The best score of a full training when so many epochs were spent."""
        return max((step.score for step in self.trajectory if step.epochs <= epochs), default=None)
