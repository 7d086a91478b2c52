"""Trials as a pandas frame."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from nas.client.answers import TrialSummary
from nas.client.packages import wanted

if TYPE_CHECKING:
    import pandas

TIME: Final = "datetime64[us, UTC]"
COLUMNS: Final = {
    "phase": "category",
    "state": "category",
    "accuracy": "float64",
    "epoch": "int64",
    "epochs": "int64",
    "params": "Int64",
    "macs": "Int64",
    "latency_ms": "float64",
    "memory_mb": "float64",
    "front": "bool",
    "reason": "string",
    "stage": "int64",
    "rungs": "object",
    "seed_index": "int64",
    "attempt": "int64",
    "worker": "string",
    "cached": "bool",
    "digest": "string",
    "created_at": TIME,
    "started_at": TIME,
    "finished_at": TIME,
}
"""Type of each column; Int64 and string know missing values, missing floats are NaN."""


def trials_frame(trials: Sequence[TrialSummary]) -> "pandas.DataFrame":
    """One row a trial in the order given, its number as the index. Raises NoPackage."""
    library = wanted("pandas")
    index = library.Index([trial["number"] for trial in trials], dtype="int64", name="number")
    columns = {}
    for name, kind in COLUMNS.items():
        values = [trial.get(name) for trial in trials]
        if kind == TIME:
            columns[name] = library.Series(library.to_datetime(values, utc=True, format="ISO8601"), index=index).astype(
                TIME
            )
        else:
            columns[name] = library.Series(values, index=index, dtype=kind)
    frame: pandas.DataFrame = library.DataFrame(columns, index=index)
    return frame
