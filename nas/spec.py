"""What a user may ask for: the body of POST /v1/jobs, validated. No torch."""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from nas.errors import InvalidInput
from nas.search.catalog import STRATEGIES
from nas.space import CellSpace, smallest_input
from nas.space.operations import DEFAULT_OPERATIONS, OPERATIONS

ENGINES: Final = ("optuna",)
MAX_SEED = 2**31 - 1


class _Model(BaseModel):
    # strict: "24" is not a number and true is not 1; forbid: a misspelt field is an error, never a silent default.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _one_of(allowed: tuple[str, ...]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"allowed: {', '.join(allowed)}")
        return value

    return AfterValidator(check)


def _operations(ops: tuple[str, ...]) -> tuple[str, ...]:
    for index, name in enumerate(ops):
        if name not in OPERATIONS:
            raise ValueError(f"{name!r} is no operation; allowed: {', '.join(OPERATIONS)}")
        if name in ops[:index]:
            raise ValueError(f"{name!r} stands there twice; name each operation once")
    if set(ops) == {"none"}:
        raise ValueError("a network of nothing but 'none' cannot learn; add another operation")
    return ops


Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class SpaceSpec(_Model):
    """The cells to choose from, and the network that they are stacked into."""

    # strict mode takes tuples only from tuples, and JSON has lists
    ops: Annotated[tuple[str, ...], Field(strict=False, min_length=1), AfterValidator(_operations)] = Field(
        DEFAULT_OPERATIONS, description="operations an edge may carry; GET /v1/operations lists them"
    )
    nodes: int = Field(4, ge=1, le=8, description="computed nodes a cell")
    channels: int = Field(8, ge=1, le=256, description="channels of the first cell; each reduction doubles them")
    cells: int = Field(4, ge=1, le=40, description="cells in the network, with reductions at 1/3 and 2/3 of the depth")

    def space(self) -> CellSpace:
        """As the value that strategies and workers use."""
        return CellSpace(self.ops, self.nodes, self.channels, self.cells)


class BudgetSpec(_Model):
    """How much to search."""

    trials: int = Field(24, ge=1, le=100_000, description="architectures to try")
    epochs: int = Field(8, ge=1, le=1_000, description="epochs of a trial that is not stopped early")
    seconds: float | None = Field(
        None,
        gt=0,
        le=31_536_000,
        description="wall clock of the search, without the retraining after it; null: no limit",
    )
    parallel: int | None = Field(
        None, ge=1, le=10_000, description="trials at once; null: as many as there are workers"
    )


class FinalSpec(_Model):
    """What happens after the search: the retraining that the verdict and the model come from."""

    finalists: int = Field(1, ge=1, le=20, description="best trials to retrain; validation chooses among them")
    controls: int = Field(3, ge=1, le=20, description="random networks of the winner's size, retrained alike")
    epochs: int = Field(30, ge=1, le=2_000, description="epochs of each retraining")
    seeds: int = Field(3, ge=1, le=20, description="retrainings of each network")


class JobSpec(_Model):
    """A search job. Everything but the data set has a default that suits it."""

    dataset: Name = Field(description="name of a data set; GET /v1/datasets lists them", examples=["digits"])
    name: Name | None = Field(None, description="for people to recognise the job by")
    space: SpaceSpec = SpaceSpec()
    strategy: Annotated[str, _one_of(tuple(STRATEGIES))] = Field(
        "tpe", description="how candidates are chosen; GET /v1/strategies lists them"
    )
    engine: Annotated[str, _one_of(ENGINES)] = Field("optuna", description="what runs the trials: the workers")
    budget: BudgetSpec = BudgetSpec()
    final: FinalSpec = FinalSpec()
    seed: int = Field(0, ge=0, le=MAX_SEED, description="the same seed with one worker gives the same search")


def complete(body: dict[str, Any], *, image: tuple[int, int, int], images: int) -> JobSpec:
    """A spec in which every field is filled in, by defaults that suit the data set's size.

    Args:
        body: what the user sent, validated by JobSpec before.
        image: (channels, height, width) of the data set's images.
        images: how many images the training split has.

    Raises:
        InvalidInput: the images are too small for the depth, or more finalists than trials are asked for.
    """
    space: dict[str, Any] = dict(body.get("space") or {})
    side = min(image[1:])
    if side > SMALL_SIDE:
        space.setdefault("channels", 16)
        space.setdefault("cells", 5)
    budget: dict[str, Any] = dict(body.get("budget") or {})
    # About 10,000 images an epoch are what a cell network of this size learns from in few epochs.
    budget.setdefault("epochs", 8 if images < MANY_IMAGES else 5)
    spec = JobSpec.model_validate(body | {"space": space, "budget": budget})
    smallest = smallest_input(spec.space.cells)
    if side < smallest:
        raise InvalidInput(
            "space.cells",
            spec.space.cells,
            f"{spec.space.cells} cells halve the image until less than 2×2 pixels are left: they need images of at "
            f"least {smallest}×{smallest}, and {spec.dataset} has {image[2]}×{image[1]}; use larger images"
            + (" or 1 cell" if side >= smallest_input(1) else ""),
        )
    if spec.final.finalists > spec.budget.trials:
        raise InvalidInput(
            "final.finalists", spec.final.finalists, f"at most budget.trials, which is {spec.budget.trials}"
        )
    return spec


SMALL_SIDE = 16
MANY_IMAGES = 10_000
State = Literal["queued", "running", "complete", "pruned", "infeasible", "failed", "cancelled"]
