"""What one epoch of training showed. No torch: the store records it too."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class EpochResult:
    """One epoch, of the network that validation saw: the averaged one where weights are averaged.

    Attributes:
        epoch: counts from 1.
        train_loss: mean over the steps of the loss that is minimised, without penalties and the auxiliary head's.
        validation_loss: mean over the images, without label smoothing and class weights.
        validation_accuracy: the score of the task (nas.train.tasks.SCORE): accuracy; of several labels mean average
            precision; of a regression R², which can be below 0. The name is that of the first task there was.
        lr: learning rate of the last step.
        seconds: that it took, with its validation.
        metrics: everything measured on the validation split (nas.train.tasks.METRICS).
        genotype: as JSON, what a supernet would hand over after this epoch; None of other networks.
        shares: as JSON, of a supernet: which share each operation has of its edge (nas.oneshot.watch); None of others.
        validation_s: of the seconds, those that validation took, where they were measured.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    lr: float
    seconds: float
    metrics: Mapping[str, float] = field(default_factory=dict, hash=False)
    genotype: Mapping[str, Any] | None = field(default=None, hash=False)
    shares: Mapping[str, Any] | None = field(default=None, hash=False)
    validation_s: float = field(default=0.0, compare=False)
