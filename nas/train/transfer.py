"""Transfer: what a network takes over from another one that was trained on other images (Yosinski et al. 2014)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

HEADS = ("classifier.", "auxiliary")
"""Names that begin so belong to the classes of the data, and start anew."""

PARTS = ("cells.", "groups.")

BEHIND = 1_000_000
"""The place of what stands behind all cells."""


def take_over(network: nn.Module, source: Mapping[str, Tensor]) -> frozenset[str]:
    """Copies what fits by name and shape, without the head; returns the names of the parameters that were copied.

    A layer is taken over as a whole or not at all: where a tensor of a module does not fit, the module starts anew.

    Args:
        network: the network that begins.
        source: the state_dict of the network to start from.
    """
    kept = set()
    for name, module in network.named_modules():
        prefix = f"{name}." if name else ""
        own = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
        own = {key: tensor for key, tensor in own.items() if key not in module._non_persistent_buffers_set}
        if not own or prefix.startswith(HEADS):
            continue
        if any(prefix + key not in source or source[prefix + key].shape != tensor.shape for key, tensor in own.items()):
            continue
        with torch.no_grad():
            for key, tensor in own.items():
                tensor.copy_(source[prefix + key])
        kept |= {prefix + key for key, _ in module.named_parameters(recurse=False)}
    return frozenset(kept)


def lower_part(network: nn.Module, freeze: int) -> frozenset[str]:
    """The names of the parameters of the stem and the first `freeze` cells (or groups of layers); none for 0."""
    if freeze == 0:
        return frozenset()
    return frozenset(name for name, _ in network.named_parameters() if _place(name) < freeze)


def _place(name: str) -> int:
    """Which cell a parameter belongs to; the stem comes before them all, the head after."""
    if name.startswith("stem"):
        return -1
    for part in PARTS:
        if name.startswith(part):
            return int(name.removeprefix(part).split(".", 1)[0])
    return BEHIND
