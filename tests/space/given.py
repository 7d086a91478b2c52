"""Random genotypes for hypothesis."""

from hypothesis import strategies as st

from nas.space import Cell, Edge, Genotype
from nas.space.genotype import INPUTS
from nas.space.operations import OPERATIONS


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
