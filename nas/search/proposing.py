"""What a trial may train, best first: the same for a job's workers and for a simulation."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import numpy as np

from nas.search.strategy import C, Observation, Strategy
from nas.seeds import derive
from nas.space import Space

PROPOSALS: Final = 20
"""Twins that a strategy may propose for one trial before chance takes over."""

DRAWS: Final = 1000
"""Twins that chance may draw before the space counts as exhausted."""

STUBBORN: Final = 10
"""Infeasible trials in a row after which a trial draws until something keeps the limits."""


def proposals(
    strategy: Strategy,
    space: Space[C],
    history: Sequence[Observation[C]],
    *,
    number: int,
    seed: int,
    starts: Sequence[C] = (),
    asked: int = 1,
) -> Iterator[C]:
    """Candidates for trial `number`: its start if it has one, what the strategy proposes, and then random ones.

    Args:
        strategy, space, history: see Strategy.
        number: of the trial among those of the search.
        seed: of the job.
        starts: what the first trials train.
        asked: how many different proposals are wanted.

    Raises:
        SpaceExhausted: see Strategy.
    """
    if number < len(starts):
        yield starts[number]
    # A published cell may be of another form than the space's, which a strategy cannot learn from.
    known = history
    if not all(map(space.contains, starts)):
        known = [seen for seen in history if seen.number >= len(starts) or space.contains(seen.candidate)]
    patience = PROPOSALS + asked - 1
    for attempt in range(DRAWS + patience):
        one = derive(seed, "propose", number, attempt)
        if attempt < patience and not stubborn(history):
            yield strategy.propose(space, known, one)
        else:
            yield space.sample(np.random.default_rng(one))


def stubborn(history: Sequence[Observation[C]]) -> bool:
    """Whether the last trials broke the limits one after the other, so that proposing more of them is of no use."""
    last = list(islice((seen.infeasible for seen in reversed(history) if seen.finished), STUBBORN))
    return len(last) == STUBBORN and all(last)
