"""Averages of the weights over a training: exponential (EMA), or plain over its last epochs (SWA)."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Average:
    """An average of a network's parameters; its buffers are those of the network when it was last shown.

    Attributes:
        network: whose parameters they are.
        decay: None gives all states the same weight (Izmailov et al. 2018, as torch's AveragedModel). Else each
            state counts 1 − d and what was before d, with d = min(decay, (1 + n) / (10 + n)) at state n: an early
            average forgets the first weights fast (Polyak and Juditsky 1992; the warm-up is TensorFlow's).
        count: states that are in it.
        state: as a state_dict; empty before the first.
    """

    def __init__(self, network: nn.Module, decay: float | None) -> None:
        self.network = network
        self.decay = decay
        self.count = 0
        self.state: dict[str, Tensor] = {}
        # Once, as it is asked for at every step; a layer that is used twice stands in the state by both of its names.
        self._parameters = dict(network.named_parameters(remove_duplicate=False))

    @torch.no_grad()
    def update(self) -> None:
        """Takes the network's parameters in."""
        if not self.count:
            self.state = _copy(self.network)
        else:
            averages = [self.state[name] for name in self._parameters]
            torch._foreach_lerp_(averages, list(self._parameters.values()), self._share)
        self.count += 1

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The network has the averaged parameters for as long as this lasts. Its buffers are kept in `state` then."""
        own = _copy(self.network)
        self.network.load_state_dict(own | {name: self.state[name] for name in self._parameters})
        try:
            yield
            self.state = _copy(self.network)
        finally:
            self.network.load_state_dict(own)

    @property
    def _share(self) -> float:
        if self.decay is None:
            return 1 / (self.count + 1)
        return 1 - min(self.decay, (1 + self.count) / (10 + self.count))


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


@torch.no_grad()
def refit_batch_norms(
    network: nn.Module, batches: Iterable[Float[Tensor, "n c h w"]], still: Iterable[nn.Module] = ()
) -> None:
    """Measures the statistics of the batch norms anew, as the means over batches: torch's update_bn.

    All else is in evaluation mode, as when the statistics are used: dropout would make other variances of it
    (Li et al. 2019). The network is left in evaluation mode.

    Args:
        network: whose batch norms to refit.
        batches: normalised images.
        still: batch norms to leave alone.
    """
    still = set(still)
    norms = [
        module
        for module in network.modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None and module not in still
    ]
    network.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    if norms:
        for batch in batches:
            network(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()
