"""What a search looks for: the task's score, and what a network costs. No torch."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from nas.strict import Strict

Metric = Literal["accuracy", "params", "macs", "latency_ms", "memory_mb"]
Direction = Literal["maximize", "minimize"]

DIRECTIONS: Final[dict[str, Direction]] = {
    "accuracy": "maximize",
    "params": "minimize",
    "macs": "minimize",
    "latency_ms": "minimize",
    "memory_mb": "minimize",
}
"""Metric → what one wants of it unless a job says otherwise."""

MEASURED: Final = frozenset({"latency_ms", "memory_mb"})
"""Metrics that have to be measured, on the worker's device; the others follow from a formula, or from training."""


def _completed(value: Any) -> Any:
    """A metric's name stands for itself and its usual direction; British spelling is understood."""
    if isinstance(value, str):
        value = {"metric": value}
    if isinstance(value, dict) and isinstance(value.get("direction"), str):
        value = value | {"direction": value["direction"].replace("imise", "imize")}
    if isinstance(value, dict) and "direction" not in value and isinstance(value.get("metric"), str):
        value = value | {"direction": DIRECTIONS.get(value["metric"], "maximize")}
    return value


class ObjectiveForm(Strict):
    """One thing to look for."""

    metric: Metric = Field(
        description="accuracy: the task's score (accuracy, mean average precision or R²) on validation; params, macs: "
        "of the network; latency_ms, memory_mb: of a forward pass of limits.batch_size images on the worker's device"
    )
    direction: Direction = Field(
        description="what one wants of it; if left out, accuracy is maximized, a cost minimized"
    )

    @property
    def sign(self) -> int:
        """1 or -1: times the metric's value it is to be maximised."""
        return 1 if self.direction == "maximize" else -1


Objective = Annotated[ObjectiveForm, BeforeValidator(_completed, json_schema_input_type=str | ObjectiveForm)]


def in_order(objectives: Sequence[ObjectiveForm]) -> list[ObjectiveForm]:
    """The score of the task first, which is the one that training changes; the others as they stand."""
    return sorted(objectives, key=lambda objective: objective.metric != "accuracy")


def worth(
    objectives: Sequence[ObjectiveForm], accuracy: float | None, costs: Mapping[str, float | None]
) -> tuple[float | None, tuple[float, ...]]:
    """(score, others) as an Observation has them: all to be maximised; the score is None where something is unknown.

    Args:
        objectives: of the job.
        accuracy: the task's score so far; None before the first epoch.
        costs: metric → value; None where it is not known.
    """
    values = []
    for objective in in_order(objectives):
        value = accuracy if objective.metric == "accuracy" else costs.get(objective.metric)
        if value is None:
            return None, ()
        values.append(objective.sign * float(value))
    return (values[0] if accuracy is not None else None), tuple(values[1:])
