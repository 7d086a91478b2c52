"""What an epoch takes: as measured on this service, scaled by what a network computes, or by a rule of thumb."""

from collections.abc import Sequence
from statistics import median
from typing import Final

from nas.data.facts import Facts
from nas.space import Candidate, Genotype, LayerNet, ResidualNet
from nas.space.cost import cost
from nas.spec import JobSpec
from nas.store.paces import Pace

STEP_S: Final = 0.0004
"""Of a step of training: for each edge or layer of the network, however little it computes."""

CELL_MACS_A_SECOND: Final = 0.7e9
"""For each channel of the first cell: what is narrow takes its time for memory, not for arithmetic."""

LAYER_MACS_A_SECOND: Final = 100e9
"""Of chains of layers, most of whose arithmetic is in few wide convolutions."""

GPU: Final = 20.0
"""How many times as fast a GPU is taken to be, for want of a measurement."""


def factor(paces: Sequence[Pace], *, gpu: bool) -> float:
    """How many times as long as by the rule an epoch takes here: the median of what was measured."""
    if not paces:
        return 1 / GPU if gpu else 1.0
    return median(pace.epoch_s / rule_s(pace.candidate, pace.spec, pace.facts) for pace in paces)


def rule_s(candidate: Candidate, spec: JobSpec, facts: Facts) -> float:
    """What an epoch of a network takes by the rule of thumb, on one core of a laptop.

    Found with networks of cells and of layers for 8 to 64 px; most are within a factor of two of it. Forward and back
    is thrice as much work as forward.
    """
    recipe = spec.recipe_for(candidate, facts.shape, epochs=1, images=facts.train)
    steps = max(1, facts.train // recipe.batch_size)
    macs = cost(candidate, image=facts.shape, outputs=facts.outputs).macs
    work = macs * (3 * facts.train + facts.validation)
    match candidate.architecture:
        case Genotype(normal=cell):
            edges = sum(map(len, cell.nodes)) * max(1, candidate.shape.cells + candidate.shape.tail)
            return steps * edges * STEP_S + work / (CELL_MACS_A_SECOND * candidate.shape.channels)
        case LayerNet(layers=layers):
            return steps * len(layers) * STEP_S + work / LAYER_MACS_A_SECOND
        case ResidualNet(blocks=blocks):
            return steps * 6 * blocks * STEP_S + work / LAYER_MACS_A_SECOND
