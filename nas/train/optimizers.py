"""Optimizers by name, and which parameters they treat how."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn, optim
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from nas.errors import InvalidInput
from nas.train.recipe import Recipe

Groups = list[dict[str, Any]]

OPTIMIZERS: Final[dict[str, Callable[[Groups, Recipe], optim.Optimizer]]] = {
    "sgd": lambda groups, recipe: optim.SGD(groups, recipe.lr),
    "momentum": lambda groups, recipe: optim.SGD(groups, recipe.lr, recipe.momentum),
    "nesterov": lambda groups, recipe: optim.SGD(groups, recipe.lr, recipe.momentum, nesterov=recipe.momentum > 0),
    "adagrad": lambda groups, recipe: optim.Adagrad(groups, recipe.lr),
    "rmsprop": lambda groups, recipe: optim.RMSprop(groups, recipe.lr, recipe.beta2, momentum=recipe.momentum),
    "adam": lambda groups, recipe: optim.Adam(groups, recipe.lr, (recipe.momentum, recipe.beta2)),
    "adamw": lambda groups, recipe: optim.AdamW(groups, recipe.lr, (recipe.momentum, recipe.beta2)),
}
"""Name → builder(groups of parameters, recipe). Decay stands in the groups: decoupled for adamw (Loshchilov and Hutter
2019), part of the gradient for all others. Without momentum there is nothing that Nesterov could look ahead by."""

SLOTS: Final[dict[str, Callable[[Recipe], int]]] = {
    "sgd": lambda recipe: 0,
    "momentum": lambda recipe: int(recipe.momentum > 0),
    "nesterov": lambda recipe: int(recipe.momentum > 0),
    "adagrad": lambda recipe: 1,
    "rmsprop": lambda recipe: 1 + int(recipe.momentum > 0),
    "adam": lambda recipe: 2,
    "adamw": lambda recipe: 2,
}
"""Name → numbers that it keeps for each weight."""

_NORMS: Final = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def build_optimizer(
    network: nn.Module, recipe: Recipe, *, kept: frozenset[str] = frozenset(), frozen: frozenset[str] = frozenset()
) -> optim.Optimizer:
    """The recipe's optimizer over all parameters but the frozen ones.

    Only weights decay: decay would pull the scales of norm layers and all biases for nothing.

    Args:
        network: whose parameters to train.
        recipe: its optimizer, lr, momentum, beta2, weight_decay and kept_lr.
        kept: names of parameters that were taken over from another network; they learn at lr × kept_lr.
        frozen: names of parameters to leave out.

    Raises:
        InvalidInput: nothing is left to train.
        ValueError: the network has no parameter of such a name.
    """
    named = dict(network.named_parameters())
    if unknown := (kept | frozen) - named.keys():
        raise ValueError(f"the network has no parameters {sorted(unknown)}")
    if not named.keys() - frozen:
        raise InvalidInput("recipe.freeze", recipe.freeze, "freeze less: it leaves no weight to train")
    decaying = weight_names(network)
    groups: Groups = []
    for decays in (True, False):
        for factor, chosen in ((1.0, named.keys() - kept), (recipe.kept_lr, kept)):
            parameters = [
                parameter
                for name, parameter in named.items()
                if name in chosen and name not in frozen and (name in decaying) == decays
            ]
            if parameters:
                decay = recipe.weight_decay if decays else 0.0
                groups.append({"params": parameters, "weight_decay": decay, "factor": factor})
    return OPTIMIZERS[recipe.optimizer](groups, recipe)


def slots_of(recipe: Recipe) -> int:
    """How many numbers the recipe's optimizer keeps for each weight."""
    return SLOTS[recipe.optimizer](recipe)


def set_lr(optimizer: optim.Optimizer, lr: float) -> float:
    """Sets the learning rate, times each group's own factor, and returns it."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):  # a captured step reads it from there (nas.train.graphs)
            group["lr"].fill_(lr * group["factor"])
        else:
            group["lr"] = lr * group["factor"]
    return lr


def update(
    optimizer: optim.Optimizer,
    scaler: torch.amp.GradScaler,
    recipe: Recipe,
    trained: Sequence[nn.Parameter],
    weights: Sequence[nn.Parameter],
) -> None:
    """One step: gradients of all that is trained are clipped by value, then by norm, and after the step the weights."""
    scaler.unscale_(optimizer)
    if recipe.clip_value is not None:
        nn.utils.clip_grad_value_(trained, recipe.clip_value)
    if recipe.clip_norm is not None:
        nn.utils.clip_grad_norm_(trained, recipe.clip_norm)
    scaler.step(optimizer)
    scaler.update()
    if recipe.weight_clip is not None:
        with torch.no_grad():
            for weight in weights:
                weight.clamp_(-recipe.weight_clip, recipe.weight_clip)


def weight_names(network: nn.Module) -> frozenset[str]:
    """Names of the parameters that decay, penalties and clipping are for: matrices and kernels.

    No biases, nothing of a norm layer, and nothing with less than two dimensions.
    """
    of_norms = {
        id(parameter) for module in network.modules() if isinstance(module, _NORMS) for parameter in module.parameters()
    }
    return frozenset(
        name
        for name, parameter in network.named_parameters()
        if parameter.ndim > 1 and id(parameter) not in of_norms and name.rpartition(".")[2] != "bias"
    )


@contextmanager
def freezing(network: nn.Module, frozen: frozenset[str]) -> Iterator[list[nn.Module]]:
    """Takes the gradients from some parameters, by name, for as long as it lasts.

    Yields:
        The batch norms that have to stay in evaluation mode, so that their statistics stay too: those in a module all
        of whose parameters are frozen, also where they have no parameters of their own.
    """
    found = [parameter for name, parameter in network.named_parameters() if name in frozen and parameter.requires_grad]
    for parameter in found:
        parameter.requires_grad_(False)
    try:
        yield _still(network, frozen)
    finally:
        for parameter in found:
            parameter.requires_grad_(True)


def _still(network: nn.Module, frozen: frozenset[str]) -> list[nn.Module]:
    still: dict[nn.Module, None] = {}
    for prefix, module in network.named_modules():
        names = [f"{prefix}.{name}".lstrip(".") for name, _ in module.named_parameters()]
        if names and frozen.issuperset(names):
            still |= {part: None for part in module.modules() if isinstance(part, _BatchNorm)}
    return list(still)
