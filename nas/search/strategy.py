"""The interface of all search strategies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from nas.space import Space

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Observation(Generic[C]):
    """What is known of one trial. All values are to be maximised: what a job minimises comes with its sign turned.

    Attributes:
        number: of the trial among those of the search, from 0.
        candidate: what it trains.
        finished: whether nothing more will become known.
        complete: whether it was trained to the end; a finished trial that was not was stopped early or failed.
        epoch: epochs done.
        score: the first objective after `epoch` epochs; None before the first one, and of a trial that diverged, that
            broke a limit and was never trained, or that failed.
        infeasible: whether it breaks a limit of the job, and was not trained for that.
        paused: whether it waits at a rung to be promoted: not finished, but its scores at its rungs stand.
        rungs: (epoch, score) wherever it was compared with others so far, ascending.
        others: the values of the further objectives, which training does not change; empty if there is one objective.
    """

    number: int
    candidate: C
    finished: bool
    complete: bool
    epoch: int
    score: float | None
    infeasible: bool = False
    paused: bool = False
    rungs: tuple[tuple[int, float], ...] = ()
    others: tuple[float, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether `score` stands: the trial is finished or paused, and has one."""
        return (self.finished or self.paused) and self.score is not None

    @property
    def values(self) -> tuple[float, ...]:
        """All objectives, the first one first. Raises ValueError of a trial without a score."""
        if self.score is None:
            raise ValueError(f"trial {self.number} has no score")
        return (self.score, *self.others)


class Strategy(Protocol):
    """Chooses what to try next. A pure function: same history and seed, same proposal."""

    def propose(self, space: Space[C], history: Sequence[Observation[C]], seed: int) -> C:
        """Proposes a candidate of the space.

        Args:
            space: the candidates to choose from.
            history: the job's search trials in the order of their numbers, running ones included.
            seed: of everything random in the choice.

        Raises:
            SpaceExhausted: the strategy has nothing more to propose: a grid is done, a supernet's genotypes are tried.
        """
        ...
