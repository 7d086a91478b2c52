"""Which images go to train, validation and test, so that each part has every label in its share of the whole."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nas.errors import InvalidInput

Labels = npt.NDArray[Any]
"""int64 [N], uint8 [N, K] or float32 [N, T], by the task (nas/data/images.py)."""

Indices = npt.NDArray[np.int64]

TEST_SHARE = 0.2
VALIDATION_SHARE = 0.2
"""Of what the test split leaves."""

SMALLEST_CLASS = 7
"""Of seven images, one or two go to test, and a fifth of the rest is at least one again: every split has the class."""

SPLITS = ("train", "validation", "test")

MOST_BINS = 10
"""Of the values of a regression's first target: with so many, the splits agree in location, spread and tails."""


def split(labels: Labels, task: str, given: Mapping[str, Indices], seed: int) -> dict[str, Indices]:
    """Completes a split: what `given` lacks of test (20 %) and validation (then 20 %) is taken from its train part.

    Args:
        labels: of all images.
        task: `single_label`, `multi_label` or `regression`; decides what a part keeps the shares of.
        given: train, and validation or test where they are fixed already.
        seed: decides the split.

    Returns:
        train, validation and test, each ascending.
    """
    parts = {name: np.sort(indices) for name, indices in given.items()}
    for name, share in (("test", TEST_SHARE), ("validation", VALIDATION_SHARE)):
        if name not in parts:
            train = parts["train"]
            chosen = _DIVIDE[task](labels[train], share, seed)
            parts[name], parts["train"] = train[chosen], train[~chosen]
    return {name: parts[name] for name in SPLITS}


def check_parts(parts: Mapping[str, Indices], count: int) -> None:
    """Raises InvalidInput unless the parts have a train part, no empty one, and each of `count` images exactly once."""
    if "train" not in parts:
        raise InvalidInput("train", sorted(parts), "a split that is given has a part train")
    for name, indices in parts.items():
        if name not in SPLITS:
            raise InvalidInput(name, name, f"the parts of a split are {', '.join(SPLITS)}")
        if not len(indices):
            raise InvalidInput(
                name, "no images", f"put images into {name}, or leave it out: it is then taken from train"
            )
        outside = (indices < 0) | (indices >= count)
        if outside.any():
            raise InvalidInput(name, int(indices[outside.argmax()]), f"indices in 0..{count - 1}")
    uses = np.bincount(np.concatenate(list(parts.values())), minlength=count)
    if (uses != 1).any():
        image = int(np.argmax(uses != 1))
        mend = "each image stands in exactly one part, once"
        raise InvalidInput("train", f"image {image} stands in the parts {int(uses[image])} times", mend)


def _by_class(labels: Labels, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Which images make up the share, with the shares of the classes kept."""
    from sklearn.model_selection import train_test_split  # a second of imports that only a new data set needs

    _, smaller = train_test_split(np.arange(len(labels)), test_size=share, stratify=labels, random_state=seed)
    chosen = np.zeros(len(labels), dtype=np.bool_)
    chosen[smaller] = True
    return chosen


def _by_target(labels: Labels, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """By class, where a class is a quantile of the first target."""
    ranks = np.argsort(np.argsort(labels[:, 0], kind="stable"), kind="stable")
    bins = min(MOST_BINS, max(1, len(labels) // MOST_BINS))
    return _by_class(ranks * bins // len(labels), share, seed)


def _by_label(labels: Labels, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Iterative stratification (Sechidis et al. 2011, figure 1): the rarest label that is left is dealt out first.

    Each of its images goes to the side that still wants most images of the label, then most images at all.
    """
    count = len(labels)
    shares = np.array([1 - share, share])
    wanted = np.outer(shares, labels.sum(axis=0))
    wanted_images = shares * count
    side = np.full(count, -1)
    rng = np.random.default_rng(seed)
    left = labels.sum(axis=0, dtype=np.int64)
    while left.any():
        label = int(np.where(left > 0, left, count + 1).argmin())
        images = rng.permutation(np.flatnonzero((labels[:, label] > 0) & (side < 0)))
        for image in images:
            chosen = max((0, 1), key=lambda one: (round(wanted[one, label], 6), wanted_images[one]))
            side[image] = chosen
            wanted[chosen] -= labels[image]
            wanted_images[chosen] -= 1
        left -= labels[images].sum(axis=0, dtype=np.int64)
    bare = rng.permutation(np.flatnonzero(side < 0))  # images without a label fill up what is wanted
    side[bare] = 0
    side[bare[: max(0, round(float(wanted_images[1])))]] = 1
    return np.asarray(side == 1)


_DIVIDE: Final[Mapping[str, Callable[[Labels, float, int], npt.NDArray[np.bool_]]]] = {
    "single_label": _by_class,
    "multi_label": _by_label,
    "regression": _by_target,
}
