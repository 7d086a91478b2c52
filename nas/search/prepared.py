"""The strategy of searches whose candidates a supernet has chosen: it adds none to them."""

from collections.abc import Sequence
from typing import Any

from nas.errors import SpaceExhausted
from nas.search.strategy import C, Observation
from nas.space import CellSpace, Space


class Prepared:
    """Ends the search after its starts, which the supernet has chosen (nas.search.proposing)."""

    def propose(self, space: Space[C], history: Sequence[Observation[C]], seed: int) -> C:
        """See Strategy. Always raises SpaceExhausted."""
        raise SpaceExhausted("the supernet's genotypes are all tried")


def refuses(space: Space[Any]) -> str | None:
    """Why no supernet can be trained on a space, and how to mend that; None if one can."""
    if isinstance(space, CellSpace):
        return None
    return (
        "a supernet shares its weights between the cells of one frame and recipe: "
        "search for cells, and give all other fields a value"
    )
