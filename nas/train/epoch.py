"""What one epoch of training showed. No torch: the store records it too."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EpochResult:
    """Losses are mean cross entropies, in training with label smoothing; accuracy is a share; `epoch` counts from 1."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    lr: float
    seconds: float
