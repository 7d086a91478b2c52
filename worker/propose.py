"""What a reserved trial is to train: a start, a proposal of the strategy, or a random draw, within the job's limits."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nas.data.images import ImageSet
from nas.errors import Infeasible, SpaceExhausted, Stopped
from nas.model import build_network, cost_of
from nas.model.measure import latency_ms, peak_memory_mb
from nas.search.strategy import Observation
from nas.seeds import derive
from nas.space import Candidate, CellSpace, Genotype, JointSpace, LayerSpace
from nas.space.cost import cost as formula
from nas.space.limits import broken
from nas.store import trials
from nas.store.trials import Claim, Costs, Twin
from worker.context import Context

log = logging.getLogger(__name__)

PROPOSALS = 20
"""Twins that a strategy may propose for one trial before chance takes over."""

DRAWS = 1000
"""Twins that chance may draw before the space counts as exhausted."""

STUBBORN = 10
"""Infeasible trials in a row after which a trial draws until something keeps the limits."""


def propose(context: Context, claim: Claim, data: ImageSet) -> Candidate:
    """Chooses what a reserved trial trains, outside any transaction, and writes it.

    Raises:
        Infeasible: the candidate breaks a limit of the job; it is recorded as such, for the strategy to learn from.
        SpaceExhausted: nothing new was found.
        LeaseLost, Stopped: see nas.errors.
    """
    space = claim.spec.search_space()
    history, taken = context.history(claim), context.digests(claim)
    refused = ""
    for attempt in range(PROPOSALS + DRAWS):
        if context.should_stop():  # where latency is measured, a thousand draws take minutes
            raise Stopped
        candidate = _draw(context, claim, space, history, attempt)
        digest = space.digest(candidate)
        if digest in taken:
            continue
        costs, refused = _costs(context, claim, candidate, data)
        if refused and _stubborn(history):
            taken.add(digest)
            continue
        try:
            with context.store.write() as session:
                if refused:
                    trials.refuse(session, claim, candidate, digest, costs, refused)
                else:
                    trials.set_candidate(session, claim, candidate, digest, costs)
        except Twin:  # another worker has just written the same one
            history = context.history(claim)
            taken.add(digest)
            continue
        if refused:
            raise Infeasible(refused)
        return candidate
    raise SpaceExhausted(
        f"the search ended after {claim.number} trials: {DRAWS} random draws from the space found no further network"
        + (" that keeps the limits" if refused or any(observation.infeasible for observation in history) else "")
    )


def _draw(
    context: Context,
    claim: Claim,
    space: CellSpace | LayerSpace | JointSpace,
    history: Sequence[Observation[Candidate]],
    attempt: int,
) -> Candidate:
    seed = derive(claim.spec.seed, "propose", claim.number, attempt)
    starts = claim.spec.starts()
    if attempt == 0 and claim.number < len(starts):
        return _dressed(starts[claim.number], space, seed)
    if attempt >= PROPOSALS or _stubborn(history):
        return space.sample(np.random.default_rng(seed))
    if starts:  # a published cell may be of another form than the space's, which a strategy cannot learn from
        history = [observation for observation in history if space.contains(observation.candidate)]
    return context.strategy(claim.job_id, claim.spec.strategy).propose(space, history, seed)


def _dressed(genotype: Genotype, space: CellSpace | LayerSpace | JointSpace, seed: int) -> Candidate:
    """A start in the space's frame, with its edges in the space's order; what else is open is drawn."""
    ordered = Genotype(
        *(
            replace(cell, nodes=tuple(tuple(sorted(edges, key=lambda edge: edge.source)) for edges in cell.nodes))
            for cell in (genotype.normal, genotype.reduce)
        )
    )
    drawn = space.sample(np.random.default_rng(seed))
    return replace(drawn, architecture=ordered)


def _stubborn(history: Sequence[Observation[Any]]) -> bool:
    last = [observation.infeasible for observation in history if observation.finished][-STUBBORN:]
    return len(last) == STUBBORN and all(last)


def _costs(context: Context, claim: Claim, candidate: Candidate, data: ImageSet) -> tuple[Costs, str]:
    """The candidate's costs, and the limit that it breaks, if any; what is slow to measure only where it is limited."""
    limits = claim.spec.limits
    cost = formula(candidate, image=data.shape, outputs=data.outputs)
    if not cost.exact:  # a user's own operation has no formula
        cost = cost_of(candidate, image=data.shape, outputs=data.outputs)
    costs = Costs(cost.params, cost.macs)
    refused = broken(limits, cost)
    if refused or (limits.max_latency_ms is None and limits.max_memory_mb is None):
        return costs, refused or ""
    exported = replace(candidate, shape=candidate.shape.model_copy(update={"auxiliary": 0.0}))
    network = build_network(exported, in_channels=data.shape[0], outputs=data.outputs).to(context.device)
    how: dict[str, Any] = {"image": data.shape, "batch_size": limits.batch_size, "device": context.device}
    if limits.max_memory_mb is not None:
        costs = replace(costs, memory_mb=peak_memory_mb(network, **how))
    if limits.max_latency_ms is not None:
        costs = replace(costs, latency_ms=latency_ms(network, **how))
    return costs, broken(limits, cost, latency_ms=costs.latency_ms, memory_mb=costs.memory_mb) or ""
