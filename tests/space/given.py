"""Random genotypes, networks and shapes for hypothesis."""

from typing import get_args

from hypothesis import strategies as st

from nas.space import Cell, Edge, Genotype, Layer, LayerNet, Shape
from nas.space.genotype import INPUTS
from nas.space.layers import KERNELS, LAYER_KINDS, MAX_WIDTH
from nas.space.operations import OPERATIONS
from nas.space.shape import Activation, Downsample, Merge, Norm, Skeleton, Stem


@st.composite
def cells(draw: st.DrawFn, *, first_output: int = 0, edges: tuple[int, int] = (1, 3)) -> Cell:
    """Cells of 1 to 5 nodes with that many edges a node, and any output from node `first_output` on."""
    nodes = []
    for index in range(INPUTS, INPUTS + draw(st.integers(1, 5))):
        edge = st.builds(Edge, st.sampled_from(sorted(OPERATIONS)), st.integers(0, index - 1))
        nodes.append(tuple(draw(st.lists(edge, min_size=edges[0], max_size=edges[1]))))
    outputs = st.integers(first_output, INPUTS + len(nodes) - 1)
    return Cell(tuple(nodes), tuple(draw(st.lists(outputs, min_size=1, max_size=6))))


def genotypes(*, edges: tuple[int, int] = (1, 3)) -> st.SearchStrategy[Genotype]:
    """Genotypes whose reduction cell leaves its inputs out of its output, as it has to."""
    return st.builds(Genotype, cells(edges=edges), cells(first_output=INPUTS, edges=edges))


@st.composite
def layer_nets(draw: st.DrawFn, *, most: int = 6) -> LayerNet:
    """Networks of 1 to `most` layers."""
    kinds, widths, kernels = st.sampled_from(list(LAYER_KINDS)), st.integers(1, MAX_WIDTH), st.sampled_from(KERNELS)
    first = draw(st.builds(Layer, kinds, widths, kernels))
    return LayerNet(
        (first, *draw(st.lists(st.builds(Layer, kinds, widths, kernels, st.booleans()), max_size=most - 1)))
    )


def shapes() -> st.SearchStrategy[Shape]:
    """Frames of all kinds."""
    return st.builds(
        Shape,
        channels=st.integers(1, 256),
        cells=st.integers(1, 40),
        tail=st.integers(-40, 40),
        skeleton=st.sampled_from(get_args(Skeleton)),
        stem=st.sampled_from(get_args(Stem)),
        merge=st.sampled_from(get_args(Merge)),
        activation=st.sampled_from(get_args(Activation)),
        norm=st.sampled_from(get_args(Norm)),
        downsample=st.sampled_from(get_args(Downsample)),
        dropout=st.floats(0, 0.9),
        drop_path=st.floats(0, 0.9),
        auxiliary=st.floats(0, 1),
    )
