"""What the row of a search trial says of it to a strategy, and to a model of the search."""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from nas.objectives import ObjectiveForm, worth
from nas.search.strategy import Observation
from nas.search.study import UNUSABLE
from nas.store.moves import costs_of
from nas.store.states import FINISHED_TRIAL, TrialState
from nas.store.tables import Trial

C = TypeVar("C")

SCORES: Final = (
    Trial.number,
    Trial.state,
    Trial.reason,
    Trial.epoch,
    Trial.accuracy,
    Trial.rungs,
    Trial.params,
    Trial.macs,
    Trial.latency_ms,
    Trial.memory_mb,
)
"""The columns that `observation` reads, and the trial's number."""


def observation(row: Any, number: int, candidate: C, objectives: Sequence[ObjectiveForm]) -> Observation[C]:
    """What a row with the columns SCORES says, as of trial `number`, which trains `candidate`."""
    costs = costs_of(row)
    unusable = row.reason in UNUSABLE or row.state == TrialState.FAILED
    score, others = worth(objectives, None if unusable else row.accuracy, costs)
    return Observation(
        number=number,
        candidate=candidate,
        finished=row.state in FINISHED_TRIAL,
        complete=row.state == TrialState.COMPLETE,
        epoch=row.epoch,
        score=score,
        infeasible=row.state == TrialState.INFEASIBLE,
        paused=row.state == TrialState.PAUSED,
        rungs=tuple((at, worth(objectives, value, costs)[0] or 0.0) for at, value in row.rungs or ()),
        others=others,
    )
