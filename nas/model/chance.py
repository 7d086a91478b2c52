"""What is random in a network: its first weights, dropout and drop-path. Several trainings may share a process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_TURN = threading.RLock()
"""Torch's own generators belong to the whole process: one thread at a time seeds them and draws weights from them."""


@dataclass(frozen=True, eq=False, slots=True)
class Noise:
    """Where dropout and drop-path draw from.

    Attributes:
        generator: on the network's device; None: torch's own.
        whole: images of the batch that those of a forward pass are a part of; None: they are the whole batch.
        first: where they begin in it. Each part of a batch is dropped as it would be in the whole one.
    """

    generator: torch.Generator | None = None
    whole: int | None = None
    first: int = 0


def drop(
    x: Float[Tensor, "n ..."], probability: float, noise: Noise, *, images: bool = False
) -> Float[Tensor, "n ..."]:
    """Sets values to zero with that probability and scales the others up, so that the mean stays what it was.

    Args:
        x: of n images.
        probability: below 1; with 0 nothing is drawn.
        noise: where to draw from.
        images: whether a whole image is kept or dropped, not each value for itself.
    """
    if probability == 0:
        return x
    keep = 1 - probability
    count = len(x)
    rest = (1,) * (x.ndim - 1) if images else x.shape[1:]
    kept = x.new_empty((noise.whole or count, *rest)).bernoulli_(keep, generator=noise.generator)
    if len(kept) != count:
        kept = kept[noise.first : noise.first + count]
    return x * (kept / keep)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's own generator on the CPU begins at `seed`, for the one thread that is inside; then it is as it was."""
    with _TURN:
        before = torch.get_rng_state()
        try:
            torch.default_generator.manual_seed(seed)
            yield
        finally:
            torch.set_rng_state(before)


@contextmanager
def drawing() -> Iterator[None]:
    """For layers that draw from torch's own generators: no other thread has those seeded for itself meanwhile."""
    with _TURN:
        yield


@contextmanager
def own_noise(device: torch.device) -> Iterator[torch.Generator]:
    """A generator on the device; torch's own ones there are as they were when this ends. See reseed."""
    with _TURN:
        before = torch.get_rng_state()
        there = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    try:
        yield torch.Generator(device)
    finally:
        with _TURN:
            torch.set_rng_state(before)
            if there is not None:
                torch.cuda.set_rng_state(there, device)


def reseed(generator: torch.Generator, seed: int, *, part: int = 0) -> None:
    """Seeds a generator, and torch's own ones of its device, which layers that are not ours draw from.

    Args:
        generator: of own_noise.
        seed: of what follows.
        part: of the batch: such layers draw for their own part alone, and others for others.
    """
    generator.manual_seed(seed)
    with _TURN:
        torch.default_generator.manual_seed(seed + part)
        if generator.device.type == "cuda":
            with torch.cuda.device(generator.device):
                torch.cuda.manual_seed(seed + part)
