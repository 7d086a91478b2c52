"""What one trial trains: a pair of cells, or the hand-designed network that every search is measured against."""

from dataclasses import dataclass
from typing import Any, Self

from nas.errors import InvalidInput
from nas.space.genotype import Genotype


@dataclass(frozen=True, slots=True)
class ResidualNet:
    """A plain residual network for small images (He et al. 2016, section 4.2).

    Three stages of `blocks` basic blocks, `width`, 2 × `width` and 4 × `width` channels wide.
    """

    width: int
    blocks: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """An architecture as it stands in a trial's row."""

    architecture: Genotype | ResidualNet

    def to_json(self) -> dict[str, Any]:
        """As `{"genotype": …}` or `{"residual": {"width", "blocks"}}`."""
        match self.architecture:
            case Genotype() as genotype:
                return {"genotype": genotype.to_json()}
            case ResidualNet(width, blocks):
                return {"residual": {"width": width, "blocks": blocks}}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """The inverse of to_json. Raises InvalidInput for anything else."""
        match data:
            case {"genotype": genotype, **rest} if not rest:
                return cls(Genotype.from_json(genotype))
            case {"residual": {"width": width, "blocks": blocks, **other}, **rest} if not rest and not other:
                if type(width) is int and type(blocks) is int and width > 0 and blocks > 0:
                    return cls(ResidualNet(width, blocks))
        raise InvalidInput("candidate", data, '{"genotype": …} or {"residual": {"width", "blocks"}}')
