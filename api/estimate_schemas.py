"""What the API answers to who asks what a search would cost."""

from typing import Any, Self

from pydantic import BaseModel, Field

from nas.estimate import Estimate
from nas.space.extent import Range

COUNTABLE = 1e300
"""Above that a number of JSON is not one for everybody who reads it."""


class EstimatedSpace(BaseModel):
    """How many candidates there are."""

    candidates: float | None = Field(description="null where it is more than a number can tell; see `text`")
    text: str = Field(examples=["10^18"], description="the same to be read, with what of the recipe cannot be counted")


class EstimatedRange(BaseModel):
    """A cost of the networks."""

    smallest: int
    typical: int = Field(description="the median of random networks within the limits")
    largest: int

    @classmethod
    def of(cls, found: Range) -> Self:
        """From the estimate."""
        return cls(smallest=found.smallest, typical=found.typical, largest=found.largest)


class EstimatedNetwork(BaseModel):
    """How large the networks are."""

    params: EstimatedRange
    macs: EstimatedRange = Field(description="multiply-accumulates an image")
    exact: bool = Field(description="false where operations of your own are not counted")


class EstimatedEpochs(BaseModel):
    """Of all networks together."""

    search: int = Field(description="with those of a supernet")
    final: int = Field(description="of the retraining of finalists, controls and the hand-designed network")


class EstimatedSeconds(BaseModel):
    """From the first trial to the model."""

    low: float
    expected: float
    high: float


class EstimatedJob(BaseModel):
    """What a job would cost, about. Nothing was written."""

    dataset: str
    strategy: str
    space: EstimatedSpace
    network: EstimatedNetwork
    trials: int
    epochs: EstimatedEpochs
    seconds: EstimatedSeconds
    workers: int = Field(description="alive now that may serve it")
    parallel: int = Field(description="trials at once that the times are for")
    basis: str = Field(
        examples=["measured: 812 epochs of digits on this service"], description="what the times rest on"
    )

    @classmethod
    def of(cls, found: Estimate, dataset: str, strategy: str) -> Self:
        """From what was found out."""
        many = found.space.candidates > COUNTABLE
        return cls(
            dataset=dataset,
            strategy=strategy,
            space=EstimatedSpace(candidates=None if many else float(found.space.candidates), text=str(found.space)),
            network=EstimatedNetwork(
                params=EstimatedRange.of(found.params), macs=EstimatedRange.of(found.macs), exact=found.exact
            ),
            trials=found.trials,
            epochs=EstimatedEpochs(search=found.search_epochs, final=found.final_epochs),
            seconds=EstimatedSeconds(
                low=round(found.low_s, 1), expected=round(found.expected_s, 1), high=round(found.high_s, 1)
            ),
            workers=found.workers,
            parallel=found.lanes,
            basis=found.basis,
        )


class CheckedJob(BaseModel):
    """Whether a job would be taken as it is: what it would cost, or what is wrong with it. Nothing was written."""

    valid: bool = Field(description="whether POST /v1/jobs would take it")
    estimate: EstimatedJob | None = Field(None, description="null: it would be refused")
    detail: str | None = Field(None, description="what is wrong, as the refusal would say it; null: nothing")
    errors: list[dict[str, Any]] = Field([], description="each field at fault, its value, and what is allowed")
