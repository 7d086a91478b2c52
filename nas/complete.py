"""From what a user said to a whole job: every field filled in, and checked against the data set."""

from itertools import product
from typing import Any

from nas.errors import InvalidInput
from nas.oneshot.plan import default_epochs
from nas.search.catalog import strategies
from nas.searchable import MAX_CHOICES, Choices, Range
from nas.space import Candidate, Genotype, LayerNet, Shape, is_reduction, smallest_input
from nas.space.limits import check_limits
from nas.space.shape import CELLS_ONLY
from nas.spec import MAX_TRIALS, JobSpec, RecipeSpec
from nas.train.recipe import DEFAULT_LR
from nas.train.tasks import check_loss

SMALL_SIDE, LARGE_SIDE = 16, 64
FINALISTS = 3
"""Of a one-shot search, unless the job says otherwise."""

FEW_IMAGES, MANY_IMAGES = 1_000, 10_000


def complete(
    body: dict[str, Any],
    *,
    image: tuple[int, int, int],
    images: int,
    outputs: int,
    task: str = "single_label",
) -> JobSpec:
    """A spec in which every field is filled in, by defaults that suit the data set.

    Args:
        body: what the user sent, validated by JobSpec before; for transfer with the source's candidate and weights.
        image: (channels, height, width) of the data set's images.
        images: how many images the training split has.
        outputs: classes, labels or targets of the data set.
        task: of the data set.

    Raises:
        InvalidInput: something does not go with the data set, or two fields do not go with each other.
    """
    side = min(image[1:])
    space: dict[str, Any] = dict(body.get("space") or {})
    if side > SMALL_SIDE and space.get("kind", "cells") == "cells" and not body.get("transfer"):
        space.setdefault("channels", 16)
        space.setdefault("cells", 5)
        if side >= LARGE_SIDE:  # the stem leaves an eighth of the side: at full size an epoch takes 60 times as long
            space.setdefault("stem", "imagenet")
    budget: dict[str, Any] = dict(body.get("budget") or {})
    # About 10,000 images an epoch are what a cell network of this size learns from in few epochs.
    budget.setdefault("epochs", 5 if images >= MANY_IMAGES else 8 if images >= FEW_IMAGES else 16)
    final: dict[str, Any] = dict(body.get("final") or {})
    one_shot = strategies()[body.get("strategy", "auto")].prepares == "supernet"
    # A supernet alone takes a minute on small images, and hands over several finalists: the others retrain less.
    final.setdefault("epochs", (12 if one_shot else 30) if images >= FEW_IMAGES else 60)
    if one_shot:
        final.setdefault("seeds", 2)
    body = body | {"space": space, "budget": budget, "final": final}
    if body.get("transfer"):
        body = _transferred(body)
    body = _strategic(body, images)
    spec = JobSpec.model_validate(body)
    _check_strategy(spec)
    _check_start(spec)
    _check_fit(spec, image)
    _check_recipe(spec.recipe, side, task, transfer=spec.transfer is not None)
    if spec.final.finalists > spec.budget.trials:
        raise InvalidInput(
            "final.finalists", spec.final.finalists, f"at most budget.trials, which is {spec.budget.trials}"
        )
    check_limits(spec.search_space(), spec.limits, image=image, outputs=outputs)
    return spec


def _strategic(body: dict[str, Any], images: int) -> dict[str, Any]:
    """Fills in what follows from the strategy: its options, and how much it tries."""
    name = body.get("strategy", "auto")
    entry, budget, final = strategies()[name], dict(body["budget"]), dict(body["final"])
    options = entry.options.model_validate(body.get("options") or {}).model_dump(mode="json")
    if entry.prepares == "supernet":
        if options["epochs"] is None:
            options["epochs"] = default_epochs(name, images, second_order=options.get("order") == "second")
        budget.setdefault("trials", options["candidates"])
        # The order of a single network says nothing about whether the supernet's order means anything.
        final.setdefault("finalists", min(FINALISTS, budget["trials"]))
        body = {"pruning": "none"} | body  # they are few, and they are to be compared
    elif budget.get("seconds") is not None or budget.get("total_epochs") is not None:
        budget.setdefault("trials", MAX_TRIALS)
    return body | {"strategy": name, "options": options, "budget": budget, "final": final}


def _check_strategy(spec: JobSpec) -> None:
    if refusal := strategies()[spec.strategy].refuses(spec.search_space()):
        raise InvalidInput("strategy", spec.strategy, refusal)
    first, epochs = spec.pruning.first, spec.budget.epochs
    if first is not None and first >= epochs:
        raise InvalidInput("pruning.first", first, f"below budget.epochs, which is {epochs}; or leave it out")
    scored = any(objective.metric == "accuracy" for objective in spec.objectives)
    if spec.budget.target is not None and not scored:
        raise InvalidInput("budget.target", spec.budget.target, "add accuracy to objectives, which it is a value of")
    total = spec.budget.total_epochs
    if total is not None and total < epochs:
        raise InvalidInput("budget.total_epochs", total, f"at least budget.epochs, which is {epochs}")
    finalists = spec.final.finalists
    if total is not None and finalists > total:
        raise InvalidInput("final.finalists", finalists, f"at most budget.total_epochs, which is {total}")


def _transferred(body: dict[str, Any]) -> dict[str, Any]:
    """Opens what a transfer searches, and takes the frame over from the source."""
    source = Candidate.from_json(body["transfer"].get("candidate"))
    shape = source.shape.model_dump()
    if said := sorted(body["space"].keys() - {"tail"}):
        mend = "with transfer the source's network is taken over; only space.tail can be said"
        raise InvalidInput(f"space.{said[0]}", body["space"][said[0]], mend)
    match source.architecture:
        case Genotype():
            # One cell more or less; at least one is left.
            low, high = max(-40, shape["tail"] - 1, 1 - shape["cells"]), min(40, shape["tail"] + 1)
            space = shape | {"tail": {"low": low, "high": high}} | body["space"]
            parts = len(is_reduction(source.shape))
        case LayerNet() as network:
            frame = {name: value for name, value in shape.items() if name not in CELLS_ONLY}
            space = {"kind": "layers"} | frame | body["space"]
            parts = len(network.groups())
        case _:
            raise InvalidInput("transfer.job", body["transfer"]["job"], "its model has to come from its search space")
    recipe = dict(body.get("recipe") or {})
    recipe.setdefault("freeze", {"low": 0, "high": parts})
    recipe.setdefault("kept_lr", {"low": 0.01, "high": 1.0, "log": True})
    if isinstance(recipe.get("optimizer", "nesterov"), str):
        peak = DEFAULT_LR[recipe.get("optimizer", "nesterov")]
        recipe.setdefault("lr", {"low": peak / 30, "high": peak, "log": True})
    return body | {"space": space, "recipe": recipe}


def _check_start(spec: JobSpec) -> None:
    count = len(spec.start)
    mend = ""
    if spec.transfer is not None:
        mend = "with transfer the source's network is taken over; leave it out"
    elif spec.space.kind == "layers":
        mend = 'genotypes are pairs of cells; leave it out, or set space.kind to "cells"'
    elif count > spec.budget.trials:
        mend = f"at most budget.trials, which is {spec.budget.trials}"
    if count and mend:
        raise InvalidInput("start", f"{count} genotype{'s' if count > 1 else ''}", mend)


def _check_fit(spec: JobSpec, image: tuple[int, int, int]) -> None:
    """Raises InvalidInput where a network would halve the image until less than 2×2 pixels are left."""
    if spec.space.kind == "layers":
        return  # its strides stop at one pixel
    side = min(image[1:])
    for cells, tail, stem in product(*(_values(spec.space, name) for name in ("cells", "tail", "stem"))):
        smallest = smallest_input(Shape(cells=cells, tail=tail, stem=stem))
        if side >= smallest:
            continue
        needs = f"images of at least {smallest}×{smallest}, and {spec.dataset} has {image[2]}×{image[1]}"
        if spec.transfer is not None:
            raise InvalidInput("transfer.job", spec.transfer.job, f"its network needs {needs}")
        after = " after an imagenet stem" if stem == "imagenet" else ""
        # One cell halves less, but only where it leaves 2×2 pixels itself.
        fewer = f" or 1 cell{' with the cifar stem' if after else ''}" if side >= smallest_input(Shape(cells=1)) else ""
        raise InvalidInput(
            "space.cells",
            cells,
            f"{cells} cell{'s' if cells > 1 else ''}{after} halve the image until less than 2×2 pixels are left: "
            f"they need {needs}; use larger images{fewer}",
        )


def _check_recipe(recipe: RecipeSpec, side: int, task: str, *, transfer: bool) -> None:
    for loss in _values(recipe, "loss"):
        check_loss(loss, task)
    for shift in _values(recipe, "shift"):
        if shift is not None and shift >= side:
            raise InvalidInput("recipe.shift", shift, f"at most {side - 1}, or nothing is left of images of {side} px")
    for name, off in (("freeze", 0), ("kept_lr", 1.0)):
        if not transfer and set(_values(recipe, name)) != {off}:
            said = recipe.model_dump(mode="json")[name]
            raise InvalidInput(f"recipe.{name}", said, "goes with transfer only; leave it out")


def _values(fields: Any, name: str) -> list[Any]:
    """The values that a field can have: its own, its choices, the whole numbers of its range, or the range's ends."""
    match getattr(fields, name):
        case Choices(choices=choices):
            return list(choices)
        case Range(low=int(low), high=int(high)) if high - low <= MAX_CHOICES:
            return list(range(low, high + 1))
        case Range(low=low, high=high):
            return [low, high]
        case value:
            return [value]
