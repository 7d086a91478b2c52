"""How many trials a worker process runs at once. No torch."""

from typing import Final

AUTO: Final[dict[str, int]] = {"cpu": 1, "cuda": 16}
"""Kind of device → lanes of `--pack auto`; how many of them train at once is a matter of memory. A core has one."""

MOST_LANES: Final = 32
"""Torch has so many streams; more lanes would share them, and wait for each other."""


def packed(text: str) -> int | None:
    """What `--pack` says: so many lanes; None for `auto`. Raises ValueError for anything else."""
    if text == "auto":
        return None
    if not text.isdecimal() or not 1 <= int(text) <= MOST_LANES:
        raise ValueError(f"--pack is {text!r}; it can be auto, or 1 to {MOST_LANES} trials at once")
    return int(text)


def lanes(pack: int | None, kind: str) -> int:
    """How many lanes a process has on a device of that kind, `cpu` or `cuda`."""
    return AUTO[kind] if pack is None else pack
