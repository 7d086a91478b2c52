"""Choosing operations by what their absence costs (Wang et al. 2021, Rethinking Architecture Selection)."""

from collections.abc import Callable

import numpy as np

from nas.errors import Stopped
from nas.oneshot.discretise import assemble, choosable
from nas.oneshot.judging import Judge
from nas.oneshot.methods import KINDS
from nas.oneshot.mixing import Mixing, edge_places
from nas.space import Candidate, CellSpace
from nas.space.genotype import INPUTS

REFIT = 1
"""Batches that the norms are fitted to again after a decision, which the paper spends epochs of training on."""


def perturbed(
    judge: Judge, mixing: Mixing, space: CellSpace, *, seed: int, should_stop: Callable[[], bool]
) -> Candidate:
    """The candidate of the operations whose absence costs most, by section 4.1 and algorithm 1 of the paper.

    Edge by edge, in a random order, the operation stays whose removal lowers the score most, then node by node the two
    edges whose removal does. `none` is removed without asking. There are no epochs of tuning between the decisions.

    Args:
        judge: of the supernet, on a part of the validation split.
        mixing: of all operations.
        space: of the candidate.
        seed: of the order.
        should_stop: asked before every judgement.

    Raises:
        Stopped: `should_stop` said so.
    """
    rng = np.random.default_rng(seed)
    places, ops = edge_places(space.nodes), choosable(space)

    def cost(changed: Mixing) -> tuple[float, float]:
        if should_stop():
            raise Stopped
        score, negative_loss = judge.judge(changed).order
        return -score, -negative_loss

    mixing = mixing.detached()
    judge.refit(mixing)
    edges = [(kind, edge) for kind in KINDS for edge in range(len(places))]
    chosen: dict[tuple[str, int], str] = {}
    for index in rng.permutation(len(edges)):
        kind, edge = edges[index]
        mix = mixing.of(kind)
        best = ops[0]
        if len(ops) > 1:
            best = max(ops, key=lambda op: cost(mixing.with_(kind, mix.without(edge, op))))
        chosen[kind, edge] = space.ops[best]
        mixing = mixing.with_(kind, mix.only(edge, best))
        judge.refit(mixing, REFIT)
    cells: dict[str, dict[int, dict[int, str]]] = {kind: {} for kind in KINDS}
    nodes = [(kind, node) for kind in KINDS for node in range(INPUTS, INPUTS + space.nodes)]
    for index in rng.permutation(len(nodes)):
        kind, node = nodes[index]
        into = [edge for edge, place in enumerate(places) if place[0] == node]
        mix = mixing.of(kind)
        kept = into
        if len(into) > 2:
            costs = {edge: cost(mixing.with_(kind, mix.without_edge(edge))) for edge in into}
            kept = sorted(into, key=lambda edge: costs[edge], reverse=True)[:2]
        for edge in set(into) - set(kept):
            mix = mix.without_edge(edge)
        mixing = mixing.with_(kind, mix)
        judge.refit(mixing, REFIT)
        cells[kind][node] = {places[edge][1]: chosen[kind, edge] for edge in kept}
    return assemble(space, cells)
