"""What `nas search` was asked for: a config file, the options over it, and `--set` over both."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cli.config import Config, is_config, read
from cli.fields import put

DATA_ENDINGS: Final = (".zip", ".npz", ".parquet", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True, slots=True)
class Asked:
    """A job to ask for.

    Attributes:
        spec: as it is sent.
        upload: path or URL of the data set, if it is to be uploaded first.
        config: the file that it comes from, or None.
    """

    spec: dict[str, Any]
    upload: str | None
    config: Config | None

    @contextlib.contextmanager
    def telling_where(self) -> Iterator[None]:
        """Puts file and line before the service's words, where they are about a field of the config file."""
        from nas.client import ServiceError

        try:
            yield
        except ServiceError as error:
            place = self.config.place(str(error)) if self.config else None
            if place is None:
                raise
            raise ServiceError(error.status, f"{place}: {error}") from error


def ask_for(source: str | None, dataset: str | None, options: Mapping[str, Any], assignments: Sequence[str]) -> Asked:
    """The job of a command line.

    Args:
        source: its argument: a data set, or a config file.
        dataset: its option `--dataset`.
        options: the other options, as fields of a job.
        assignments: of its `--set`.

    Raises:
        UserError: no data set is named.
        InvalidInput: the config file or an assignment cannot be read.
    """
    from nas.errors import UserError

    config = read(Path(source)) if source is not None and is_config(source) else None
    spec: dict[str, Any] = {} if config is None else dict(config.spec)
    for name, value in options.items():
        spec[name] = {**spec[name], **value} if isinstance(value, dict) and isinstance(spec.get(name), dict) else value
    named = dataset if dataset is not None else (source if config is None else None)
    if named is not None:
        spec["dataset"] = named
    for assignment in assignments:
        put(spec, assignment)
    if "dataset" not in spec:
        where = "put `dataset: NAME` into the file, or use --dataset" if config else "such as `nas search digits`"
        raise UserError(f"name a data set or a config file: {where}; `nas datasets` lists data sets")
    beside = config.path.parent if config is not None and spec["dataset"] == config.spec.get("dataset") else Path()
    return Asked(spec, _upload(spec["dataset"], beside), config)


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that were given."""
    return {name: value for name, value in values.items() if value is not None and value != {}}


def _upload(dataset: object, beside: Path) -> str | None:
    """The path or URL that a data set is, or None for the name of one."""
    if not isinstance(dataset, str):
        return None
    if dataset.startswith(("hf:", "http://", "https://")):
        return dataset
    path = beside / Path(dataset).expanduser()
    if "/" in dataset or "\\" in dataset or dataset.lower().endswith(DATA_ENDINGS):
        return str(path)
    return None
