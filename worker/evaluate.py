"""(candidate, data, recipe, seed) → a trained network. Knows no database."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext

import torch
from torch import Tensor

from nas.data.images import ImageSet
from nas.data.tensors import Batchable, Normalise
from nas.model import Network, build_network
from nas.seeds import derive
from nas.space import Candidate
from nas.train.board import Board
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from nas.train.initialisation import initialise
from nas.train.loop import OnEpoch, fit
from nas.train.recipe import Recipe
from nas.train.transfer import lower_part, take_over


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

    Raises:
        Diverged, Stopped: see nas.train.loop.fit.
    """
    kept: frozenset[str] = frozenset()
    with torch.random.fork_rng(devices=[]):  # the initialisation is drawn on the CPU, the same on every device
        torch.manual_seed(seed)
        network = build_network(candidate, in_channels=data.shape[0], outputs=data.outputs)
        initialise(network, recipe, torch.Generator().manual_seed(derive(seed, "initialise")))
        if source is not None:
            kept = take_over(network, source)
    train, validation = Batchable.of(data, "train", device), Batchable.of(data, "validation", device)
    with board if board is not None else nullcontext():
        if board is not None:
            on_epoch = _logged(on_epoch, board, network, Normalise.of(train.images).to(device), validation)
        fit(
            network,
            train,
            validation,
            recipe,
            seed=seed,
            on_epoch=on_epoch,
            should_stop=should_stop,
            resume=resume,
            task=data.task,
            kept=kept,
            frozen=lower_part(network, recipe.freeze) & kept,
        )
    return network


def _logged(on_epoch: OnEpoch, board: Board, network: Network, normalise: Normalise, validation: Batchable) -> OnEpoch:
    def logged(result: EpochResult, take: Callable[[], Checkpoint]) -> bool:
        board.log(result, network, normalise(validation.images[:1]))
        return on_epoch(result, take)

    return logged


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one. Raises ValueError for a device that is not there."""
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"--device is {name!r}; it can be auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device is 'cuda', but torch sees no CUDA device; use cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
