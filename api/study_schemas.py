"""What the API answers about a search as Optuna sees it: its trials, which parameters mattered, and their values."""

from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, Field

Parameter = str | int | float | bool | None
"""A value of a parameter: what Optuna's categories and numbers can be."""

NAMED: Final = "the parameter in words, such as 'normal 2←0' for the operation on that edge"
CODED: Final = "the parameter's name in the study"


class StudyTrial(BaseModel):
    """A trial of the search, with the fields of optuna.trial.FrozenTrial that a client cannot know itself."""

    number: int = Field(description="its place in the search, from 0 without gaps; `user_attrs.number` is the job's")
    state: Literal["RUNNING", "WAITING", "COMPLETE", "PRUNED", "FAIL"]
    params: dict[str, Parameter] = Field(
        description="name → value; empty where nothing was proposed yet, and of a network from outside the space"
    )
    values: list[float] | None = Field(description="of each objective; null unless it is complete or was pruned")
    intermediate_values: dict[int, float] = Field(description="epoch → accuracy, where the job looks for accuracy")
    datetime_start: datetime | None
    datetime_complete: datetime | None
    user_attrs: dict[str, Any] = Field(description="number, phase, digest, reason, epoch, and what the network costs")


class StudyPage(BaseModel):
    """Trials of the search in their order. The distributions hold for all trials: each has those of its `params`."""

    directions: list[Literal["maximize", "minimize"]]
    metric_names: list[str]
    distributions: dict[str, dict[str, Any]] = Field(
        description='name → {"name": …, "attributes": …}, which optuna.distributions.json_to_distribution takes as text'
    )
    items: list[StudyTrial]
    next_cursor: str | None


class Importance(BaseModel):
    """How much a parameter mattered."""

    name: str = Field(description=NAMED)
    parameter: str = Field(description=CODED)
    importance: float = Field(description="its share; all together are 1")


class Importances(BaseModel):
    """What the best trials have in common, by PED-ANOVA (Watanabe et al. 2023); the largest share first."""

    metric: str
    trials: int = Field(description="that it rests on")
    note: str | None = Field(description="why there are no items, or what has to be known to read them")
    items: list[Importance]


class Dimension(BaseModel):
    """An axis of parallel coordinates."""

    name: str = Field(description=NAMED)
    parameter: str = Field(description=CODED)
    kind: Literal["number", "category"]
    choices: list[Parameter] | None = Field(description="of a category, in their order")
    low: float | None = Field(description="of a number")
    high: float | None = Field(description="of a number")
    log: bool = Field(description="whether the axis is logarithmic")
    importance: float | None = Field(description="see GET …/importances; null where that knows nothing yet")


class Line(BaseModel):
    """A trial across the axes."""

    trial: int
    state: str
    score: float = Field(description="of the metric, as far as the trial was trained")
    values: list[Parameter] = Field(description="one for each dimension")


class Parallel(BaseModel):
    """Trials with a score across the parameters that matter most."""

    metric: str
    direction: Literal["maximize", "minimize"]
    total: int = Field(description="trials with a score")
    shown: int
    dimensions: list[Dimension]
    items: list[Line] = Field(description="by number; the best ones are among them, the others are an even sample")
