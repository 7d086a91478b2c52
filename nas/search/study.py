"""A search as Optuna would have it: distributions, parameters, states and values of its trials. Optuna is not needed.

So a client that has Optuna can make a study of any job without knowing our spaces, and a service that answers it need
not load Optuna.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from nas.objectives import ObjectiveForm
from nas.space import Candidate, Categorical, Distribution, Integer, Space
from nas.space.distributions import Value
from nas.space.joint import RECIPE, SPACE

State = Literal["RUNNING", "WAITING", "COMPLETE", "PRUNED", "FAIL"]

STATES: Final[dict[str, State]] = {
    "queued": "RUNNING",  # it was begun and given back; one that was never begun waits
    "running": "RUNNING",
    "paused": "RUNNING",
    "complete": "COMPLETE",
    "pruned": "PRUNED",
    "infeasible": "FAIL",
    "failed": "FAIL",
    "cancelled": "FAIL",
}
"""State of a trial → what Optuna calls it."""

FINISHED: Final = ("COMPLETE", "PRUNED", "FAIL")

UNUSABLE: Final = ("diverged", "out_of_memory")
"""Reasons for which what a trial scored says nothing."""


@dataclass(frozen=True, slots=True)
class Record:
    """What there is to know of a search trial.

    Attributes:
        index: its place in the search, from 0.
        number, phase, state, reason, digest, epoch: of the trial.
        candidate: None before one was proposed.
        accuracy: after `epoch` epochs.
        costs: metric → value, None where it is not known.
        curve: (epoch, accuracy), ascending.
        created, started, finished: aware UTC.
    """

    index: int
    number: int
    phase: str
    state: str
    reason: str | None
    digest: str | None
    epoch: int
    candidate: Candidate | None
    accuracy: float | None
    costs: Mapping[str, float | None]
    curve: tuple[tuple[int, float], ...]
    created: datetime
    started: datetime | None
    finished: datetime | None


@dataclass(frozen=True, slots=True)
class StudyTrial:
    """A trial with the fields of optuna.trial.FrozenTrial; its distributions are those of its parameters."""

    number: int
    state: State
    params: dict[str, Value]
    values: list[float] | None
    intermediate_values: dict[int, float]
    datetime_start: datetime | None
    datetime_complete: datetime | None
    user_attrs: dict[str, Any]


def as_study_trial(record: Record, space: Space[Candidate], objectives: Sequence[ObjectiveForm]) -> StudyTrial:
    """The trial as Optuna would have it, such that optuna.trial.create_trial takes it.

    Optuna knows a value for every objective of a complete trial, and none of a failed one. Of a pruned trial of a
    single objective it takes the last value that is known. What waits at a rung runs, as far as Optuna goes.
    """
    state = STATES[record.state]
    if record.state == "queued" and record.started is None:
        state = "WAITING"
    known = [record.accuracy if one.metric == "accuracy" else record.costs.get(one.metric) for one in objectives]
    values = [float(value) for value in known if value is not None]
    whole = len(values) == len(known)
    if state in ("COMPLETE", "PRUNED") and (record.reason in UNUSABLE or (state == "COMPLETE" and not whole)):
        state = "FAIL"
    shown = whole and (state == "COMPLETE" or (state == "PRUNED" and len(objectives) == 1))
    start = None if state == "WAITING" else record.started or record.created
    scored = any(one.metric == "accuracy" for one in objectives)
    return StudyTrial(
        number=record.index,
        state=state,
        params=params_of(record.candidate, space),
        values=values if shown else None,
        intermediate_values=dict(record.curve) if scored else {},
        datetime_start=start,
        datetime_complete=(record.finished or start) if state in FINISHED else None,
        user_attrs=_attributes(record),
    )


def params_of(candidate: Candidate | None, space: Space[Candidate]) -> dict[str, Value]:
    """A candidate as a value for each parameter; nothing of one that the space does not hold, as a start may be."""
    if candidate is None:
        return {}
    try:
        return space.encode(candidate)
    except ValueError:
        return {}


def as_json(found: Distribution) -> dict[str, Any]:
    """A distribution as optuna.distributions.distribution_to_json writes it."""
    if isinstance(found, Categorical):
        return {"name": "CategoricalDistribution", "attributes": {"choices": list(found.choices)}}
    kind, step = ("IntDistribution", 1) if isinstance(found, Integer) else ("FloatDistribution", None)
    return {"name": kind, "attributes": {"log": found.log, "step": step, "low": found.low, "high": found.high}}


def in_words(names: Iterable[str]) -> dict[str, str]:
    """Names of parameters → what people call them, no two alike.

    The inputs of a cell's first node are always 0 and 1; further nodes choose theirs, so that there an operation
    belongs to the first or the second of them.
    """
    found = {name: _in_words(name) for name in names}
    words = list(found.values())
    return {name: name if words.count(text) > 1 else text for name, text in found.items()}


EDGES: Final = {"op_a": "2←0", "op_b": "2←1"}
PARTS: Final = {"sources": "inputs", "op_a": "first operation", "op_b": "second operation"}


def _in_words(name: str) -> str:
    if cell := re.fullmatch(r"(normal|reduce)\.(\d+)\.(sources|op_a|op_b)", name):
        kind, node, part = cell.groups()
        return f"{kind} {EDGES[part]}" if node == "2" and part in EDGES else f"{kind} {node}: {PARTS[part]}"
    if layer := re.fullmatch(r"layer\.(\d+)\.(\w+)", name):
        return f"layer {int(layer[1]) + 1}: {layer[2]}"
    return name.removeprefix(RECIPE).removeprefix(SPACE).replace("_", " ")


def _attributes(record: Record) -> dict[str, Any]:
    told = {"number": record.number, "phase": record.phase, "epoch": record.epoch}
    more = {"digest": record.digest, "reason": record.reason, "accuracy": record.accuracy, **record.costs}
    return told | {name: value for name, value in more.items() if value is not None}
