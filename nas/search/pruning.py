"""Which running trials stop early: asynchronous successive halving (ASHA; Li et al. 2020, algorithm 2).

Stopping form: a trial that reaches a rung goes on if it is among the best 1/ETA of all that have reached it so far.
"""

from collections.abc import Sequence
from typing import Final

ETA: Final = 3
FIRST_RUNG: Final = 2
"""No rung after a single epoch: batch-norm statistics have hardly settled by then, and the order is mostly luck."""


def rungs(epochs: int) -> tuple[int, ...]:
    """The epochs at which trials are compared: epochs/3, epochs/9, …, rounded up, down to FIRST_RUNG; ascending."""
    found = set()
    while (epochs := -(-epochs // ETA)) >= FIRST_RUNG:
        found.add(epochs)
        if epochs == FIRST_RUNG:
            break
    return tuple(sorted(found))


def promotes(accuracy: float, others: Sequence[float]) -> bool:
    """Whether a trial with that accuracy at a rung goes on.

    Args:
        accuracy: of the trial at the rung.
        others: accuracies at the rung of all trials that reached it, this one included.
    """
    places = max(1, len(others) // ETA)
    return accuracy >= sorted(others, reverse=True)[places - 1]
