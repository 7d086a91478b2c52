"""What a network costs: parameters and multiply-accumulates, without running it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.model.network import build_network
from nas.space import Candidate


@dataclass(frozen=True, slots=True)
class Cost:
    """Size and work of a network.

    Attributes:
        params: trainable parameters.
        macs: multiply-accumulates of one image's forward pass, in convolutions and linear layers.
    """

    params: int
    macs: int


def count_params(network: nn.Module) -> int:
    """Trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def params_of(candidate: Candidate, *, channels: int, cells: int, in_channels: int, classes: int) -> int:
    """Trainable parameters of a candidate, counted on the meta device: nothing is allocated."""
    with torch.device("meta"):
        return count_params(
            build_network(candidate, channels=channels, cells=cells, in_channels=in_channels, classes=classes)
        )


def cost_of(candidate: Candidate, *, channels: int, cells: int, image: tuple[int, int, int], classes: int) -> Cost:
    """Cost of a candidate for images (channels, height, width), from the shapes of one forward pass on the meta device.

    A test compares it with torch.utils.flop_counter, which takes ten times as long.
    """
    with torch.device("meta"):
        network = build_network(candidate, channels=channels, cells=cells, in_channels=image[0], classes=classes)
        return Cost(params=count_params(network), macs=_macs(network, torch.empty(1, *image)))


def _macs(network: nn.Module, x: Tensor) -> int:
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        # Every output value is a dot product with the weights of its channel: weight.numel() / out_channels long.
        assert isinstance(module.weight, Tensor)  # noqa: S101 - convolutions and linear layers have one
        total += output.numel() * module.weight[0].numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        network.eval()(x)
    return total
