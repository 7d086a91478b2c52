"""What a network costs: parameters and multiply-accumulates, counted on what is built. nas.space.cost has formulas."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas.model.network import build_network, without_auxiliary
from nas.space import Candidate
from nas.space.cost import Cost

__all__ = ["Cost", "cost_of", "count_params", "params_of"]


def count_params(network: nn.Module) -> int:
    """Trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def params_of(candidate: Candidate, *, in_channels: int, outputs: int) -> int:
    """Trainable parameters of a candidate without its auxiliary head, counted on the meta device: nothing is allocated.

    Raises:
        GenotypeError: see nas.model.build_network.
    """
    with torch.device("meta"):
        return count_params(build_network(without_auxiliary(candidate), in_channels=in_channels, outputs=outputs))


def cost_of(candidate: Candidate, *, image: tuple[int, int, int], outputs: int) -> Cost:
    """Cost of a candidate without its auxiliary head, for images (channels, height, width).

    The multiply-accumulates are those of the convolutions and matrix products that one forward pass on the meta device
    asks for, whoever wrote them: a user's own operation may call torch's functions rather than hold its modules.
    nas.space.cost is hundreds of times as fast, and says the same of what comes with the project.

    Raises:
        GenotypeError: see nas.model.build_network.
    """
    with torch.device("meta"):
        network = build_network(without_auxiliary(candidate), in_channels=image[0], outputs=outputs).eval()
        x = torch.empty(1, *image)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x)
    return Cost(params=count_params(network), macs=counter.get_total_flops() // 2)
