"""What a supernet scores on the validation split with a mixing of its operations, or as one candidate."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from nas.data.tensors import Batchable, Normalise
from nas.oneshot.mixing import Mixing
from nas.oneshot.supernet import Mixed, Supernet
from nas.train.averaging import refit_batch_norms
from nas.train.losses import Objective
from nas.train.metrics import measure
from nas.train.tasks import SCORE

BATCH = 256
"""Images at once: supernets hold many maps of each."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """How good something is; the larger the better.

    Attributes:
        metrics: of the task.
        score: the metric that the search maximises.
        loss: on the average over the images.
    """

    score: float
    loss: float
    metrics: dict[str, float]

    @property
    def order(self) -> tuple[float, float]:
        """By the score, among equals by the loss, which sees what is less than an image."""
        return self.score, -self.loss


@dataclass(frozen=True, eq=False, slots=True)
class Judge:
    """Judges a supernet; what it does changes nothing of the training but the statistics of batch norms, which training
    does not use, and which are measured anew before every judgement, as no two mixings have the same.

    Attributes:
        supernet, objective, normalise: what is judged.
        seen: training images to measure the statistics by, some batches.
        validation: images to judge by.
    """

    supernet: Supernet
    objective: Objective
    normalise: Normalise
    seen: tuple[UInt8[Tensor, "_ c h w"], ...]
    validation: Batchable

    def refit(self, mixing: Mixing, batches: int | None = None) -> None:
        """Measures the statistics of the batch norms for a mixing."""
        refit_batch_norms(Mixed(self.supernet, mixing), (self._input(images) for images in self.seen[:batches]))

    @torch.no_grad()
    def judge(self, mixing: Mixing) -> Judgement:
        """By the statistics as they are."""
        network = Mixed(self.supernet, mixing).eval()
        outputs = torch.cat(
            [network(self._input(images)).float() for images in torch.split(self.validation.images, BATCH)]
        )
        targets = self.objective.targets(self.validation.labels)
        loss = self.objective.validation(outputs, targets).mean().item()
        metrics = measure(self.objective.task, self.objective.in_units(outputs), self.validation.labels)
        return Judgement(metrics[SCORE[self.objective.task]], loss, metrics)

    def refitted(self, mixing: Mixing, batches: int | None = None) -> Judgement:
        """By statistics that are measured before."""
        self.refit(mixing, batches)
        return self.judge(mixing)

    def _input(self, images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        found: Tensor = self.normalise(images)
        return found.contiguous(memory_format=torch.channels_last)


def kendall_tau(pairs: Sequence[tuple[float, float]]) -> float | None:
    """How alike two orders are, −1 to 1 (Kendall 1945, tau-b): of supernet scores and stand-alone ones, say.

    None of fewer than two pairs, or if one side is the same for all.
    """
    if any(len({pair[side] for pair in pairs}) < 2 for side in (0, 1)):
        return None
    from scipy.stats import kendalltau  # most of a second, and few jobs have a supernet

    return float(kendalltau(*zip(*pairs, strict=True)).statistic)
