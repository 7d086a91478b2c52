"""Data sets that can be asked for by name without an upload."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from nas.data.images import ImageSet, split_images

SPLIT_SEED = 0


@dataclass(frozen=True, slots=True)
class Builtin:
    """A data set that comes with the service: what it is, and how to get it."""

    summary: str
    load: Callable[[], ImageSet]


def _digits() -> ImageSet:
    from sklearn.datasets import load_digits  # a second of imports that only the first job on digits needs

    bunch = load_digits()
    # The grey values stay as scikit-learn has them, 0 to 16, so that the exported model takes its images as they are.
    images = bunch.images.astype(np.uint8)[:, np.newaxis]
    names = tuple(str(name) for name in bunch.target_names)
    return split_images(images, bunch.target.astype(np.int64), names, seed=SPLIT_SEED)


BUILTIN: Final = {
    "digits": Builtin("scikit-learn's handwritten digits: 1,797 grey images of 8×8 pixels in 10 classes", _digits),
}
"""Name → data set."""
