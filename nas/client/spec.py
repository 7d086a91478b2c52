"""What a search may be asked for, as keyword arguments that an editor can complete and mypy can check."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypedDict

from nas.errors import InvalidInput


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
    """A job as it is sent: what the mapping says, and the fields over it.

    Raises:
        InvalidInput: the job is no mapping, or its data set is the name of a file.
    """
    given: object = spec
    if not isinstance(given, Mapping | None):
        raise InvalidInput("spec", given, f"it is a mapping of fields; name a data set as in dataset={given!r}")
    named = {} if dataset is None else {"dataset": dataset}
    if isinstance(dataset, str) and dataset.lower().endswith(ENDINGS) and Path(dataset).is_file():
        raise InvalidInput("dataset", dataset, f"a text is the name of a data set; a file is Path({dataset!r})")
    return {**(spec or {}), **named, **fields}


def file_of(path: str | Path) -> Path:
    """The file of a data set. Raises InvalidInput for a folder."""
    source = Path(path)
    if source.is_dir():
        mend = (
            "it is a folder: pack its class folders into a zip, as shutil.make_archive does, or `nas datasets add` it"
        )
        raise InvalidInput("path", str(path), mend)
    return source


def name_of(path: Path) -> str:
    """What a file's data set is called: the file's name without its ending, made safe."""
    stem = path.name
    for ending in ENDINGS:
        stem = stem.removesuffix(ending)
    safe = "".join(letter if letter.isalnum() or letter in "_.-" else "-" for letter in stem)
    return safe.strip("-.") or "images"
