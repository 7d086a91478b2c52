"""A picture of an architecture, whatever it is made of."""

from nas.result.cells import cells_svg
from nas.result.layers import layers_svg
from nas.space import Candidate, Genotype, LayerNet


def architecture_svg(candidate: Candidate, *, title: str) -> str:
    """Both cells, or the chain of layers, as one self-contained SVG. Raises TypeError for the residual network."""
    match candidate.architecture:
        case Genotype() as genotype:
            return cells_svg(genotype, title=title)
        case LayerNet() as layers:
            return layers_svg(layers, title=title)
    raise TypeError(f"a winner is made of cells or of layers, not {candidate.architecture}")
