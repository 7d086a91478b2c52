"""Losses by name, and what a training minimises: the loss of a task with what the recipe says about it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from jaxtyping import Float, Float32, Int64, Shaped, UInt8
from torch import Tensor, nn

from nas import plugins
from nas.data.tensors import Denormalise
from nas.errors import InvalidInput
from nas.model.base import Network
from nas.train import tasks
from nas.train.recipe import Recipe

Loss = Callable[[Tensor, Tensor], Tensor]
"""(outputs [N, K], targets) → a loss for each image, [N]."""

Labels = Int64[Tensor, " n"] | UInt8[Tensor, "n k"] | Float32[Tensor, "n k"]
"""As a data set has them, by its task: classes, labels, or targets of a regression."""


def cross_entropy(
    logits: Float[Tensor, "n k"],
    targets: Int64[Tensor, " n"] | Float[Tensor, "n k"],
    weights: Float[Tensor, " k"] | None,
    smoothing: float,
) -> Float[Tensor, " n"]:
    """Of classes, or of mixtures of them; `smoothing` of the target goes to all classes (Szegedy et al. 2016)."""
    return F.cross_entropy(logits, targets, weights, label_smoothing=smoothing, reduction="none")


def bce(
    logits: Float[Tensor, "n k"],
    targets: UInt8[Tensor, "n k"] | Float[Tensor, "n k"],
    weights: Float[Tensor, " k"] | None,
    smoothing: float,
) -> Float[Tensor, " n"]:
    """Binary cross entropy, the mean over the labels; weights are those of positives, smoothing draws towards 1/2."""
    smooth = targets.to(logits) * (1 - smoothing) + smoothing / 2
    return F.binary_cross_entropy_with_logits(logits, smooth, pos_weight=weights, reduction="none").mean(dim=1)


def mse(
    outputs: Float[Tensor, "n t"], targets: Float[Tensor, "n t"], weights: Tensor | None, smoothing: float
) -> Float[Tensor, " n"]:
    """Squared error, the mean over the targets; there are no classes to weigh or to smooth."""
    return F.mse_loss(outputs, targets, reduction="none").mean(dim=1)


def l1(
    outputs: Float[Tensor, "n t"], targets: Float[Tensor, "n t"], weights: Tensor | None, smoothing: float
) -> Float[Tensor, " n"]:
    """Absolute error, the mean over the targets."""
    return F.l1_loss(outputs, targets, reduction="none").mean(dim=1)


def huber(
    outputs: Float[Tensor, "n t"], targets: Float[Tensor, "n t"], weights: Tensor | None, smoothing: float
) -> Float[Tensor, " n"]:
    """Half the squared error up to 1, a deviation of the targets, linear beyond (Huber 1964); the mean over targets."""
    return F.huber_loss(outputs, targets, reduction="none").mean(dim=1)


LOSSES: Final[dict[str, Callable[[Tensor, Tensor, Tensor | None, float], Tensor]]] = {
    "cross_entropy": cross_entropy,
    "bce": bce,
    "mse": mse,
    "l1": l1,
    "huber": huber,
}
"""Name → loss(outputs, targets, weights of the classes, label smoothing). Which task has which: nas.train.tasks."""


@dataclass(frozen=True, eq=False, slots=True)
class Objective:
    """What a network is trained and judged by.

    A regression is learnt in standardised units, each target with mean 0 and deviation 1 over the training split: so
    one learning rate suits targets of every scale. Denormalise turns the network's outputs into the targets' units.

    Attributes:
        task: see nas.train.tasks.
        training: the loss, with label smoothing and class weights.
        validation: the same without them.
        denormalise: of a regression.
    """

    task: str
    training: Loss
    validation: Loss
    denormalise: Denormalise | None = None

    @classmethod
    def of(cls, recipe: Recipe, task: str, labels: Labels, outputs: int) -> "Objective":
        """Of a network with so many outputs that learns from these labels.

        Raises:
            InvalidInput: the recipe's loss is none for this task.
        """
        weights = None
        if recipe.class_weights == "balanced" and task != "regression":
            weights = balanced_weights(labels, outputs)
        return cls(
            task,
            loss_of(recipe.loss, task, weights, recipe.label_smoothing),
            loss_of(recipe.loss, task),
            Denormalise.of(labels).to(labels.device) if task == "regression" else None,
        )

    def targets(self, labels: Labels) -> Shaped[Tensor, "n ..."]:
        """Labels as the losses take them: classes stay int64, several labels become float, targets standardised."""
        if self.denormalise is not None:
            return self.denormalise.standardise(labels)
        return labels.float() if self.task == "multi_label" else labels

    def in_units(self, outputs: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """A network's outputs as a user gets them: logits as they are, targets of a regression in their own units."""
        return outputs if self.denormalise is None else self.denormalise(outputs)


def loss_of(name: str, task: str, weights: Tensor | None = None, smoothing: float = 0.0) -> Loss:
    """The loss of that name. The user's own get neither class weights nor smoothing. Raises InvalidInput."""
    tasks.check_loss(name, task)
    name = tasks.LOSSES[task][0] if name == "default" else name
    if name in tasks.LOSSES[task]:
        known = LOSSES[name]
        return lambda outputs, targets: known(outputs, targets, weights, smoothing)
    return partial(_of_user, name, plugins.losses()[name].get())


def balanced_weights(labels: Labels, outputs: int) -> Float[Tensor, " k"]:
    """Weights that make up for how rare a class is.

    Of classes: images / (classes × images of the class), the mean over the images is 1. Of labels, for their positives:
    negatives / positives; 1 for a label without any.
    """
    if labels.ndim == 1:
        counts = torch.bincount(labels, minlength=outputs)
        return len(labels) / (outputs * counts.clamp(min=1).float())
    positives = labels.sum(dim=0, dtype=torch.float32)
    return torch.where(positives > 0, (len(labels) - positives) / positives.clamp(min=1), 1.0)


def penalty(weights: Iterable[Tensor], l1: float, l2: float) -> Float[Tensor, ""] | float:
    """l1 × the sum of absolute values + l2 / 2 × the sum of squares; 0 where both are. With SGD, l2 is weight_decay."""
    terms = [l1 * weight.abs().sum() + l2 / 2 * weight.square().sum() for weight in weights] if l1 or l2 else []
    return sum(terms[1:], terms[0]) if terms else 0.0


def outputs_of(network: nn.Module, images: Float[Tensor, "n c h w"]) -> list[tuple[float, Float[Tensor, "n k"]]]:
    """The outputs, and those of an auxiliary head, each with its share in the loss (Szegedy et al. 2015, section 5)."""
    if isinstance(network, Network) and network.auxiliary > 0:
        outputs, auxiliary = network.both(images)
        return [(1.0, outputs), (network.auxiliary, auxiliary)]
    return [(1.0, network(images))]


def _of_user(name: str, loss: Loss, outputs: Tensor, targets: Tensor) -> Float[Tensor, " n"]:
    found = loss(outputs, targets)
    if not isinstance(found, Tensor) or found.shape != outputs.shape[:1] or not found.is_floating_point():
        shown = list(found.shape) if isinstance(found, Tensor) else found
        raise InvalidInput("recipe.loss", name, f"it has to return a loss for each image, [N]; it returned {shown}")
    return found
