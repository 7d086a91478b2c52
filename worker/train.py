"""A trial that trains a network: propose if it has no candidate yet, train, report every epoch, end."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from torch import Tensor

from nas.data.images import ImageSet
from nas.result.package import make_classifier, weights_to_bytes
from nas.search import pruning
from nas.seeds import derive
from nas.space import Candidate
from nas.store import files, history, trials
from nas.store.states import Phase, Reason, TrialState
from nas.store.trials import Claim
from nas.train.board import Board
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from nas.train.recipe import Recipe
from worker.context import Context
from worker.evaluate import evaluate
from worker.propose import propose

log = logging.getLogger(__name__)


def train(context: Context, claim: Claim) -> None:
    """Runs a search trial, or the retraining of a finalist, a control or the reference.

    Raises:
        Infeasible, SpaceExhausted, Diverged, LeaseLost, Stopped: see nas.errors.
    """
    data = context.data(claim.dataset_id)
    candidate = claim.candidate or propose(context, claim, data)
    recipe = recipe_of(claim, candidate, data)
    board = Board() if claim.spec.tensorboard else None
    ended: Reason | None = None

    def on_epoch(result: EpochResult, take: Callable[[], Checkpoint]) -> bool:
        nonlocal ended
        _report(context, claim, result, take(), board)
        ended = _why_stop(context, claim, result)
        return ended is None

    network = evaluate(
        candidate,
        data,
        recipe,
        seed=seed_of(claim),
        device=context.device,
        on_epoch=on_epoch,
        should_stop=context.should_stop,
        resume=_checkpoint(context, claim),
        source=_source(context, claim),
        board=board,
    )
    weights = None
    if claim.phase != Phase.SEARCH:
        weights = context.artifacts.put(weights_to_bytes(make_classifier(network.cpu(), data)))
    with context.store.write() as session:
        state = TrialState.PRUNED if ended else TrialState.COMPLETE
        # With early stopping the network is left with the weights of its best epoch, which is what it is judged by.
        best = state == TrialState.COMPLETE and recipe.early_stop is not None
        checkpoint = trials.finish(session, claim, state, reason=ended, weights=weights, best_epoch=best)
    if checkpoint:
        context.artifacts.delete(checkpoint)


def recipe_of(claim: Claim, candidate: Candidate, data: ImageSet) -> Recipe:
    """The job's recipe for the planned epochs, with what the candidate chose of it: retrainings keep the choice."""
    return claim.spec.recipe_for(candidate, data.shape, epochs=claim.epochs, images=len(data.train))


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


def _source(context: Context, claim: Claim) -> dict[str, Tensor] | None:
    """The network that a transfer starts from; the reference is a network of its own and starts from nothing."""
    transfer = claim.spec.transfer
    if transfer is None or transfer.weights is None or claim.phase == Phase.REFERENCE:
        return None
    return context.source(transfer.weights)


def _report(context: Context, claim: Claim, result: EpochResult, checkpoint: Checkpoint, board: Board | None) -> None:
    # File first, row second; two jobs may train the same network, and deleting one's file must not hit the other's.
    stored = context.artifacts.put(checkpoint.to_bytes(tag=f"{claim.trial_id}.{claim.attempt}"))
    events = context.artifacts.put(board.take()) if board is not None else None
    with context.store.write() as session:
        replaced = trials.report(session, claim, result, stored, context.settings.lease_s)
        if events is not None:
            trials.attach(session, claim, f"tensorboard-{result.epoch:04d}", events)
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
