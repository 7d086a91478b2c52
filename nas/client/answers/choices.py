"""What there is to choose from, and how large a search would be."""

from typing import Any, TypedDict


class StrategyInfo(TypedDict):
    """A way to choose candidates; `options` is a JSON schema."""

    name: str
    summary: str
    source: str | None
    default: bool
    prepares: str
    options: dict[str, Any]


class DatasetInfo(TypedDict):
    """A data set that can be named in a job; of a built-in one the rest is None until it is first used."""

    name: str
    summary: str
    owner: str | None
    task: str | None
    image: list[int] | None
    images: int | None
    classes: list[str] | None
    counts: dict[str, int] | None
    splits: dict[str, int] | None
    digest: str | None
    size_bytes: int | None
    warnings: list[str] | None
    created_at: str | None
    links: dict[str, str]


class Range(TypedDict):
    """A cost of the networks of a space."""

    smallest: int
    typical: int
    largest: int


class EstimatedSpace(TypedDict):
    """How many candidates there are: a number if it is not too large for one, and text."""

    candidates: float | None
    text: str


class EstimatedNetwork(TypedDict):
    """How large the networks are."""

    params: Range
    macs: Range
    exact: bool


class EstimatedEpochs(TypedDict):
    """Of all networks together."""

    search: int
    final: int


class EstimatedSeconds(TypedDict):
    """From the first trial to the model."""

    low: float
    expected: float
    high: float


class Estimate(TypedDict):
    """How large a search would be, about how long it would take, and what that rests on."""

    dataset: str
    strategy: str
    space: EstimatedSpace
    network: EstimatedNetwork
    trials: int
    epochs: EstimatedEpochs
    seconds: EstimatedSeconds
    workers: int
    parallel: int
    basis: str
