"""The median rule: a trial stops where its best score so far is below the median of the others' scores.

Golovin et al. 2017, Google Vizier, section 3.2, with the trial's best score in place of an extrapolation, as in
Optuna's MedianPruner.
"""

from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from nas.search.fronts import merits
from nas.search.pruner import Step
from nas.search.strategy import Observation

STAGES: Final = 10
"""Comparisons a training, its end included."""

OTHERS: Final = 5
"""Trials that must have been at a stage before another one is stopped there."""


class Median:
    """Stops trials at evenly spaced epochs after a warm-up of a tenth of the training. Nothing is ever paused."""

    annealed: Final = False

    def stages(self, number: int, epochs: int) -> tuple[int, ...]:
        """See Pruner."""
        warm_up = -(-epochs // STAGES)
        spaced = {warm_up + round((epochs - warm_up) * stage / STAGES) for stage in range(1, STAGES + 1)}
        return tuple(sorted(spaced))

    def after(self, number: int, history: Sequence[Observation[Any]], epochs: int) -> Step:
        """See Pruner."""
        own = next(observation for observation in history if observation.number == number)
        stage = own.rungs[-1][0]
        others = [
            (score, *observation.others)
            for observation in history
            if observation.number != number
            for epoch, score in observation.rungs
            if epoch == stage
        ]
        if len(others) < OTHERS:
            return Step.GO_ON
        best = (max(score for _, score in own.rungs), *own.others)
        merit, *rest = merits([best, *others])
        return Step.STOP if merit < median(rest) else Step.GO_ON

    def promote(self, history: Sequence[Observation[Any]], epochs: int, *, closing: bool) -> int | None:
        """See Pruner."""
        return None
