"""What a job may say about its strategy and its pruning: one model each, whose JSON schema the API shows. No torch."""

from typing import Final, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from nas.strict import Strict


class NoOptions(Strict):
    """The strategy has no options."""


class TpeOptions(Strict):
    """Of the tree-structured Parzen estimator."""

    startup: int = Field(10, ge=1, le=10_000, description="random trials before the model takes over")


class GpOptions(Strict):
    """Of the Gaussian process."""

    startup: int = Field(10, ge=1, le=10_000, description="random trials before the model takes over")


class GeneticOptions(Strict):
    """Of NSGA-II and NSGA-III."""

    population: int = Field(24, ge=2, le=10_000, description="members of a generation")


class CmaesOptions(Strict):
    """Of CMA-ES."""

    startup: int = Field(1, ge=1, le=10_000, description="random trials before the model takes over")


class EvolutionOptions(Strict):
    """Of regularized evolution."""

    population: int = Field(25, ge=2, le=10_000, description="youngest trials that may be parents; older ones die")
    tournament: int = Field(8, ge=1, le=10_000, description="drawn from the population; the best of them is the parent")


class LocalSearchOptions(Strict):
    """Of local search."""

    startup: int = Field(10, ge=1, le=10_000, description="random trials, the best of which the search starts from")


class AutoOptions(Strict):
    """Of model-guided mutation."""

    warm_start: int = Field(500, ge=0, le=10_000, description="random candidates that training-free scores choose from")
    exploration: float = Field(0.1, ge=0, le=1, description="share of trials that are random")


class SupernetOptions(Strict):
    """Of searches that train one network in which all candidates share their weights."""

    epochs: int | None = Field(None, ge=1, le=1_000, description="of the supernet; null: what suits the data")
    channels: int | None = Field(None, ge=4, le=256, description="of the supernet; null: the space's")
    cells: int | None = Field(None, ge=1, le=40, description="of the supernet; null: the space's")
    candidates: int = Field(4, ge=1, le=100, description="genotypes that it hands over to be trained on their own")
    patience: int | None = Field(
        None, ge=2, le=1_000, description="epochs with an unchanged genotype after which it stops; null: what suits"
    )


class DartsOptions(SupernetOptions):
    """Of differentiable search, and GDAS."""

    arch_lr: float | None = Field(
        None, gt=0, le=1, description="of the architecture's parameters (Adam); null: what suits the steps"
    )
    discretise: Literal["alpha", "perturbation"] = Field(
        "perturbation", description="alpha: the largest; perturbation: the operation whose absence costs most"
    )
    max_skip: float = Field(0.5, gt=0, le=1, description="share of skip connections that counts as a collapse")


class FirstSecondOptions(DartsOptions):
    """Of DARTS."""

    order: Literal["first", "second"] = Field(
        "first", description="of the approximation of the architecture's gradient"
    )


class PartialOptions(DartsOptions):
    """Of PC-DARTS."""

    share: int = Field(4, ge=1, le=64, description="one channel in so many goes through the operations")


class SinglePathOptions(SupernetOptions):
    """Of random search with weight sharing."""

    samples: int = Field(200, ge=1, le=100_000, description="candidates that are scored with the supernet's weights")


class PruningSpec(Strict):
    """Which trials stop early."""

    method: Literal["halving", "hyperband", "median", "none"] = Field(
        "halving",
        description="halving: paused at rungs, the best go on from their checkpoints; hyperband: several first rungs; "
        "median: stopped where below the median of the others; none: all are trained to the end",
    )
    eta: int = Field(3, ge=2, le=100, description="halving, hyperband: one trial in so many goes on")
    first: int | None = Field(
        None, ge=1, le=1_000, description="epochs of the first rung; null: what suits budget.epochs"
    )


METHODS_OF: Final[dict[str, tuple[str, ...]]] = {
    "eta": ("asha", "hyperband"),
    "first": ("asha",),
    "every": ("pbt",),
    "quantile": ("pbt",),
    "resample": ("pbt",),
}
"""Option of Ray's schedulers → the methods that it says something about."""


class SchedulerSpec(Strict):
    """Which of Ray's own schedulers decides which trials stop, or what they go on with."""

    method: Literal["asha", "hyperband", "pbt"] = Field(
        description="asha: stopped at rungs unless among the best there; hyperband: brackets that begin at several "
        "rungs, each of which waits for its trials; pbt: trials go on with the weights of better ones, and with "
        "changed values of the recipe's fields that are open to search"
    )
    eta: int = Field(3, ge=2, le=100, description="asha, hyperband: one trial in so many goes on")
    first: int | None = Field(
        None,
        ge=1,
        le=1_000,
        description="asha: epochs before a trial may be stopped; null: what suits budget.epochs",
    )
    every: int | None = Field(
        None,
        ge=1,
        le=1_000,
        description="pbt: epochs from one comparison to the next; null: a quarter of budget.epochs",
    )
    quantile: float = Field(
        0.25, gt=0, le=0.5, description="pbt: share of the trials that take over from as many of the best ones"
    )
    resample: float = Field(
        0.25, ge=0, le=1, description="pbt: probability that a field is drawn anew instead of changed a little"
    )

    @model_validator(mode="after")
    def _of_its_method(self) -> Self:
        for name, methods in METHODS_OF.items():
            value = getattr(self, name)
            if self.method not in methods and value != type(self).model_fields[name].default:
                mend = f"{self.method} has none; leave it out, or set scheduler.method: {' or '.join(methods)}"
                kind = PydanticCustomError("of_its_method", "{mend}", {"mend": mend})
                details = InitErrorDetails(type=kind, loc=(name,), input=value)
                raise ValidationError.from_exception_data(type(self).__name__, [details])
        return self
