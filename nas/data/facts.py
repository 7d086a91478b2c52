"""What is to be known of a data set before it is read: enough to plan a search."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Facts:
    """Of a data set.

    Attributes:
        name: of it.
        shape: (channels, height, width) of its images.
        train, validation: images of the splits.
        outputs: classes, labels or targets.
        task: see nas.train.tasks.
    """

    name: str
    shape: tuple[int, int, int]
    train: int
    validation: int
    outputs: int
    task: str = "single_label"


BUILTIN_FACTS: Final = {
    facts.name: facts
    for facts in (
        Facts("digits", (1, 8, 8), 1_149, 288, 10),
        Facts("mnist", (1, 28, 28), 48_000, 12_000, 10),
        Facts("fashion_mnist", (1, 28, 28), 48_000, 12_000, 10),
        Facts("cifar10", (3, 32, 32), 40_000, 10_000, 10),
        Facts("cifar100", (3, 32, 32), 40_000, 10_000, 100),
    )
}
"""Name → facts of the data sets that come with the service, which are fetched when a job first asks for one."""
