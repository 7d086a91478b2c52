"""How the processes of one training find each other on their machine."""

from datetime import timedelta
from pathlib import Path
from typing import Final

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import FileStore, Store  # torch.distributed has them, its types do not

from nas.train.ranks import Group, Lost

PATIENCE: Final = timedelta(minutes=10)
"""How long a process waits for one that is behind. One that has ended is noticed at once."""


def connect(folder: Path, rank: int, world: int, device: torch.device) -> Group:
    """Waits until all `world` processes have come, and returns what joins them: NCCL on CUDA devices, else Gloo.

    Args:
        folder: that all of them see, for the addresses.
        rank: of this process.
        world: how many there are.
        device: of this process; no two have the same CUDA device.

    Raises:
        Lost: another one did not come in time.
    """
    try:
        return _connect(folder, rank, world, device)
    except RuntimeError as error:
        raise Lost(f"process {rank} of {world} does not find the others: {error}") from error


def gloo(store: Store, rank: int, world: int, patience: timedelta) -> Group:
    """A group of processes on this machine, or of threads: it listens on the loopback address alone."""
    options = dist.ProcessGroupGloo._Options()  # type: ignore[attr-defined]  # nothing else binds it to an address
    options._timeout = patience
    options._devices = [dist.ProcessGroupGloo.create_device(hostname="127.0.0.1")]
    return dist.ProcessGroupGloo(store, rank, world, options)  # type: ignore[return-value]  # its stub lacks allreduce


def _connect(folder: Path, rank: int, world: int, device: torch.device) -> Group:
    store = FileStore(str(folder / "addresses"), world)
    if device.type != "cuda":
        return gloo(store, rank, world, PATIENCE)
    torch.cuda.set_device(device)
    dist.init_process_group("nccl", store=store, rank=rank, world_size=world, timeout=PATIENCE, device_id=device)
    return dist.distributed_c10d._get_default_group()
