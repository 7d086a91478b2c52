"""What a search may be asked for, as keyword arguments that an editor can complete and mypy can check."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypedDict


class Fields(TypedDict, total=False):
    """The fields of a job but its data set; what is left out has a default. The service checks the values."""

    name: str | None
    space: Mapping[str, Any]
    recipe: Mapping[str, Any]
    limits: Mapping[str, Any]
    start: Sequence[str | Mapping[str, Any]]
    transfer: Mapping[str, Any] | None
    strategy: str
    options: Mapping[str, Any]
    pruning: str | Mapping[str, Any]
    objectives: Sequence[str | Mapping[str, Any]]
    screening: int
    engine: Literal["optuna", "ray"]
    resources: Mapping[str, Any]
    scheduler: str | Mapping[str, Any] | None
    budget: Mapping[str, Any]
    final: Mapping[str, Any]
    tensorboard: bool
    seed: int
    device: Literal["any", "cpu", "gpu"]
    priority: int
    cache: bool


ENDINGS: Final = (".zip", ".npz", ".parquet")


def spec_of(spec: Mapping[str, Any] | None, dataset: str | None, fields: Fields) -> dict[str, Any]:
    """A job as it is sent: what the mapping says, and the fields over it."""
    named = {} if dataset is None else {"dataset": dataset}
    return {**(spec or {}), **named, **fields}


def name_of(path: Path) -> str:
    """What a file's data set is called: the file's name without its ending, made safe."""
    stem = path.name
    for ending in ENDINGS:
        stem = stem.removesuffix(ending)
    safe = "".join(letter if letter.isalnum() or letter in "_.-" else "-" for letter in stem)
    return safe.strip("-.") or "images"
