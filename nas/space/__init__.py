"""The search space: values only, no torch."""

from nas.space.candidate import Candidate, ResidualNet
from nas.space.genotype import Cell, Edge, Genotype
from nas.space.known import known
from nas.space.space import CellSpace, Space, reduction_cells, smallest_input
from nas.space.text import from_text, to_text

__all__ = [
    "Candidate",
    "Cell",
    "CellSpace",
    "Edge",
    "Genotype",
    "ResidualNet",
    "Space",
    "from_text",
    "known",
    "reduction_cells",
    "smallest_input",
    "to_text",
]
