"""Where the workers of a machine run: one on each GPU, or one on each core."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

QUOTAS: Final = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/cpu"))
"""Where Linux says how much of its cores a container may use, in its second and in its first way."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one worker runs.

    Attributes:
        gpus: as CUDA_VISIBLE_DEVICES takes them; it trains on the first one. None: on a CPU.
        core: the one core that it keeps to; None: whichever is free.
    """

    gpus: str | None = None
    core: int | None = None


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores that this process may use.

    Attributes:
        numbers: of the cores; empty where the system does not say.
        count: how many of them it may use at once.
    """

    numbers: tuple[int, ...]
    count: int

    @classmethod
    def here(cls, quotas: Sequence[Path] = QUOTAS) -> "Cores":
        """By the affinity of this process and the quota of its container, not by what the machine has."""
        try:
            numbers = tuple(sorted(os.sched_getaffinity(0)))
        except AttributeError:  # not on macOS
            return cls((), os.cpu_count() or 1)
        return cls(numbers, min([len(numbers), *(found for folder in quotas if (found := _quota(folder)))]))


def places(asked: int | None, gpus: Sequence[str], cores: Cores, *, pin: bool = True) -> list[Place]:
    """A place for each worker.

    Workers are kept to cores of their own where there is one for each core: else others may be on those cores, whom
    they could not evade.

    Args:
        asked: how many workers; None: one a GPU, or one a core without GPUs. With fewer workers than GPUs each has
            several of them, for what is trained on several devices; more workers share them.
        gpus: names of the devices to spread them over; none for CPU workers.
        cores: that may be used.
        pin: whether to keep CPU workers to their cores.
    """
    if gpus:
        count = len(gpus) if asked is None else asked
        return [Place(gpus=",".join(gpus[index::count] or [gpus[index % len(gpus)]])) for index in range(count)]
    count = cores.count if asked is None else asked
    pinned = pin and count == len(cores.numbers) > 1
    return [Place(core=cores.numbers[index] if pinned else None) for index in range(count)]


def find_gpus(environ: Mapping[str, str]) -> list[str]:
    """The CUDA devices that workers can use, by the names CUDA_VISIBLE_DEVICES takes; asks the driver, not torch.

    Numbers, UUIDs, and MIG instances: of a GPU that is divided, each of its parts. As CUDA has it, a list ends at -1.
    """
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        return [name for name in names[: names.index("-1") if "-1" in names else None] if name]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=20)  # noqa: S607
    except (OSError, subprocess.SubprocessError):
        return []
    return _listed(listed.stdout)


def _listed(text: str) -> list[str]:
    """The devices in what `nvidia-smi -L` prints: a line for each GPU, and an indented one for each part of it."""
    found: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("GPU "):
            found.append([])
        elif line.lstrip().startswith("MIG ") and "UUID: " in line and found:
            found[-1].append(line.rpartition("UUID: ")[2].rstrip(") "))
    return [name for index, parts in enumerate(found) for name in parts or [str(index)]]


def _quota(folder: Path) -> int | None:
    """Cores that a container may keep busy, rounded up; None without a limit."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((folder / name).read_text() for name in names).split()
        except (OSError, ValueError):
            continue
        if quota.isdecimal() and int(period) > 0:  # `max`, or -1: no limit
            return ceil(int(quota) / int(period))
    return None
