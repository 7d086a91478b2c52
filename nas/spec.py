"""What a user may ask for: the body of POST /v1/jobs, validated. No torch."""

import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from nas.errors import InvalidInput, UserError
from nas.objectives import Objective, ObjectiveForm
from nas.resources import ResourcesSpec
from nas.search.catalog import strategies
from nas.search.options import PruningSpec, SchedulerSpec
from nas.search.population import unsuitable
from nas.searchable import MAX_CHOICES, Listed, Searchable, counted, searchable
from nas.space import Candidate, CellSpace, FixedSpace, Genotype, JointSpace, LayerSpace, Shape, from_text, known
from nas.space.joint import RECIPE, SPACE
from nas.space.layers import LAYER_KINDS
from nas.space.limits import Limits
from nas.space.operations import DEFAULT_OPERATIONS, known_operations
from nas.space.shape import CELLS_ONLY
from nas.strict import Strict
from nas.train.recipe import Recipe

ENGINES: Final = {
    "optuna": "our workers, which meet in the database: one process on a laptop, or many on many machines",
    "ray": "Ray Tune on a Ray cluster, driven by a worker: fractions of GPUs, custom resources, Ray's own schedulers",
}
"""Engine → what runs the trials."""

RAY_ONLY: Final = ("resources", "scheduler")
MAX_SEED = 2**31 - 1
MAX_TRIALS: Final = 100_000


def _one_of(allowed: tuple[str, ...]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"allowed: {', '.join(allowed)}")
        return value

    return AfterValidator(check)


def _known_strategy(value: str) -> str:
    if value not in strategies():
        raise ValueError(f"allowed: {', '.join(strategies())}")
    return value


def _operations(ops: tuple[str, ...]) -> tuple[str, ...]:
    allowed = known_operations()
    if not ops:
        raise ValueError(f"name at least one of {', '.join(allowed)}")
    for index, name in enumerate(ops):
        if name not in allowed:
            raise ValueError(f"{name!r} is no operation; allowed: {', '.join(allowed)}")
        if name in ops[:index]:
            raise ValueError(f"{name!r} stands there twice; name each operation once")
    if set(ops) == {"none"}:
        raise ValueError("a network of nothing but 'none' cannot learn; add another operation")
    return ops


def _once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values or len(set(values)) < len(values):
        raise ValueError("name at least one, and each of them once")
    return values


Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


def _seen(name: object) -> object:
    """None for a name of which nobody would see anything: spaces, or marks without a width."""
    blank = isinstance(name, str) and name and all(unicodedata.category(letter)[0] in "ZC" for letter in name)
    return None if blank and not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in str(name)) else name


JobName = Annotated[Name | None, BeforeValidator(_seen)]
"""What people call a job; none if nobody would see it, for lists and pages show it as a link."""

AUTOMATIC: Final = {
    "lr": "the optimizer",
    "weight_decay": "the optimizer",
    "warmup": "the schedule",
    "gamma": "the schedule",
    "batch_size": "the number of images",
    "shift": "the images",
    "flip": "the images",
}
"""Fields of the recipe that follow from others unless a job says them → from what; see Recipe.for_images."""

if TYPE_CHECKING:  # made from Shape and Recipe at run time, so that each field is written down once
    _Frame = Searchable

    class RecipeSpec(Searchable):
        """The recipe, open to search."""
else:
    _Frame = searchable(Shape, optional={}, leave=set(), name="Frame", module=__name__)
    RecipeSpec = searchable(Recipe, optional=AUTOMATIC, leave={"epochs", "rungs"}, name="RecipeSpec", module=__name__)

ONLY_CELLS: Final = ("ops", "nodes", *CELLS_ONLY)
ONLY_LAYERS: Final = ("layer_kinds", "fewest", "most", "narrowest", "widest", "kernels", "parallel")


class SpaceSpec(_Frame):
    """The architectures to choose from, and the frame that they are built into."""

    kind: Literal["cells", "layers"] = Field(
        "cells", description="cells: two cells, stacked; layers: the whole network, layer by layer"
    )
    ops: Annotated[tuple[str, ...], Listed, AfterValidator(_operations)] = Field(
        DEFAULT_OPERATIONS, description="cells: operations an edge may carry; GET /v1/operations lists them"
    )
    nodes: int = Field(4, ge=1, le=8, description="cells: computed nodes a cell")
    layer_kinds: Annotated[
        tuple[Literal[tuple(LAYER_KINDS)], ...],  # type: ignore[valid-type]  # the table's names
        Listed,
        AfterValidator(_once),
    ] = Field(tuple(LAYER_KINDS), description="layers: what a layer may be")
    fewest: int = Field(3, ge=1, le=64, description="layers: least number of them")
    most: int = Field(8, ge=1, le=64, description="layers: largest number of them")
    narrowest: int = Field(16, ge=1, le=1024, description="layers: fewest channels of one, on a logarithmic scale")
    widest: int = Field(256, ge=1, le=1024, description="layers: most channels of one")
    kernels: Annotated[tuple[Literal[1, 3, 5, 7], ...], Listed, AfterValidator(_once)] = Field(
        (3, 5), description="layers: sides of their kernels"
    )
    parallel: bool = Field(True, description="layers: whether one may stand beside the one before it")

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        for name in ONLY_LAYERS if self.kind == "cells" else ONLY_CELLS:
            if getattr(self, name) != defaults[name]:
                raise self._impossible(name, f"it says nothing about {self.kind}; leave it out, or set space.kind")
        for low, high in (("fewest", "most"), ("narrowest", "widest")):
            if getattr(self, low) > getattr(self, high):
                raise self._impossible(low, f"at most space.{high}, which is {getattr(self, high)}")
        return self

    def _impossible(self, name: str, mend: str) -> ValidationError:
        """An error that names the field, as an error of a single field does."""
        kind = PydanticCustomError("of_its_kind", "{mend}", {"mend": mend})
        details = InitErrorDetails(type=kind, loc=(name,), input=self.model_dump(mode="json")[name])
        return ValidationError.from_exception_data(type(self).__name__, [details])

    def shape(self) -> Shape:
        """The frame; fields that are open have their default in it, until a candidate chooses."""
        return Shape(**{name: value for name, value in self.fixed().items() if name in Shape.model_fields})

    def base(self) -> CellSpace | LayerSpace:
        """The architectures."""
        if self.kind == "cells":
            return CellSpace(self.ops, self.nodes, self.shape())
        return LayerSpace(
            self.layer_kinds,
            self.fewest,
            self.most,
            self.narrowest,
            self.widest,
            self.kernels,
            self.parallel,
            self.shape(),
        )


class BudgetSpec(Strict):
    """How much to search."""

    trials: int = Field(
        24,
        ge=1,
        le=MAX_TRIALS,
        description="architectures to try; if left out beside total_epochs or seconds: no limit",
    )
    epochs: int = Field(8, ge=1, le=1_000, description="epochs of a trial that is not stopped early")
    total_epochs: int | None = Field(
        None, ge=1, le=10**8, description="epochs of all trials of the search together; null: no limit"
    )
    seconds: float | None = Field(
        None,
        gt=0,
        le=31_536_000,
        description="wall clock of the whole job from its first trial to its model: time for the retraining is kept "
        "back, and final.epochs, final.seeds or final.controls are lowered if they would not fit; null: no limit",
    )
    target: float | None = Field(
        None, ge=-1e9, le=1e9, description="the search ends when a fully trained trial scores this; null: no target"
    )
    parallel: int | None = Field(
        None, ge=1, le=10_000, description="trials at once; null: as many as there are workers"
    )


class FinalSpec(Strict):
    """What happens after the search: the retraining that the verdict and the model come from."""

    finalists: int = Field(1, ge=1, le=20, description="best trials to retrain; validation chooses among them")
    controls: int = Field(3, ge=1, le=20, description="random networks of the winner's size, retrained alike")
    epochs: int = Field(30, ge=1, le=2_000, description="epochs of each retraining")
    seeds: int = Field(3, ge=1, le=20, description="retrainings of each network")
    devices: int = Field(
        1,
        ge=1,
        le=64,
        description="devices that train one network together, for networks that are too big for one; where there are "
        "fewer, it is trained on those",
    )


class TransferSpec(Strict):
    """Start from the model of an earlier job: keep its lower part, give it a new head, fine-tune.

    How much is frozen (`recipe.freeze`), how many cells are added or dropped (`space.tail`) and how fast the kept part
    learns (`recipe.kept_lr`) are searched, unless the job says what they are.
    """

    job: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")] = Field(
        description="id of a job that has succeeded"
    )
    candidate: dict[str, Any] | None = Field(None, description="filled in by the service: that job's winner")
    weights: str | None = Field(None, description="filled in by the service: sha256 of its weights")


def _genotype(value: Any) -> Any:
    """A start as its genotype's JSON, from a published name, DARTS text, or that JSON."""
    try:
        if isinstance(value, str):
            return (from_text(value) if "(" in value else known(value)).to_json()
        return Genotype.from_json(value).to_json()
    except UserError as error:
        if isinstance(error, InvalidInput) and error.field == "genotype":  # the field's own name says that already
            raise ValueError(error.mend) from error
        raise ValueError(str(error)) from error


Start = Annotated[dict[str, Any], BeforeValidator(_genotype, json_schema_input_type=str | dict[str, Any])]


def _at(field: str, options: type[Strict], details: Any) -> InitErrorDetails:
    """An error of a nested model, as one of the field that holds it."""
    kind, message = details["type"], details["msg"]
    if kind == "extra_forbidden":  # which fields there are depends on the strategy
        allowed = ", ".join(options.model_fields) or "none: the strategy has no options"
        kind, message = "no_such_option", f"there is no such field; allowed: {allowed}"
    error = PydanticCustomError(kind, "{message}", {**details.get("ctx", {}), "message": message})
    return InitErrorDetails(type=error, loc=(field, *details["loc"]), input=details["input"])


def _distinct(objectives: tuple[ObjectiveForm, ...]) -> tuple[ObjectiveForm, ...]:
    metrics = [objective.metric for objective in objectives]
    if len(set(metrics)) < len(metrics):
        raise ValueError("name each metric once")
    return objectives


Objectives = Annotated[
    tuple[Objective, ...],
    Listed,
    Field(min_length=1, max_length=5, json_schema_extra=counted),
    AfterValidator(_distinct),
]


def _method(value: Any) -> Any:
    return {"method": value} if isinstance(value, str) else value


Pruning = Annotated[PruningSpec, BeforeValidator(_method, json_schema_input_type=str | PruningSpec)]


Scheduler = Annotated[SchedulerSpec, BeforeValidator(_method, json_schema_input_type=str | SchedulerSpec)]


def _at_field(field: str, value: Any, mend: str) -> ValidationError:
    """An error of a job that names the field."""
    kind = PydanticCustomError("of_its_engine", "{mend}", {"mend": mend})
    return ValidationError.from_exception_data(
        "JobSpec", [InitErrorDetails(type=kind, loc=tuple(field.split(".")), input=value)]
    )


class JobSpec(Strict):
    """A search job. Everything but the data set has a default that suits it."""

    dataset: Name = Field(description="name of a data set; GET /v1/datasets lists them", examples=["digits"])
    name: JobName = Field(None, description="for people to recognise the job by")
    space: SpaceSpec = SpaceSpec()
    recipe: RecipeSpec = Field(default_factory=lambda: RecipeSpec(), description="how networks are trained")
    limits: Limits = Limits()
    start: Annotated[tuple[Start, ...], Listed, Field(max_length=MAX_CHOICES, json_schema_extra=counted)] = Field(
        (), description="genotypes to try first: published names, DARTS text, or JSON; GET /v1/genotypes lists names"
    )
    transfer: TransferSpec | None = Field(None, description="an earlier job to start from")
    strategy: Annotated[str, AfterValidator(_known_strategy)] = Field(
        "auto", description="how candidates are chosen; GET /v1/strategies lists them"
    )
    options: dict[str, Any] = Field({}, description="of the strategy; GET /v1/strategies has the schema of each")
    pruning: Pruning = Field(PruningSpec(), description="which trials stop early; a method's name, or more")
    objectives: Objectives = Field(
        (ObjectiveForm(metric="accuracy", direction="maximize"),),
        description="what to look for; with several the dashboard has the Pareto set",
    )
    screening: int = Field(
        1, ge=1, le=1_000, description="proposals a trial, of which the best by a training-free score is trained"
    )
    engine: Annotated[str, _one_of(tuple(ENGINES))] = Field(
        "optuna", description="what runs the trials: optuna: the workers; ray: Ray Tune on a cluster"
    )
    resources: ResourcesSpec = Field(ResourcesSpec(), description="engine ray: what a trial takes of the cluster")
    scheduler: Scheduler | None = Field(
        None, description="engine ray: Ray's own scheduler in place of `pruning`; a method's name, or more"
    )
    budget: BudgetSpec = BudgetSpec()
    final: FinalSpec = FinalSpec()
    tensorboard: bool = Field(False, description="write TensorBoard logs of every trial; GET …/tensorboard has them")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="the same seed with one worker gives the same search")
    device: Literal["any", "cpu", "gpu"] = Field("any", description="workers that may train it: those on CPUs, on GPUs")
    priority: int = Field(0, ge=-100, le=100, description="jobs of a higher one get workers first; 0 is usual")
    cache: bool = Field(
        True,
        description="whether a training that the owner has paid for already (the same candidate, data, recipe "
        "and seed) is taken over instead of done again",
    )

    @model_validator(mode="before")
    @classmethod
    def _scheduled(cls, data: Any) -> Any:
        """Where Ray's scheduler decides which trials stop, our own pruning is off unless a user asks for both."""
        if isinstance(data, dict) and data.get("scheduler") is not None and data.get("pruning") is None:
            return data | {"pruning": "none"}
        return data

    @model_validator(mode="after")
    def _of_its_engine(self) -> Self:
        if self.engine != "ray":
            for name in RAY_ONLY:
                value = getattr(self, name)
                if value != type(self).model_fields[name].default:
                    shown = value.model_dump(mode="json") if isinstance(value, Strict) else value
                    raise _at_field(name, shown, f"engine {self.engine!r} has none; leave it out, or set engine: ray")
            return self
        if self.device == "gpu" and not self.resources.gpus:
            mend = "a job for GPUs has to ask Ray for some: set resources.gpus, 0.25 lets four trials share one"
            raise _at_field("resources.gpus", self.resources.gpus, mend)
        if self.device == "cpu" and self.resources.gpus:
            raise _at_field("resources.gpus", self.resources.gpus, "device is 'cpu'; leave one of the two out")
        if self.scheduler is not None and self.pruning.method != "none":
            mend = "Ray's scheduler decides which trials stop; leave pruning out, or leave scheduler out"
            raise _at_field("pruning.method", self.pruning.method, mend)
        if self.scheduler is not None:
            opened, budget = self.recipe.open(""), self.budget
            found = unsuitable(self.scheduler, opened, self.objectives, budget.epochs, budget.parallel)
            if found is not None:
                raise _at_field(*found)
        return self

    @model_validator(mode="after")
    def _known_options(self) -> Self:
        try:
            self.strategy_options()
        except ValidationError as error:
            options = strategies()[self.strategy].options
            raise ValidationError.from_exception_data(
                type(self).__name__, [_at("options", options, details) for details in error.errors(include_url=False)]
            ) from error
        return self

    def strategy_options(self) -> Strict:
        """The options of the strategy, with its defaults for what is not said. Raises ValidationError."""
        return strategies()[self.strategy].options.model_validate(self.options)

    def search_space(self) -> CellSpace | LayerSpace | JointSpace:
        """As the value that strategies and workers use."""
        parameters = tuple(self.space.open(SPACE) + self.recipe.open(RECIPE))
        if self.transfer is not None:
            source = Candidate.from_json(self.transfer.candidate)
            shape = source.shape.model_copy(update={"tail": self.space.fixed().get("tail", source.shape.tail)})
            return JointSpace(FixedSpace(replace(source, shape=shape)), parameters)
        return JointSpace(self.space.base(), parameters) if parameters else self.space.base()

    def starts(self) -> list[Genotype]:
        """The genotypes to try first."""
        return [Genotype.from_json(start) for start in self.start]

    def recipe_for(self, candidate: Candidate, image: tuple[int, int, int], *, epochs: int, images: int) -> Recipe:
        """How a candidate is trained: what the job says, what the candidate chose, and what suits the images."""
        chosen = self.recipe.fixed() | dict(candidate.recipe)
        said = {name: value for name, value in chosen.items() if not (name in AUTOMATIC and value is None)}
        return Recipe.for_images(image, epochs=epochs, images=images, **said)
