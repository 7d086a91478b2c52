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
from nas.store import trials
from nas.store.claims import Claim
from nas.store.moves import locked
from nas.store.states import TrialState
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from nas.train.recipe import Recipe
from worker.context import Context
from worker.train import halved, report_epoch, resumed

log = logging.getLogger(__name__)


def search(context: Context, claim: Claim) -> None:
    """Trains the job's supernet, reports every epoch, and ends the trial with the candidates that it found.

    The artifact `candidates` is {"candidates": [{"candidate": …, "score": …}, …], "reason": … or null} as JSON, best
    first, all within the job's limits of size. The reason stands in the trial's `error` too. At the claim's deadline
    there is what there is.

    Raises:
        DatasetUnready, DiskFull, Diverged, LeaseLost, Stopped: see nas.errors.
    """
    data = context.data(claim.dataset_id)
    claim, resume = resumed(context, claim)
    spec = claim.spec
    space = spec.search_space()
    options = spec.strategy_options()
    # The catalog sees to both of them, for all strategies that prepare a supernet.
    assert isinstance(options, SupernetOptions)  # noqa: S101
    assert isinstance(space, CellSpace)  # noqa: S101

    def on_epoch(result: EpochResult, take: Callable[[], Checkpoint]) -> bool:
        report_epoch(context, claim, result, take())
        # An epoch that would not be through in time is not begun.
        ends = datetime.now(UTC) + timedelta(seconds=result.seconds)
        return claim.deadline is None or ends < claim.deadline

    found = search_one_shot(
        space,
        data,
        _recipe(claim, space, data),
        options,
        method=cast(MethodName, spec.strategy),
        seed=derive(spec.seed, "supernet"),
        device=context.device,
        on_epoch=on_epoch,
        should_stop=context.should_stop,
        allows=lambda candidate: _allows(spec, candidate, data),
        resume=resume,
    )
    log.info("job %s: the supernet found %d candidates", claim.job_id, len(found.candidates))
    entries = [{"candidate": candidate.to_json(), "score": score} for candidate, score in found.candidates]
    stored = context.artifacts.put(json.dumps({"candidates": entries, "reason": found.reason}).encode())
    with context.store.write() as session:
        locked(session, claim.job_id)  # before the trial: the order of locks
        trials.attach(session, claim, "candidates", stored)
        checkpoint = trials.finish(session, claim, TrialState.COMPLETE, error=found.reason)
    if checkpoint:
        context.artifacts.delete(checkpoint)


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
