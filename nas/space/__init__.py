"""The search space: values only, no torch."""

from nas.space.candidate import Candidate, ResidualNet
from nas.space.canonical import digest
from nas.space.categorical import CategoricalSpace, Choices
from nas.space.distributions import Categorical, Distribution, Integer, Real, Value
from nas.space.genotype import Cell, Edge, Genotype
from nas.space.joint import FixedSpace, JointSpace
from nas.space.known import known
from nas.space.layer_space import LayerSpace
from nas.space.layers import Layer, LayerNet
from nas.space.layout import is_reduction, reduction_cells, smallest_input
from nas.space.parameters import Space
from nas.space.shape import Shape
from nas.space.space import CellSpace
from nas.space.text import from_text, to_text

__all__ = [
    "Candidate",
    "Categorical",
    "CategoricalSpace",
    "Cell",
    "CellSpace",
    "Choices",
    "Distribution",
    "Edge",
    "FixedSpace",
    "Genotype",
    "Integer",
    "JointSpace",
    "Layer",
    "LayerNet",
    "LayerSpace",
    "Real",
    "ResidualNet",
    "Shape",
    "Space",
    "Value",
    "digest",
    "from_text",
    "is_reduction",
    "known",
    "reduction_cells",
    "smallest_input",
    "to_text",
]
