"""The gradient of the architecture's parameters: first order, and one step of the weights ahead."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn, optim

Loss = Callable[[], Tensor]
"""Computes a loss of the supernet as it is at the moment of the call."""

STEP = 0.01
"""Length of the step along the gradient of the weights by which eq. 8 differentiates (Liu et al. 2019, footnote 2)."""


def first_order(parameters: Sequence[Tensor], loss: Loss) -> list[Tensor]:
    """Of the loss on the architecture's half of the data, for the weights as they are: ξ = 0 in eq. 7.

    A parameter that the loss does not depend on has the gradient 0.
    """
    return _filled(torch.autograd.grad(loss(), list(parameters), allow_unused=True), parameters)


def second_order(
    parameters: Sequence[Tensor],
    weights: Sequence[nn.Parameter],
    loss: Loss,
    training_loss: Loss,
    *,
    lr: float,
    pull: Callable[[nn.Parameter], Tensor | float],
) -> list[Tensor]:
    """Of the loss after one step of the weights (Liu et al. 2019, eq. 7), its second term by differences (eq. 8).

    Args:
        parameters: of the architecture.
        weights: of the supernet; they are moved, and put back bit for bit.
        loss: on the architecture's half of the data.
        training_loss: on the weights' half.
        lr: ξ, that of the weights' optimizer.
        pull: of a weight, what its optimizer adds to the gradient: see `momentum_and_decay`.
    """
    kept = [weight.detach().clone() for weight in weights]
    gradients = _filled(torch.autograd.grad(training_loss(), list(weights), allow_unused=True), weights)
    try:
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.sub_(lr * (gradient + pull(weight)))
        both = torch.autograd.grad(loss(), [*parameters, *weights], allow_unused=True)
        ahead = _filled(both[: len(parameters)], parameters)
        directions = _filled(both[len(parameters) :], weights)
        length = torch.stack([direction.square().sum() for direction in directions]).sum().sqrt()
        epsilon = STEP / length.clamp(min=1e-12)
        sides = []
        for sign in (1, -1):
            with torch.no_grad():
                for weight, start, direction in zip(weights, kept, directions, strict=True):
                    weight.copy_(start + sign * epsilon * direction)
            sides.append(first_order(parameters, training_loss))
    finally:
        with torch.no_grad():
            for weight, start in zip(weights, kept, strict=True):
                weight.copy_(start)
    return [first - lr * (plus - minus) / (2 * epsilon) for first, plus, minus in zip(ahead, *sides, strict=True)]


def momentum_and_decay(optimizer: optim.Optimizer, momentum: float) -> Callable[[nn.Parameter], Tensor | float]:
    """What SGD adds to the gradient of a weight: momentum × its buffer + decay × the weight (published code of DARTS).

    Of an optimizer without such a buffer only the decay.
    """
    decays = {weight: group.get("weight_decay", 0.0) for group in optimizer.param_groups for weight in group["params"]}

    def pull(weight: nn.Parameter) -> Tensor | float:
        buffer = optimizer.state.get(weight, {}).get("momentum_buffer")
        decay: Tensor | float = decays[weight] * weight.detach() if decays[weight] else 0.0
        return decay if buffer is None else momentum * buffer + decay

    return pull


def _filled(gradients: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor]:
    return [
        torch.zeros_like(one) if gradient is None else gradient for gradient, one in zip(gradients, like, strict=True)
    ]
