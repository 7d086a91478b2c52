"""Perturbation chooses what is needed, in a supernet that is built so that one operation an edge does everything."""

import numpy as np
import pytest
import torch
from torch import nn

from nas.data.tensors import Batchable, Normalise
from nas.errors import Stopped
from nas.oneshot.cell import MixedCell
from nas.oneshot.judging import Judge
from nas.oneshot.methods import Architecture, Draw, mixture
from nas.oneshot.mixing import edge_places
from nas.oneshot.perturbation import perturbed
from nas.oneshot.supernet import Mixed, Supernet
from nas.space import Candidate, CellSpace, Genotype, Shape
from nas.train.losses import Objective
from nas.train.recipe import Recipe
from tests.oneshot.runs import CPU

SPACE = CellSpace(("none", "conv_1x1", "conv_3x3"), 2, Shape(channels=4, cells=3, norm="batch_fixed"))
USELESS_SOURCE = 1
"""Edges from there into the last node have no operation that does anything."""


def constructed() -> tuple[Judge, Draw, dict[tuple[int, int], str]]:
    """A supernet whose weights are zero but for one operation an edge, and labels that are what it says itself."""
    torch.manual_seed(0)
    supernet = Supernet(SPACE.ops, SPACE.nodes, SPACE.shape, in_channels=1, outputs=10)
    rng = np.random.default_rng(1)
    useful = {place: str(rng.choice(["conv_1x1", "conv_3x3"])) for place in edge_places(SPACE.nodes)}
    for cell in supernet.cells:
        assert isinstance(cell, MixedCell)
        for name, operation in cell.ops.items():
            op, _, rest = name.partition("_from_")
            source, node = map(int, rest.split("_to_"))
            if op != useful[node, source] or (node, source) == (3, USELESS_SOURCE):
                for parameter in operation.parameters():
                    nn.init.zeros_(parameter)
    generator = torch.Generator().manual_seed(0)
    draw = Draw(Architecture(len(SPACE.ops), SPACE.nodes, generator), SPACE, 1.0, generator, CPU)
    images = torch.randint(0, 256, (200, 1, 8, 8), dtype=torch.uint8, generator=generator)
    normalise = Normalise.of(images)
    judge = Judge(
        supernet,
        Objective.of(Recipe(epochs=1), "single_label", torch.arange(10), 10),
        normalise,
        (images,),
        Batchable(images, torch.zeros(200, dtype=torch.int64)),
    )
    mixing = mixture(draw).detached()
    judge.refit(mixing)
    with torch.no_grad():
        labels = Mixed(supernet, mixing).eval()(normalise(images)).argmax(dim=1)
    judge = Judge(supernet, judge.objective, normalise, (images,), Batchable(images, labels))
    assert judge.refitted(mixing).score == 1.0
    return judge, draw, useful


def test_the_operations_that_do_everything_are_chosen_and_the_edge_that_does_nothing_is_not() -> None:
    judge, draw, useful = constructed()
    found = perturbed(judge, mixture(draw), SPACE, seed=0, should_stop=lambda: False)
    assert isinstance(found, Candidate)
    assert SPACE.contains(found)
    assert isinstance(found.architecture, Genotype)
    for cell in (found.architecture.normal, found.architecture.reduce):
        for node, edges in enumerate(cell.nodes, 2):
            assert [edge.op for edge in edges] == [useful[node, edge.source] for edge in edges]
        assert [edge.source for edge in cell.nodes[1]] == [0, 2]


def test_it_stops_when_it_is_asked_to() -> None:
    judge, draw, _ = constructed()
    with pytest.raises(Stopped):
        perturbed(judge, mixture(draw), SPACE, seed=0, should_stop=lambda: True)
