"""(candidate, data, recipe, seed) → a trained network. Knows no database."""

from collections.abc import Callable

import torch

from nas.data.images import ImageSet
from nas.data.tensors import Batchable
from nas.model import CellNetwork, ResidualNetwork, build_network
from nas.space import Candidate
from nas.train.checkpoint import Checkpoint
from nas.train.loop import OnEpoch, fit
from nas.train.recipe import Recipe


def evaluate(
    candidate: Candidate,
    data: ImageSet,
    recipe: Recipe,
    *,
    channels: int,
    cells: int,
    seed: int,
    device: torch.device,
    on_epoch: OnEpoch,
    should_stop: Callable[[], bool],
    resume: Checkpoint | None = None,
) -> CellNetwork | ResidualNetwork:
    """Trains the candidate from its initialisation, or on from a checkpoint, and returns the network.

    Args:
        candidate: what to build.
        data: train and validation are used, test is not looked at.
        recipe: how to train.
        channels, cells: shape of a cell network.
        seed: of the initialisation, the order of the images and their augmentation.
        device: where to train.
        on_epoch, should_stop, resume: see nas.train.loop.fit.

    Raises:
        Diverged, Stopped: see nas.train.loop.fit.
    """
    with torch.random.fork_rng(devices=[]):  # the initialisation is drawn on the CPU, the same on every device
        torch.manual_seed(seed)
        network = build_network(
            candidate, channels=channels, cells=cells, in_channels=data.shape[0], classes=len(data.classes)
        )
    fit(
        network,
        Batchable.of(data, "train", device),
        Batchable.of(data, "validation", device),
        recipe,
        seed=seed,
        on_epoch=on_epoch,
        should_stop=should_stop,
        resume=resume,
    )
    return network


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one. Raises ValueError for a device that is not there."""
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"--device is {name!r}; it can be auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device is 'cuda', but torch sees no CUDA device; use cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
