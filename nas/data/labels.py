"""Which task an array of labels means, and the labels in the form that this task has."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.data.found import check_names
from nas.data.splits import Labels
from nas.errors import InvalidInput

MEND = (
    "labels are integers [N] (a class each), 0 or 1 [N, K] with K of 2 or more (a label may hold or not), "
    "or floats [N] or [N, T] (targets)"
)


@dataclass(frozen=True, eq=False, slots=True)
class Told:
    """Labels of a task: `values` and `names` as ImageSet has labels and classes."""

    task: str
    values: Labels
    names: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def of_array(labels: npt.NDArray[Any], names: tuple[str, ...] | None, field: str) -> Told:
    """Tells the task by shape and type: see MEND. Integers or truth values [N, 1] are [N].

    Args:
        labels: of any type; not empty.
        names: of classes, labels or targets; None names them by number.
        field: what the labels are called, for messages.

    Raises:
        InvalidInput: none of these; a label that is negative or so large that there cannot be so many classes; targets
            that are not finite; names that are too few or too many.
    """
    kind = labels.dtype.kind
    if not labels.size or labels.ndim not in (1, 2) or kind not in "iubf":
        raise InvalidInput("file", f"{field} of shape {labels.shape}, type {labels.dtype}", MEND)
    if kind == "f":
        return _regression(labels.reshape(len(labels), -1), names, field)
    if labels.ndim == 2 and labels.shape[1] > 1:
        return _multi(labels, names, field)
    return _single(labels.reshape(-1), names, field)


def _single(labels: npt.NDArray[Any], names: tuple[str, ...] | None, field: str) -> Told:
    smallest, largest = int(labels.min()), int(labels.max())
    if smallest < 0:
        raise InvalidInput("file", f"{field}: {smallest}", "labels count from 0: leave out images without a label")
    if largest > len(labels) or (names is not None and largest >= len(names)):
        most = len(labels) if names is None else len(names) - 1
        raise InvalidInput("file", f"{field}: {largest}", f"labels are 0 to {most}: number the classes from 0")
    names = names or tuple(str(label) for label in range(largest + 1))
    return Told("single_label", labels.astype(np.int64), names)


def _multi(labels: npt.NDArray[Any], names: tuple[str, ...] | None, field: str) -> Told:
    if labels.min() < 0 or labels.max() > 1:
        wrong = labels[(labels < 0) | (labels > 1)][0]
        raise InvalidInput("file", f"{field}: {wrong}", f"each of several labels is 0 or 1; {MEND}")
    names = _named(names, "label", labels.shape[1])
    one_each = bool((labels.sum(axis=1, dtype=np.int64) == 1).all())
    hint = "Every image has exactly one label: if that is no accident, give a class number each instead of a row."
    return Told("multi_label", labels.astype(np.uint8), names, (hint,) if one_each else ())


def _regression(labels: npt.NDArray[Any], names: tuple[str, ...] | None, field: str) -> Told:
    with np.errstate(over="ignore"):  # what 32 bits cannot hold becomes infinite, and is refused as that
        values = labels.astype(np.float32)
    finite = np.isfinite(values)
    if not finite.all():
        row = int(finite.all(axis=1).argmin())
        mend = "targets are finite 32-bit numbers: leave out images without one"
        raise InvalidInput("file", f"{field}[{row}]: {labels[row].tolist()}", mend)
    names = _named(names, "target", labels.shape[1])
    binary = labels.shape[1] > 1 and bool(np.isin(labels, (0, 1)).all())
    hint = "All targets are 0 or 1: if they say which labels hold, give them as integers."
    return Told("regression", values, names, (hint,) if binary else ())


def _named(names: tuple[str, ...] | None, noun: str, count: int) -> tuple[str, ...]:
    if names is None:
        names = (noun,) if count == 1 else tuple(f"{noun} {index}" for index in range(count))
    if len(names) != count:
        raise InvalidInput("file", f"{len(names)} classes", f"there are {count} {noun}s: one name for each")
    check_names(names)
    return names
