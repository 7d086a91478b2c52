"""How a network is trained: one frozen value that goes into a trial's row and into the package. No torch."""

from itertools import pairwise
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from nas.strict import Strict

Optimizer = Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"]
Schedule = Literal[
    "constant",
    "step",
    "multi_step",
    "exponential",
    "multiplicative",
    "cosine",
    "cosine_restarts",
    "cyclic",
    "one_cycle",
    "plateau",
]
Initialisation = Literal[
    "default",
    "uniform",
    "normal",
    "xavier_uniform",
    "xavier_normal",
    "he_uniform",
    "he_normal",
    "truncated_xavier",
    "truncated_he",
]
Precision = Literal["auto", "float32", "bfloat16", "float16"]

DEFAULT_LR: Final[dict[str, float]] = {
    "sgd": 0.5,
    "momentum": 0.1,
    "nesterov": 0.1,
    "adagrad": 0.05,
    "rmsprop": 0.002,
    "adam": 0.01,
    "adamw": 0.01,
}
"""Peak learning rate that suits small images, by optimizer; what a recipe has that names none."""

DEFAULT_WEIGHT_DECAY: Final[dict[str, float]] = {"adamw": 0.05}
"""Decoupled decay is multiplied by the learning rate, so that it has to be larger; 5e-4 for the others."""

CLIMBING: Final = ("cyclic", "one_cycle")
"""Schedules that climb by themselves and need no warm-up."""

LAST_SHARE: Final = 0.01
"""What exponential decay leaves of the peak at the end of a training, unless a recipe says its gamma."""


def _ascending(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if any(later <= earlier for earlier, later in pairwise(values)):
        raise ValueError("they have to be ascending")
    return values


# One field, one check: forms made from these fields (nas.spec) take the checks over with them.
Share = Annotated[float, Field(gt=0, lt=1)]
Milestones = Annotated[tuple[Share, ...], Field(strict=False), AfterValidator(_ascending)]
Rungs = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False), AfterValidator(_ascending)]


MANY_IMAGES, STEPS, SMALLEST_BATCH, LARGEST_BATCH = 10_000, 12, 16, 96
"""What a batch size follows from, where a recipe names none: steps an epoch, within these bounds."""


class Recipe(Strict):
    """Everything that training depends on besides the network, the data and the seed.

    The defaults follow Liu et al. 2019, section 3.2 (SGD with Nesterov momentum under one cosine cycle), sized for
    small images. Schedules run over what the warm-up leaves of the training. The formulas stand with their tables:
    nas.train.optimizers, schedules, initialisation, losses, averaging, and nas.data.augment.
    """

    epochs: int = Field(ge=1, le=100_000, description="passes over the training split; schedules end at the last one")
    rungs: Rungs = Field(
        (), max_length=100, description="epochs at which a stage of the training ends annealed and the next one begins"
    )
    batch_size: int = Field(96, ge=1, le=65_536, description="images a forward pass")
    accumulate: int = Field(1, ge=1, le=1_024, description="batches a step, whose gradients are averaged")

    optimizer: Optimizer = Field("nesterov", description="momentum is SGD with it, nesterov with Nesterov's")
    lr: float = Field(0.1, gt=0, le=100, description="peak learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="of momentum, nesterov and rmsprop; Adam's first beta")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's second beta, and rmsprop's smoothing")
    weight_decay: float = Field(5e-4, ge=0, le=10, description="decoupled for adamw; never on biases and norm layers")
    l1: float = Field(0.0, ge=0, le=10, description="factor of the sum of the weights' absolute values in the loss")
    l2: float = Field(0.0, ge=0, le=10, description="factor of half the sum of the weights' squares in the loss")

    schedule: Schedule = Field("cosine", description="of the learning rate")
    warmup: float = Field(0.1, ge=0, le=1, description="share of the steps that climb linearly to the peak first")
    lr_floor: float = Field(
        0.0,
        ge=0,
        le=1,
        description="least share of the peak: of cosine, cosine_restarts, cyclic, one_cycle and plateau",
    )
    gamma: float = Field(
        0.1,
        gt=0,
        le=1,
        description="factor of step, multi_step, exponential, plateau; of multiplicative over all epochs",
    )
    milestones: Milestones = Field(
        (0.5, 0.75), max_length=100, description="shares of the schedule at which multi_step multiplies by gamma"
    )
    period: int = Field(
        10, ge=1, le=100_000, description="epochs: between two steps, to the first restart, of a cyclic cycle"
    )
    cycle_growth: int = Field(2, ge=1, le=10, description="how much longer each restart of cosine_restarts is")
    patience: int = Field(5, ge=0, le=10_000, description="epochs without improvement that plateau waits")

    initialisation: Initialisation = Field("default", description="of convolutions and linear layers")
    init_scale: float = Field(1.0, gt=0, le=100, description="factor on the scale of the initialisation")

    loss: str = Field("default", min_length=1, max_length=200, description="default: the task's own; or a loss by name")
    class_weights: Literal["none", "balanced"] = Field("none", description="balanced: rare classes weigh more")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="share of the target spread over all classes")
    clip_norm: float | None = Field(5.0, gt=0, le=1e12, description="largest norm of the gradient")
    clip_value: float | None = Field(None, gt=0, le=1e12, description="largest absolute value in the gradient")
    weight_clip: float | None = Field(
        None, gt=0, le=1e12, description="largest absolute value of a weight after a step"
    )
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the exponential average of the weights; 0: none")
    swa: float = Field(0.0, ge=0, lt=1, description="share of the epochs, the last ones, whose weights are averaged")
    swa_lr: float = Field(0.5, gt=0, le=1, description="share of the peak that SWALR anneals to and keeps")
    early_stop: int | None = Field(
        None, ge=1, le=100_000, description="epochs without improvement that end it; the best epoch is kept"
    )
    precision: Precision = Field("auto", description="auto: bfloat16 where the device computes it faster")

    shift: int = Field(1, ge=0, le=64, description="crop with padding: furthest shift in pixels")
    flip: bool = Field(False, description="mirror half of the images, left to right")
    cutout: float = Field(0.0, ge=0, le=1, description="side of the square that is blanked, as a share of the image's")
    jitter: float = Field(0.0, ge=0, le=1, description="strength of changes to brightness, contrast, saturation")
    mixup: float = Field(0.0, ge=0, le=10, description="alpha of the beta distribution that two images are mixed by")
    cutmix: float = Field(0.0, ge=0, le=10, description="alpha of the beta distribution of the pasted area")
    randaugment: int = Field(0, ge=0, le=10, description="random operations on each image")
    magnitude: float = Field(0.3, ge=0, le=1, description="strength of randaugment's operations")

    freeze: int = Field(0, ge=0, le=100, description="transfer: stem and this many first cells are kept as they are")
    kept_lr: float = Field(1.0, ge=0, le=1, description="transfer: factor on the learning rate of what was taken over")

    @model_validator(mode="after")
    def _rungs_before_the_end(self) -> Self:
        if self.rungs and self.rungs[-1] >= self.epochs:
            raise ValueError(f"the last rung is {self.rungs[-1]}; it has to be below epochs, which is {self.epochs}")
        return self

    @classmethod
    def for_images(cls, image: tuple[int, int, int], *, epochs: int, images: int = MANY_IMAGES, **chosen: Any) -> Self:
        """The recipe for `images` images (channels, height, width) that says `chosen` and is good for them in all else.

        An epoch of few images still has about a dozen steps, so that their batches are smaller. Images are shifted by
        up to an eighth of their side, and those with colours are mirrored: few things that are photographed tell left
        from right, while written signs, which are mostly grey, do. The learning rate and the decay follow the
        optimizer; no warm-up precedes a schedule that climbs by itself; exponential decay ends at a hundredth.
        """
        optimizer, schedule = chosen.get("optimizer", "nesterov"), chosen.get("schedule", "cosine")
        good: dict[str, Any] = {
            "batch_size": min(LARGEST_BATCH, max(SMALLEST_BATCH, 8 * round(images / STEPS / 8))),
            "flip": image[0] == 3,
            "shift": min(64, max(1, min(image[1:]) // 8)),
            "lr": DEFAULT_LR.get(optimizer, 0.1),
            "weight_decay": DEFAULT_WEIGHT_DECAY.get(optimizer, 5e-4),
            "warmup": 0.0 if schedule in CLIMBING else 0.1,
            "gamma": LAST_SHARE ** (1 / epochs) if schedule == "exponential" and epochs > 0 else 0.1,
        }
        return cls(**(good | chosen | {"epochs": epochs}))

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of to_json; fields that an older version did not have get their defaults."""
        return cls.model_validate(data)
