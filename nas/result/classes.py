"""Class by class: how many images of the test split the network finds, and what it takes for what."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32, Num

MOST_CLASSES: Final = 30
"""Of more classes no table of pairs is kept: nobody reads one."""


def by_class(
    task: str,
    outputs: Float32[npt.NDArray[np.float32], "images outputs"],
    targets: Num[npt.NDArray[Any], "images ..."],
    names: tuple[str, ...],
) -> dict[str, Any]:
    """What metrics.json says of classes, or labels; nothing of a regression.

    Returns:
        `classes`: name, images, recall (the share of its images that are found) and precision (the share of what is
        taken for it that is of it) of each, null where there is nothing to divide by; `confusion` of single labels:
        row by true class, column by what it was taken for, as numbers of images, if there are not too many classes.
    """
    if task == "regression":
        return {}
    if task == "multi_label":
        taken, true = outputs > 0, targets > 0
        return {"classes": _rows(names, (taken & true).sum(axis=0), true.sum(axis=0), taken.sum(axis=0))}
    pairs = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(pairs, (targets.astype(np.int64), outputs.argmax(axis=1)), 1)
    found: dict[str, Any] = {"classes": _rows(names, pairs.diagonal(), pairs.sum(axis=1), pairs.sum(axis=0))}
    return found | ({"confusion": pairs.tolist()} if len(names) <= MOST_CLASSES else {})


def _rows(names: tuple[str, ...], hits: Any, images: Any, taken: Any) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "images": int(of_it),
            "recall": int(hit) / int(of_it) if of_it else None,
            "precision": int(hit) / int(for_it) if for_it else None,
        }
        for name, hit, of_it, for_it in zip(names, hits, images, taken, strict=True)
    ]
