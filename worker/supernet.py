"""The supernet of a one-shot job: a trial of a phase of its own, whose genotypes the search begins with."""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import cast

import numpy as np

from nas.data.images import ImageSet
from nas.model import cost_of
from nas.oneshot.plan import MethodName
from nas.oneshot.search import search as search_one_shot
from nas.search.options import SupernetOptions
from nas.seeds import derive
from nas.space import Candidate, CellSpace
from nas.space.cost import cost as formula
from nas.space.limits import broken
from nas.spec import JobSpec
from nas.store.claims import Claim
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from nas.train.recipe import Recipe
from worker.context import Context
from worker.orders import Machine, Order, Outcome
from worker.train import checkpoint_of, halved, resumed

log = logging.getLogger(__name__)


def prepare(context: Context, claim: Claim) -> Order | None:
    """The training of the job's supernet, from its checkpoint if there is one.

    Raises:
        DatasetUnready, DiskFull, LeaseLost: see nas.errors.
    """
    context.data(claim.dataset_id)  # one that cannot be read is told of before anything is sent anywhere
    claim, checkpoint = resumed(context, claim)
    return Order(claim, resume=checkpoint)


def carry_out(order: Order, machine: Machine) -> Outcome:
    """Trains the supernet, and stores the candidates that it found.

    The artifact `candidates` is {"candidates": [{"candidate": …, "score": …}, …], "reason": … or null} as JSON, best
    first, all within the job's limits of size. The reason stands in the trial's `error` too. At the claim's deadline
    there is what there is.

    Raises:
        Diverged, Stopped: see nas.errors.
    """
    claim, data = order.claim, machine.data
    spec = claim.spec
    space = spec.search_space()
    options = spec.strategy_options()
    # The catalog sees to both of them, for all strategies that prepare a supernet.
    assert isinstance(options, SupernetOptions)  # noqa: S101
    assert isinstance(space, CellSpace)  # noqa: S101

    def on_epoch(result: EpochResult, take: Callable[[], Checkpoint]) -> bool:
        # An epoch that would not be through in time is not begun.
        ends = datetime.now(UTC) + timedelta(seconds=result.seconds)
        return machine.on_epoch(result, take, None) and (claim.deadline is None or ends < claim.deadline)

    found = search_one_shot(
        space,
        data,
        _recipe(claim, space, data),
        options,
        method=cast(MethodName, spec.strategy),
        seed=derive(spec.seed, "supernet"),
        device=machine.device,
        on_epoch=on_epoch,
        should_stop=machine.should_stop,
        allows=lambda candidate: _allows(spec, candidate, data),
        resume=checkpoint_of(order, machine),
    )
    log.info("job %s: the supernet found %d candidates", claim.job_id, len(found.candidates))
    entries = [{"candidate": candidate.to_json(), "score": score} for candidate, score in found.candidates]
    stored = machine.artifacts.put(json.dumps({"candidates": entries, "reason": found.reason}).encode())
    return Outcome(candidates=stored, note=found.reason)


def _recipe(claim: Claim, space: CellSpace, data: ImageSet) -> Recipe:
    """The job's recipe, for the half of the images that trains the weights; it is the same for all candidates."""
    candidate = space.sample(np.random.default_rng(0))
    recipe = claim.spec.recipe_for(candidate, data.shape, epochs=claim.epochs, images=max(1, len(data.train) // 2))
    return halved(recipe, claim.halvings)


def _allows(spec: JobSpec, candidate: Candidate, data: ImageSet) -> bool:
    """Whether it keeps the limits that can be told without building it; the others are for its own trial."""
    cost = formula(candidate, image=data.shape, outputs=data.outputs)
    if not cost.exact:  # a user's own operation has no formula
        cost = cost_of(candidate, image=data.shape, outputs=data.outputs)
    return not broken(spec.limits, cost)
