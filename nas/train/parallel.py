"""One training on several devices: a process for each of them, which learn from every batch together (nas.train.ranks).

The process that asks for it trains nothing itself. It starts the others, hears from them, and ends them all when the
training is over, when one of them has failed, or when it is to stop: nothing that hangs or dies there harms it. If it
is killed itself, their standard input closes, and they end (nas.train.rank).
"""

import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load, save_file
from torch import nn

from nas import plugins
from nas.data.images import ImageSet
from nas.errors import Diverged, GenotypeError, InvalidInput, Stopped
from nas.space import Candidate
from nas.train.checkpoint import Checkpoint
from nas.train.crew import Crew, Message
from nas.train.epoch import EpochResult
from nas.train.recipe import Recipe

log = logging.getLogger(__name__)

ORDER, DATA, START, RESUME = "order.json", "data.npz", "start.safetensors", "resume.safetensors"
"""What the processes read, in one folder."""

OnEpoch = Callable[[EpochResult, Callable[[], Checkpoint]], bool]

RAISED: Final[dict[str, Callable[[Mapping[str, Any]], Exception]]] = {
    "Diverged": lambda told: Diverged(told["epoch"], told["loss"]),
    "GenotypeError": lambda told: GenotypeError(told["field"], told["value"], told["mend"]),
    "InvalidInput": lambda told: InvalidInput(told["field"], told["value"], told["mend"]),
    "MemoryError": lambda told: MemoryError(told["text"]),
    "OutOfMemoryError": lambda told: torch.OutOfMemoryError(told["text"]),
}
"""An error in a process → what it is here; all others become a RuntimeError with their traceback."""


def devices_for(device: torch.device, asked: int) -> list[torch.device]:
    """The devices on which `asked` processes train together, of those that there are; the log says if they are fewer.

    Args:
        device: the one that a single process would take, which is the first of them.
        asked: a process has a CUDA device, or a core of the CPU, for itself.
    """
    if device.type == "cuda":
        others = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
        first = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
        there = [first, *(other for other in others if other != first)]
    else:
        there = [device] * _cores()
    if len(there) < asked:
        what = "CUDA devices are visible" if device.type == "cuda" else "cores may be used"
        log.warning("%d processes are to train together, but %d %s: it takes longer", asked, len(there), what)
    return there[:asked]


def fit_together(
    network: nn.Module,
    candidate: Candidate,
    data: ImageSet,
    recipe: Recipe,
    *,
    devices: Sequence[torch.device],
    seed: int,
    on_epoch: OnEpoch,
    should_stop: Callable[[], bool],
    resume: Checkpoint | None = None,
    kept: frozenset[str] = frozenset(),
    frozen: frozenset[str] = frozenset(),
) -> None:
    """Trains the network as nas.train.loop.fit does, by a process for each device, with the same result up to rounding.

    Batches, their order, augmentation, dropout and batch norms' statistics are those of one process; only what users'
    own operations draw at random is another. A checkpoint goes on with any number of processes, also in one.

    Args:
        network: the candidate's, on the CPU, as training begins; it is where training has come to at every epoch, and
            in the end what it is left with.
        candidate: what the other processes build.
        data: train and validation are used.
        devices: one a process; the same CPU for all of them, or different CUDA devices. Those that would have no image
            of a batch are left out.
        recipe, seed, on_epoch, should_stop, resume, kept, frozen: see nas.train.loop.fit; should_stop is asked ten
            times a second.

    Raises:
        Diverged, InvalidInput, Stopped: see nas.train.loop.fit.
        MemoryError, torch.OutOfMemoryError: in one of the processes.
        RuntimeError: one of the processes failed otherwise, or was killed; with what it said.
    """
    world = min(len(devices), recipe.batch_size, len(data.train), len(data.validation))
    if world < len(devices):
        log.warning("%d processes train, not %d: there are no more images in a batch", world, len(devices))
    names = [str(device) for device in devices[:world]]
    order = {
        "candidate": candidate.to_json(),
        "recipe": recipe.to_json(),
        "seed": seed,
        "kept": sorted(kept),
        "frozen": sorted(frozen),
        "devices": names,
        "threads": max(1, torch.get_num_threads() // world),
        "plugins": plugins.modules(),
    }
    with tempfile.TemporaryDirectory(prefix="nas-ranks-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        _write(folder, order, data, network, resume)
        with Crew(folder, world) as crew:
            log.info("%d processes train together on %s", world, ", ".join(names))
            final = _follow(crew, network, on_epoch, should_stop)
    network.load_state_dict(load(final.content))
    network.eval()


def _write(
    folder: Path, order: Mapping[str, Any], data: ImageSet, network: nn.Module, resume: Checkpoint | None
) -> None:
    (folder / ORDER).write_text(json.dumps(order), encoding="utf-8")
    data.save(folder / DATA)
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / START)
    if resume is not None:
        (folder / RESUME).write_bytes(resume.to_bytes())


def _follow(crew: Crew, network: nn.Module, on_epoch: OnEpoch, should_stop: Callable[[], bool]) -> Message:
    """Answers the processes until the first of them is done; its last message."""
    ready = 0
    while True:
        match message := crew.next(timeout_s=0.1):
            case None:
                if should_stop():
                    raise Stopped
            case Message(kind="ready"):
                ready += 1
                if ready == crew.world:  # nobody needs the files any more, and the data may be large
                    (crew.folder / DATA).unlink()
            case Message(kind="epoch"):
                checkpoint = Checkpoint.from_bytes(message.content)
                network.load_state_dict(checkpoint.network)
                crew.answer({"goes_on": on_epoch(EpochResult(**message.told), partial(_same, checkpoint))})
            case Message(kind="done") if message.rank == 0:
                return message
            case Message(kind="error" | "end"):
                raise _error(crew.cause(message), crew)


def _same(checkpoint: Checkpoint) -> Checkpoint:
    return checkpoint


def _error(cause: Message, crew: Crew) -> Exception:
    made = RAISED.get(cause.told.get("error", ""))
    if made is not None:
        return made(cause.told)
    # The error itself comes last, as in a traceback: that is the line that is shown where there is room for one.
    words = cause.told.get("words", "")
    return RuntimeError(
        f"{words}\nprocess {cause.rank} of {crew.world} that train together {cause.told['text']}".strip()
    )


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
