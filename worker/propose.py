"""What a reserved trial is to train: a start, a proposal of the strategy, or a random draw, within the job's limits."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice

from nas.data.images import ImageSet
from nas.errors import Infeasible, SpaceExhausted, Stopped
from nas.model import cost_of
from nas.search.proposing import DRAWS, proposals, stubborn
from nas.search.screening import best_of
from nas.search.strategy import Observation
from nas.space import Candidate, CellSpace, JointSpace, LayerSpace
from nas.space.cost import cost as formula
from nas.space.limits import broken
from nas.store import trials
from nas.store.claims import Claim
from nas.store.trials import Costs, Twin
from worker.context import Context
from worker.measuring import Wanted
from worker.screening import scorer

log = logging.getLogger(__name__)


def propose(context: Context, claim: Claim, data: ImageSet) -> Candidate:
    """Chooses what a reserved trial trains, outside any transaction, and writes it.

    Raises:
        Infeasible: the candidate breaks a limit of the job; it is recorded as such, for the strategy to learn from.
        SpaceExhausted: nothing new was found.
        LeaseLost, Stopped: see nas.errors.
    """
    space = claim.spec.search_space()
    while True:
        history = context.history(claim.job_id, claim.spec)
        new = _unseen(context, claim, space, history)
        found = next(new, None)
        if found is not None and claim.spec.screening > 1 and claim.index >= len(context.starts(claim)):
            found = best_of(found, islice(new, claim.spec.screening - 1), scorer(claim.spec, data))
        for candidate in chain([found] if found is not None else [], new):
            costs, refused = _costs(context, claim, candidate, data)
            if refused and stubborn(history):
                continue  # chance draws on until something keeps the limits
            try:
                with context.store.write() as session:
                    digest = space.digest(candidate)
                    if refused:
                        trials.refuse(session, claim, candidate, digest, costs, refused)
                    else:
                        trials.set_candidate(session, claim, candidate, digest, costs)
            except Twin:  # another worker has just written the same one
                break
            if refused:
                raise Infeasible(refused)
            return candidate
        else:
            limited = stubborn(history) or any(observation.infeasible for observation in history)
            raise SpaceExhausted(
                f"the search ended after {claim.index} trials: {DRAWS} random draws from the space found no further "
                f"network{' that keeps the limits' if limited else ''}"
            )


def _unseen(
    context: Context,
    claim: Claim,
    space: CellSpace | LayerSpace | JointSpace,
    history: Sequence[Observation[Candidate]],
) -> Iterator[Candidate]:
    """Proposals that the job has no trial of, each once."""
    taken = context.digests(claim)
    strategy = context.search(claim.job_id, claim.spec).strategy
    starts = context.starts(claim)
    spec = claim.spec
    for candidate in proposals(
        strategy, space, history, number=claim.index, seed=spec.seed, starts=starts, asked=spec.screening
    ):
        if context.should_stop():  # where latency is measured, a thousand draws take minutes
            raise Stopped
        digest = space.digest(candidate)
        if digest not in taken:
            taken.add(digest)
            yield candidate


def _costs(context: Context, claim: Claim, candidate: Candidate, data: ImageSet) -> tuple[Costs, str]:
    """The candidate's costs, and the limit that it breaks, if any; what is slow to measure only on request."""
    limits = claim.spec.limits
    wanted = {objective.metric for objective in claim.spec.objectives}
    slow_ms = limits.max_latency_ms is not None or "latency_ms" in wanted
    peak_mb = limits.max_memory_mb is not None or "memory_mb" in wanted
    cost = formula(candidate, image=data.shape, outputs=data.outputs)
    if not cost.exact:  # a user's own operation has no formula
        cost = cost_of(candidate, image=data.shape, outputs=data.outputs)
    costs = Costs(cost.params, cost.macs)
    refused = broken(limits, cost)
    if refused or not (slow_ms or peak_mb):
        return costs, refused or ""
    found = context.measure(Wanted(candidate, data.shape, data.outputs, limits.batch_size, slow_ms, peak_mb))
    costs = replace(costs, memory_mb=found.memory_mb, latency_ms=found.latency_ms)
    return costs, broken(limits, cost, latency_ms=costs.latency_ms, memory_mb=costs.memory_mb) or ""
