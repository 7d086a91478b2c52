"""A training device's memory, as far as this process holds it or can still have it."""

import gc
import os
import re
from pathlib import Path
from typing import Final, Protocol

import torch

from nas.train.graphs import CAPTURING

CGROUP_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where Linux says what a container may have, in its second and in its first way."""

OTHERS_BYTES: Final = 2 * 2**30
"""Memory of a GPU that is taken, and not by our tensors: more than this is another process; less is our own context."""


class Device(Protocol):
    """The memory of a device.

    Attributes:
        exact: whether what is allocated is the tensors alone, so that what nobody freed shows.
    """

    exact: bool

    def total_bytes(self) -> int:
        """What this process has, and what it can still get."""
        ...

    def allocated_bytes(self) -> int:
        """What it has in use."""
        ...

    def take_peak_bytes(self) -> int:
        """The most that was in use since this was last asked."""
        ...

    def tidy(self) -> None:
        """Frees what nothing refers to any more."""
        ...

    def is_shared(self) -> bool:
        """Whether other processes use it as well."""
        ...


class CudaDevice:
    """A CUDA device, by the counts of torch's allocator. Nothing here waits for the device."""

    exact = True

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def total_bytes(self) -> int:
        """See Device."""
        free, _ = torch.cuda.mem_get_info(self._device)
        return free + torch.cuda.memory_reserved(self._device)

    def allocated_bytes(self) -> int:
        """See Device."""
        return torch.cuda.memory_allocated(self._device)

    def take_peak_bytes(self) -> int:
        """See Device."""
        peak = torch.cuda.max_memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        return peak

    def tidy(self) -> None:
        """See Device."""
        gc.collect()
        with CAPTURING:  # torch stops where memory is given back in the middle of a capture
            torch.cuda.empty_cache()

    def is_shared(self) -> bool:
        """See Device."""
        free, total = torch.cuda.mem_get_info(self._device)
        return total - free - torch.cuda.memory_reserved(self._device) > OTHERS_BYTES


class CpuDevice:
    """The machine's memory, by what the system says of this process; the interpreter and its libraries are in it."""

    exact = False

    def __init__(self, process: Path = Path("/proc/self"), limits: tuple[Path, ...] = CGROUP_LIMITS) -> None:
        self._process = process
        self._limits = limits

    def total_bytes(self) -> int:
        """See Device. A container has what it is allowed."""
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        texts = [path.read_text().strip() for path in self._limits if path.is_file()]
        return min([whole, *(int(text) for text in texts if text.isdecimal())])

    def allocated_bytes(self) -> int:
        """See Device."""
        return self._status("VmRSS")

    def take_peak_bytes(self) -> int:
        """See Device. Where the system forgets no peaks (all but Linux), 0."""
        peak = self._status("VmHWM")
        try:
            (self._process / "clear_refs").write_text("5")  # proc(5): sets the high-water mark back to what is now
        except OSError:
            return 0
        return peak

    def tidy(self) -> None:
        """See Device."""
        gc.collect()

    def is_shared(self) -> bool:
        """See Device. It always is, by half the system; nothing follows from that."""
        return False

    def _status(self, name: str) -> int:
        try:
            found = re.search(rf"^{name}:\s+(\d+) kB$", (self._process / "status").read_text(), re.MULTILINE)
        except OSError:
            return 0
        return 1024 * int(found[1]) if found else 0


def memory_of(device: torch.device) -> Device:
    """The memory of a torch device."""
    return CudaDevice(device) if device.type == "cuda" else CpuDevice()
