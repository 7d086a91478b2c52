"""What a user's file holds, before it is split; the limits it is read under; and how it is refused."""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8

from nas.data.splits import Indices, Labels
from nas.errors import InvalidInput

LONGEST_NAME = 200
"""Letters of the name of a class: it has to fit a table."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a file may cost to read, whatever it says about itself.

    Attributes:
        max_members: files in an archive, or images in a table.
        max_unpacked_bytes: of all of them together.
        max_ratio: unpacked to packed; photographs reach 2, drawings 50.
        max_image_pixels: of one image as it is stored.
        max_decoded_bytes: of all images as they are kept.
        max_image_bytes: of one image file.
    """

    max_members: int = 200_000
    max_unpacked_bytes: int = 8 << 30
    max_ratio: float = 200.0
    max_image_pixels: int = 50_000_000
    max_decoded_bytes: int = 4 << 30
    max_image_bytes: int = 256 << 20


@dataclass(frozen=True, eq=False, slots=True)
class Found:
    """Images and labels as a file has them.

    Attributes:
        images, labels, classes, task: as in ImageSet.
        parts: the split that the file comes with; None if it has none.
        warnings: for people.
    """

    images: UInt8[npt.NDArray[np.uint8], "n c h w"]
    labels: Labels
    classes: tuple[str, ...]
    task: str
    parts: Mapping[str, Indices] | None = None
    warnings: tuple[str, ...] = ()


@contextmanager
def refusing(value: str, mend: str) -> Iterator[None]:
    """Turns whatever a reader of foreign formats raises over damaged content into InvalidInput."""
    try:
        yield
    except InvalidInput:
        raise
    except Exception as error:  # such readers raise anything from struct.error to RecursionError
        raise InvalidInput("file", value, f"{mend} ({type(error).__name__}: {str(error)[:200]})") from error


def has_control(text: str) -> bool:
    """Whether a text has characters that move the cursor or break the line, or that are no characters."""
    return any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text)


def check_names(names: Sequence[str]) -> None:
    """Raises InvalidInput for names of classes, labels or targets that people could not tell apart in a table."""
    for name, times in Counter(names).items():
        if times > 1:
            raise InvalidInput("file", name, "names of classes differ from each other")
        if not name.strip() or has_control(name) or len(name) > LONGEST_NAME:
            mend = f"the name of a class is 1 to {LONGEST_NAME} letters long, without control characters"
            raise InvalidInput("file", name, mend)


def count_text(count: int, noun: str) -> str:
    """As people write it: `1 image`, `2,000 images`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
