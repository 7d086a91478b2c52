"""(candidate, data, recipe, seed) → a trained network. Knows no database."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import TypedDict

import torch
from jaxtyping import Float
from torch import Tensor

from nas.data.images import ImageSet
from nas.data.tensors import Batchable, Normalise
from nas.model import Network, build_network
from nas.model.chance import seeded
from nas.seeds import derive
from nas.space import Candidate
from nas.train.board import Board
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from nas.train.initialisation import initialise
from nas.train.loop import OnEpoch, fit
from nas.train.parallel import fit_together
from nas.train.recipe import Recipe
from nas.train.transfer import lower_part, take_over
from worker.telling import detail


def evaluate(
    candidate: Candidate,
    data: ImageSet,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    on_epoch: OnEpoch,
    should_stop: Callable[[], bool],
    resume: Checkpoint | None = None,
    source: Mapping[str, Tensor] | None = None,
    board: Board | None = None,
    devices: Sequence[torch.device] = (),
) -> Network:
    """Trains the candidate from its initialisation, or on from a checkpoint, and returns the network.

    Args:
        candidate: what to build.
        data: train and validation are used, test is not looked at.
        recipe: how to train.
        seed: of the initialisation, the order of the images and their augmentation.
        device: where to train.
        on_epoch, should_stop, resume: see nas.train.loop.fit.
        source: the state of a network to take over what fits from; what is frozen is part of the recipe.
        board: logs every epoch there.
        devices: several train it together, a process on each (nas.train.parallel); the network is on the CPU then.

    Raises:
        Diverged, Stopped: see nas.train.loop.fit.
        MemoryError, torch.OutOfMemoryError, RuntimeError: of several processes, see nas.train.parallel.fit_together.
    """
    kept: frozenset[str] = frozenset()
    with seeded(seed):  # the initialisation is drawn on the CPU, the same on every device
        network = build_network(candidate, in_channels=data.shape[0], outputs=data.outputs)
        initialise(network, recipe, torch.Generator().manual_seed(derive(seed, "initialise")))
        if source is not None:
            kept = take_over(network, source)
    detail.info("a network of %d parameters, on %s", sum(each.numel() for each in network.parameters()), device)
    course: Course = {
        "seed": seed,
        "on_epoch": on_epoch if board is None else _logged(on_epoch, board, network, _shown(data)),
        "should_stop": should_stop,
        "resume": resume,
        "kept": kept,
        "frozen": lower_part(network, recipe.freeze) & kept,
    }
    with board if board is not None else nullcontext():
        if len(devices) > 1:
            fit_together(network, candidate, data, recipe, devices=devices, **course)
        else:
            train, validation = Batchable.of(data, "train", device), Batchable.of(data, "validation", device)
            fit(network, train, validation, recipe, task=data.task, **course)
    return network


class Course(TypedDict):
    """What both ways to train take; see nas.train.loop.fit."""

    seed: int
    on_epoch: OnEpoch
    should_stop: Callable[[], bool]
    resume: Checkpoint | None
    kept: frozenset[str]
    frozen: frozenset[str]


def _shown(data: ImageSet) -> Float[Tensor, "1 c h w"]:
    """The image whose feature maps are logged, normalised."""
    cpu = torch.device("cpu")
    normalise = Normalise.of(Batchable.of(data, "train", cpu).images)
    shown: Tensor = normalise(torch.from_numpy(data.images[data.validation[:1]]))
    return shown


def _logged(on_epoch: OnEpoch, board: Board, network: Network, image: Float[Tensor, "1 c h w"]) -> OnEpoch:
    def logged(result: EpochResult, take: Callable[[], Checkpoint]) -> bool:
        board.log(result, network, image.to(next(network.parameters()).device))
        return on_epoch(result, take)

    return logged


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one. Raises ValueError for a device that is not there."""
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"--device is {name!r}; it can be auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device is 'cuda', but torch sees no CUDA device; use cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
