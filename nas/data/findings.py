"""What people should know about their data before they spend hours on it."""

import hashlib

from nas.data.found import count_text
from nas.data.images import ImageSet, counts_of

FEW_IMAGES = 20
"""Of a class: too few to learn it by."""

FEW_SHARE = 0.01
"""Of the largest class."""

IMBALANCE = 10
"""Largest class to smallest; from here on a network can be right by guessing."""

MOST_NAMES = 5


def class_counts(data: ImageSet) -> dict[str, int]:
    """Name of a class or label → how many images have it; empty for regression."""
    if data.task == "regression":
        return {}
    return dict(zip(data.classes, counts_of(data.labels, data.task, data.outputs).tolist(), strict=True))


def findings(data: ImageSet) -> tuple[str, ...]:
    """Warnings about tiny and unequal classes, labels that a part lacks, and images that stand in two parts."""
    return (*_sizes(class_counts(data)), *_lacking(data), *_repeated(data))


def _sizes(counts: dict[str, int]) -> list[str]:
    if not counts:
        return []
    largest, smallest = max(counts.values()), min(counts.values())
    tiny = [name for name, count in counts.items() if count < FEW_IMAGES or count < FEW_SHARE * largest]
    found = []
    if tiny:
        found.append(f"Few images to learn from: {_listed([f'{name} ({counts[name]})' for name in tiny])}.")
    if largest > IMBALANCE * smallest:
        found.append(
            f"The largest class has {largest / smallest:.0f} times the images of the smallest: "
            "accuracy says little about the small ones."
        )
    return found


def _lacking(data: ImageSet) -> list[str]:
    """Labels that no image, or every image, of a part has: they cannot be measured there."""
    if data.task != "multi_label":
        return []
    found = []
    for part, indices in (("train", data.train), ("validation", data.validation), ("test", data.test)):
        shares = data.labels[indices].mean(axis=0)
        for which, at in (("no", shares == 0), ("every", shares == 1)):
            if at.any():
                names = _listed([name for name, there in zip(data.classes, at, strict=True) if there])
                found.append(f"On {which} {part} image: {names}.")
    return found


def _repeated(data: ImageSet) -> list[str]:
    """Images of validation and test that training sees, pixel for pixel: their scores are memory."""
    hashes = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in data.images]
    seen = {hashes[index] for index in data.train}
    found = []
    for part, indices in (("validation", data.validation), ("test", data.test)):
        # What the search chose by validation images is not independent of them either.
        count = sum(hashes[index] in seen for index in indices)
        seen |= {hashes[index] for index in indices}
        if count:
            before = "train" if part == "validation" else "train or validation"
            found.append(f"{count_text(count, 'image')} of {part} also in {before}, pixel for pixel: scores flatter.")
    return found


def _listed(names: list[str]) -> str:
    """The first few names."""
    rest = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {rest:,} more" if rest > 0 else "")
