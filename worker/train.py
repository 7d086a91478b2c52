"""A trial that trains a network: propose if it has no candidate yet, train, report every epoch, end."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import torch

from nas.data.images import ImageSet
from nas.data.tensors import Batchable, Normalise
from nas.errors import SpaceExhausted
from nas.model import cost_of
from nas.result.package import Classifier, weights_to_bytes
from nas.search import pruning
from nas.seeds import derive
from nas.space import Candidate
from nas.store import files, history, trials
from nas.store.states import Phase, Reason, TrialState
from nas.store.trials import Claim, Twin
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from nas.train.recipe import Recipe
from worker.context import Context
from worker.evaluate import evaluate

log = logging.getLogger(__name__)

PROPOSALS = 20
"""Twins that a strategy may propose for one trial before chance takes over."""

DRAWS = 1000
"""Twins that chance may draw before the space counts as exhausted."""


def train(context: Context, claim: Claim) -> None:
    """Runs a search trial, or the retraining of a finalist, a control or the reference.

    Raises:
        SpaceExhausted, Diverged, LeaseLost, Stopped: see nas.errors.
    """
    data = context.data(claim.dataset_id)
    candidate = claim.candidate or propose(context, claim, data)
    ended: Reason | None = None

    def on_epoch(result: EpochResult, take: Callable[[], Checkpoint]) -> bool:
        nonlocal ended
        _report(context, claim, result, take())
        ended = _why_stop(context, claim, result)
        return ended is None

    network = evaluate(
        candidate,
        data,
        recipe_of(claim, data),
        channels=claim.spec.space.channels,
        cells=claim.spec.space.cells,
        seed=seed_of(claim),
        device=context.device,
        on_epoch=on_epoch,
        should_stop=context.should_stop,
        resume=_checkpoint(context, claim),
    )
    weights = None
    if claim.phase != Phase.SEARCH:
        normalise = Normalise.of(Batchable.of(data, "train", torch.device("cpu")).images)
        weights = context.artifacts.put(weights_to_bytes(Classifier(normalise, network.cpu())))
    with context.store.write() as session:
        state = TrialState.PRUNED if ended else TrialState.COMPLETE
        checkpoint = trials.finish(session, claim, state, reason=ended, weights=weights)
    if checkpoint:
        context.artifacts.delete(checkpoint)


def propose(context: Context, claim: Claim, data: ImageSet) -> Candidate:
    """Chooses what a reserved trial trains, outside any transaction. Raises SpaceExhausted, LeaseLost."""
    space = claim.spec.space.space()
    history = context.history(claim.job_id)
    taken = {space.digest(observation.candidate) for observation in history}
    for attempt in range(PROPOSALS + DRAWS):
        seed = derive(claim.spec.seed, "propose", claim.number, attempt)
        if attempt < PROPOSALS:
            candidate = context.strategy(claim.job_id, claim.spec.strategy).propose(space, history, seed)
        else:
            candidate = space.sample(np.random.default_rng(seed))
        digest = space.digest(candidate)
        if digest in taken:
            continue
        cost = cost_of(
            candidate, channels=space.channels, cells=space.cells, image=data.shape, classes=len(data.classes)
        )
        try:
            with context.store.write() as session:
                trials.set_candidate(session, claim, candidate, digest, cost.params, cost.macs)
        except Twin:  # another worker has just written the same one
            history = context.history(claim.job_id)
            taken.add(digest)
            continue
        return candidate
    raise SpaceExhausted(
        f"the search ended after {claim.number} trials: {DRAWS} random draws from the space found no further network"
    )


def recipe_of(claim: Claim, data: ImageSet) -> Recipe:
    """The recipe is a function of the data and the planned epochs, the same for all networks of a phase."""
    return Recipe.for_images(min(data.shape[1:]), epochs=claim.epochs)


def seed_of(claim: Claim) -> int:
    """Search trials differ in their seeds; finalists, controls and reference share the job's list of them."""
    if claim.phase == Phase.SEARCH:
        return derive(claim.spec.seed, "train", claim.number)
    return derive(claim.spec.seed, "retrain", claim.seed_index)


def _checkpoint(context: Context, claim: Claim) -> Checkpoint | None:
    if not claim.epoch:
        return None
    with context.store.read() as session:
        sha256 = files.artifact(session, claim.trial_id, "checkpoint")
    log.info("job %s trial %d goes on after epoch %d", claim.job_id, claim.number, claim.epoch)
    return Checkpoint.from_bytes(context.artifacts.get(sha256)) if sha256 else None


def _report(context: Context, claim: Claim, result: EpochResult, checkpoint: Checkpoint) -> None:
    # File first, row second; two jobs may train the same network, and deleting one's file must not hit the other's.
    stored = context.artifacts.put(checkpoint.to_bytes(tag=f"{claim.trial_id}.{claim.attempt}"))
    with context.store.write() as session:
        replaced = trials.report(session, claim, result, stored, context.settings.lease_s)
    if replaced:
        context.artifacts.delete(replaced)


def _why_stop(context: Context, claim: Claim, result: EpochResult) -> Reason | None:
    """Why a search trial ends after this epoch; None if it goes on, or is at its end anyway."""
    if claim.phase != Phase.SEARCH or result.epoch >= claim.epochs:
        return None
    if claim.deadline is not None and datetime.now(UTC) >= claim.deadline:
        return Reason.BUDGET
    if result.epoch in pruning.rungs(claim.epochs):
        with context.store.read() as session:
            others = history.rung(session, claim.job_id, result.epoch)
        if not pruning.promotes(result.validation_accuracy, others):
            return Reason.RUNG
    return None
