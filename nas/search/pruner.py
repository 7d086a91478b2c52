"""When a trial stands still to be compared with the others, and whether it goes on: the interface of all pruners."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol

from nas.search.strategy import Observation


class Step(StrEnum):
    """What becomes of a trial at the end of a stage."""

    GO_ON = "go on"
    PAUSE = "pause"
    STOP = "stop"


class Pruner(Protocol):
    """Decides which trials stop early. A pure function of the history, like a strategy."""

    @property
    def annealed(self) -> bool:
        """Whether each stage has a learning-rate schedule of its own that ends annealed, so that rungs rank well."""
        ...

    def stages(self, number: int, epochs: int) -> tuple[int, ...]:
        """The epochs at which a trial is compared with others, ascending; the last one is `epochs`.

        Args:
            number: of the trial.
            epochs: of a whole training.
        """
        ...

    def after(self, number: int, history: Sequence[Observation[Any]], epochs: int) -> Step:
        """What becomes of trial `number`, which has just ended a stage that is not its last.

        Args:
            number: of the trial; its Observation has the score at this stage in `rungs` already.
            history: all search trials.
            epochs: of a whole training.
        """
        ...

    def promote(self, history: Sequence[Observation[Any]], epochs: int, *, closing: bool) -> int | None:
        """The number of a paused trial that may go on now, or None.

        Args:
            history: all search trials.
            epochs: of a whole training.
            closing: whether no further trial will be added and none is running: then every rung that holds paused
                trials, and out of which none was promoted that still stands, has its best one promoted, so that a
                search with few trials trains its best one to the end.
        """
        ...


def held_back(history: Sequence[Observation[Any]], epochs: int) -> int:
    """Epochs of a budget to hold back so that a trial can be trained to the end: 0 once one was.

    It is what the furthest trial that has not failed still needs.

    Args:
        history: all search trials.
        epochs: of a whole training.
    """
    furthest = 0
    for observation in history:
        if observation.complete:
            return 0
        if not observation.finished:
            furthest = max(furthest, observation.epoch)
    return epochs - furthest
