"""What one trial trains: an architecture, the frame it is built into, and what it chose of the recipe."""

import math
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import ValidationError

from nas.errors import InvalidInput
from nas.space.distributions import Value
from nas.space.genotype import Genotype
from nas.space.layers import LayerNet
from nas.space.shape import Shape


@dataclass(frozen=True, slots=True)
class ResidualNet:
    """The hand-designed network that every search is measured against (He et al. 2016, section 4.2).

    Three stages of `blocks` basic blocks, `width`, 2 × `width` and 4 × `width` channels wide.
    """

    width: int
    blocks: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A candidate as it stands in a trial's row: nothing else is needed to build and train it.

    Attributes:
        architecture: a pair of cells, a chain of layers, or the plain residual network.
        shape: the frame; of the residual network, which takes no notice of it, always the default.
        recipe: fields of the recipe that the search chose for it, by name, sorted.
    """

    architecture: Genotype | LayerNet | ResidualNet
    shape: Shape = field(default_factory=Shape)
    recipe: tuple[tuple[str, Value], ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.architecture, ResidualNet):
            object.__setattr__(self, "shape", Shape())

    def to_json(self) -> dict[str, Any]:
        """As `{"genotype" | "layers" | "residual": …, "shape": …, "recipe": …}`, without what is empty."""
        match self.architecture:
            case Genotype() as genotype:
                found: dict[str, Any] = {"genotype": genotype.to_json(), "shape": self.shape.model_dump()}
            case LayerNet() as layers:
                found = {"layers": layers.to_json(), "shape": self.shape.model_dump()}
            case ResidualNet(width, blocks):
                found = {"residual": {"width": width, "blocks": blocks}}
        return found | ({"recipe": dict(self.recipe)} if self.recipe else {})

    @classmethod
    def from_json(cls, data: Any, shape: Shape | None = None) -> Self:
        """The inverse of to_json. Raises InvalidInput for anything else.

        Args:
            data: what to_json made.
            shape: of what an older version wrote, which left it to the job.
        """
        try:
            match data:
                case {"genotype": genotype, **rest}:
                    return cls(Genotype.from_json(genotype), *_dress(rest, shape))
                case {"layers": layers, **rest}:
                    return cls(LayerNet.from_json(layers), *_dress(rest, shape))
                case {"residual": {"width": width, "blocks": blocks, **other}, **rest} if not other:
                    if type(width) is int and type(blocks) is int and width > 0 and blocks > 0:
                        return cls(ResidualNet(width, blocks), *_dress(rest, None))
        except (TypeError, ValidationError) as error:
            raise InvalidInput("candidate", data, f"{_FORM} ({error})") from error
        raise InvalidInput("candidate", data, _FORM)


_FORM = 'it has to be {"genotype" | "layers" | "residual": …, "shape": {…}, "recipe": {…}}'


def _dress(rest: dict[Any, Any], shape: Shape | None) -> tuple[Shape, tuple[tuple[str, Value], ...]]:
    recipe = rest.get("recipe", {})
    known = rest.keys() <= {"shape", "recipe"}
    if not known or not isinstance(recipe, dict) or not all(map(_is_value, recipe.values())):
        raise TypeError("other fields, or a recipe of other values than one")
    if "shape" in rest:
        shape = Shape.model_validate(rest["shape"])
    return shape or Shape(), tuple(sorted(recipe.items()))


def _is_value(value: object) -> bool:
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
