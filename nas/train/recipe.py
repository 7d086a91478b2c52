"""How a network is trained: one frozen value that goes into a trial's row and into the package."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Recipe:
    """SGD with Nesterov momentum under one cosine cycle, as in Liu et al. 2019, section 3.2, sized for small images.

    Attributes:
        epochs: passes over the training split; the cosine ends at the last one.
        batch_size: images a step.
        lr: peak learning rate.
        warmup: share of the steps in which the learning rate climbs linearly to its peak.
        momentum: of SGD, Nesterov's.
        weight_decay: on convolution and linear weights; biases and batch norm are left alone.
        clip_norm: largest norm of the gradient.
        label_smoothing: share of the target that is spread over all classes.
        shift: furthest random shift of a training image, in pixels; 0 for none.
    """

    epochs: int
    batch_size: int = 96
    lr: float = 0.1
    warmup: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip_norm: float = 5.0
    label_smoothing: float = 0.1
    shift: int = 1

    @classmethod
    def for_images(cls, side: int, *, epochs: int) -> Self:
        """The default recipe for images of that side: they are shifted by up to an eighth of it."""
        return cls(epochs=epochs, shift=max(1, side // 8))

    def learning_rate(self, step: int, steps: int) -> float:
        """Learning rate of step 0 ≤ `step` < `steps`: linear warm-up, then half a cosine (Loshchilov, Hutter 2017)."""
        climb = math.ceil(self.warmup * steps)
        if step < climb:
            return self.lr * (step + 1) / climb
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - climb) / max(1, steps - climb)))

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of to_json."""
        return cls(**data)
