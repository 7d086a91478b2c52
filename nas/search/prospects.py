"""What the trials of a history promise, in numbers that can be compared, however far each of them was trained.

With successive halving most trials wait at a rung all through the search, and the score after 4 epochs says little next
to one after 98. So each score is carried forward to the highest rung: by the median gain from its rung to the next one
of the trials that were trained on. Within a rung this keeps the order; between rungs it asks for more of who was
trained longer, by as much as training usually brings.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Generic

from nas.search.fronts import merits
from nas.search.strategy import C, Observation


@dataclass(frozen=True, slots=True)
class Prospect(Generic[C]):
    """A trial of which something is known: finished with a score, or waiting at a rung, or promoted from one.

    Attributes:
        number, candidate: of the trial.
        values: its objectives, all to be maximised, the first one carried forward.
    """

    number: int
    candidate: C
    values: tuple[float, ...]


def prospects(history: Sequence[Observation[C]]) -> list[Prospect[C]]:
    """The trials of which something is known, in the order of the history.

    Those that failed, diverged or break a limit are not among them: nothing is known of what they would score.
    """
    known = [(observation, at) for observation in history if (at := standing(observation)) is not None]
    gains = _gains(known)
    return [
        Prospect(observation.number, observation.candidate, (score + gains[epoch], *observation.others))
        for observation, (epoch, score) in known
    ]


def standing(observation: Observation[Any]) -> tuple[int, float] | None:
    """The epoch and the score by which a trial counts; None while it has none, or if it failed.

    A trial that was promoted and runs again counts by its last rung: what it scores in between may be lost again.
    """
    if observation.finished or observation.paused:
        return None if observation.score is None else (observation.epoch, observation.score)
    return observation.rungs[-1] if observation.rungs else None


def excerpt(found: Sequence[Prospect[C]], limit: int) -> list[Prospect[C]]:
    """At most `limit` of them, in their order, for models that get slow with the length of the history.

    A quarter of them are the best, which tell where it is good; half are the newest, without which a model would
    propose again and again what has just turned out to be bad; the rest are spread evenly over all others, and stay
    the same ones for a long time.
    """
    count = len(found)
    if count <= limit:
        return list(found)
    ranked = merits([prospect.values for prospect in found])
    best = sorted(range(count), key=ranked.__getitem__, reverse=True)[: limit // 4]
    step = 1
    while count > step * (limit // 4):
        step *= 2
    chosen = {*best, *range(count - limit // 2, count), *range(0, count, step)}
    return [found[index] for index in sorted(chosen)]


def _gains(known: Sequence[tuple[Observation[Any], tuple[int, float]]]) -> dict[int, float]:
    """Epoch → what is added to a score there; 0 at the highest one, and where no trial tells what comes next."""
    steps: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
    gains = {epoch: 0.0 for _, (epoch, _) in known}
    for observation, (epoch, score) in known:
        at = None
        for rung in (*observation.rungs, (epoch, score)):
            if at is not None and at[0] < rung[0] <= epoch:
                steps[at[0]].append((rung[0], rung[1] - at[1]))
            at = rung
    for epoch in sorted(steps, reverse=True):
        gains[epoch] = median(gain + gains.get(after, 0.0) for after, gain in steps[epoch])
    return gains
