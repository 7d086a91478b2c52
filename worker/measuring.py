"""What a candidate takes when it runs, measured where it will run."""

from dataclasses import dataclass, replace

import torch

from nas.model import build_network
from nas.model.measure import latency_ms, peak_memory_mb
from nas.space import Candidate


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be measured of a candidate.

    Attributes:
        candidate: as it would be trained; what only training needs is left out of the network.
        image: [channels, height, width].
        outputs: of the network.
        batch_size: of the forward passes.
        latency, memory: whether each of them is wanted.
    """

    candidate: Candidate
    image: tuple[int, int, int]
    outputs: int
    batch_size: int
    latency: bool
    memory: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured; None of what was not wanted."""

    latency_ms: float | None
    memory_mb: float | None


def measure(wanted: Wanted, device: torch.device) -> Measured:
    """Builds the network and lets it run on the device, for half a second about."""
    candidate = wanted.candidate
    exported = replace(candidate, shape=candidate.shape.model_copy(update={"auxiliary": 0.0}))
    network = build_network(exported, in_channels=wanted.image[0], outputs=wanted.outputs).to(device)
    memory_mb = latency = None
    if wanted.memory:
        memory_mb = peak_memory_mb(network, image=wanted.image, batch_size=wanted.batch_size, device=device)
    if wanted.latency:
        latency = latency_ms(network, image=wanted.image, batch_size=wanted.batch_size, device=device)
    return Measured(latency, memory_mb)
