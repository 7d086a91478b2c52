"""A trial that trains a network: chosen if it has no candidate yet, trained, written down every epoch and at its end.

See worker.orders for the three parts.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy.orm import Session
from torch import Tensor

from nas.data.images import ImageSet
from nas.result.package import make_classifier, weights_to_bytes
from nas.search.pruning import make_pruner
from nas.seeds import derive
from nas.space import Candidate
from nas.space.canonical import digest
from nas.store import files, setbacks, trials
from nas.store.artifacts import Stored
from nas.store.claims import Claim
from nas.store.moves import locked
from nas.store.states import Phase, Reason, TrialState
from nas.train.board import Board
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from nas.train.parallel import devices_for
from nas.train.recipe import Recipe
from worker.cache import UNUSABLE, key_of, look_up, replay
from worker.context import Context
from worker.course import Course
from worker.evaluate import evaluate
from worker.orders import TOGETHER, Machine, Order, Outcome, tag_of
from worker.propose import propose
from worker.telling import tell_end
from worker.writer import Done

log = logging.getLogger(__name__)

SMALLEST_HALVED: Final = 4
"""A batch that is halved has so many images at least: batch norms cannot do with one."""


def prepare(context: Context, claim: Claim) -> Order | None:
    """Chooses what a search trial trains; takes over what is trained already, of a retraining too.

    Returns:
        None if the trial has come to its end with that, or waits at a rung.

    Raises:
        DatasetUnready, DiskFull, Infeasible, LeaseLost, SpaceExhausted, Stopped: see nas.errors.
    """
    data = context.data(claim.dataset_id)
    with context.stages.timed("propose"):
        candidate = claim.candidate or propose(context, claim, data)
    claim = replace(claim, candidate=candidate)
    recipe = recipe_of(claim, candidate, data)
    course = Course(context, claim)
    ended = Outcome(best_epoch=recipe.early_stop is not None)
    if not course.goes_on(claim.epoch):
        conclude(context, claim, ended, course)
        return None
    claim = replace(claim, stage=course.stage)
    key = key_of(context, claim, candidate, recipe, seed_of(claim, candidate))
    # What Ray compares has to be trained: its schedulers know only what they see.
    compared_by_ray = claim.phase == Phase.SEARCH and claim.spec.scheduler is not None
    source = None if compared_by_ray else look_up(context, claim, key)
    left = replay(context, claim, source, course) if source is not None else claim
    if left is not None:
        left, checkpoint = resumed(context, left)
        return Order(left, resume=checkpoint)
    there = source is not None and not course.paused and not course.ended  # or it was compared, or late, on the way
    if source is not None and there and source.weights is not None:
        # Stored once more, so that they stay if the first trial is deleted at this moment.
        return Order(claim, weights=context.artifacts.put(source.weights))
    if source is not None and there and source.found.diverged is not None:
        with context.store.write() as session:
            spent = context.spent.so_far()
            replaced = setbacks.record(session, claim, Reason.DIVERGED, source.found.diverged, spent=spent)
        _delete(context, replaced)
    else:
        conclude(context, claim, ended, course)
    return None


def carry_out(order: Order, machine: Machine) -> Outcome:
    """Trains a candidate; the weights of a retraining are stored.

    Raises:
        Diverged, Stopped: see nas.errors.
    """
    claim, data = order.claim, machine.data
    if claim.candidate is None:
        raise ValueError(f"trial {claim.number} has no candidate")
    recipe = recipe_of(claim, claim.candidate, data)
    best_epoch = recipe.early_stop is not None
    if order.weights is not None:
        return Outcome(weights=order.weights, best_epoch=best_epoch)
    board = Board() if claim.spec.tensorboard else None

    def on_epoch(result: EpochResult, take: Callable[[], Checkpoint]) -> bool:
        return machine.on_epoch(result, take, board.take() if board is not None else None)

    network = evaluate(
        claim.candidate,
        data,
        recipe,
        seed=seed_of(claim, claim.candidate),
        device=machine.device,
        on_epoch=on_epoch,
        should_stop=machine.should_stop,
        resume=checkpoint_of(order, machine),
        source=_source(claim, machine),
        board=board,
        devices=devices_for(machine.device, claim.spec.final.devices) if claim.phase in TOGETHER else (),
    )
    if claim.phase == Phase.SEARCH:
        return Outcome(best_epoch=best_epoch)
    weights = machine.artifacts.put(weights_to_bytes(make_classifier(network.cpu(), data)))
    return Outcome(weights=weights, best_epoch=best_epoch)


def conclude(context: Context, claim: Claim, outcome: Outcome, course: Course) -> None:
    """Writes how a training ended, or that it waits at a rung. Raises LeaseLost."""
    if course.paused:
        tell_end(claim, course)
        context.write_log()  # once it waits, any worker may take it
        with context.store.write() as session:
            trials.pause(session, claim)
        return
    last = course.last
    log = context.artifacts.put(last.events) if last is not None and last.events is not None else None
    with context.store.write() as session:
        if last is not None:  # in one transaction: nothing is left to go on from after it
            _report(context, session, claim, last, None, log)
        if outcome.package is not None:
            locked(session, claim.job_id)  # before the trial: the order of locks
            trials.attach(session, claim, "package", outcome.package)
        replaced = trials.finish(
            session,
            claim,
            TrialState.PRUNED if course.ended else TrialState.COMPLETE,
            reason=course.ended,
            weights=outcome.weights,
            # With early stopping the network is left with the weights of its best epoch: what it is judged by.
            best_epoch=outcome.best_epoch and not course.ended,
            peak_bytes=outcome.peak_bytes,
            spent=context.spent.so_far(),
        )
    _delete(context, replaced)
    tell_end(claim, course)


def _delete(context: Context, checkpoint: str | None) -> None:
    if checkpoint:
        context.artifacts.delete(checkpoint)


def recipe_of(claim: Claim, candidate: Candidate, data: ImageSet) -> Recipe:
    """The job's recipe for the planned epochs, with what the candidate chose of it: retrainings keep the choice."""
    recipe = halved(
        claim.spec.recipe_for(candidate, data.shape, epochs=claim.epochs, images=len(data.train)), claim.halvings
    )
    pruner = make_pruner(claim.spec.pruning)
    if claim.phase != Phase.SEARCH or not pruner.annealed:
        return recipe
    return recipe.model_copy(update={"rungs": pruner.stages(claim.index, claim.epochs)[:-1]})


def halved(recipe: Recipe, times: int) -> Recipe:
    """The recipe with smaller batches and as many more of them a step: it learns the same in less memory."""
    for _ in range(times):
        if recipe.batch_size < SMALLEST_HALVED:
            break
        smaller = {"batch_size": recipe.batch_size // 2, "accumulate": 2 * recipe.accumulate}
        recipe = recipe.model_copy(update=smaller)
    return recipe


def seed_of(claim: Claim, candidate: Candidate) -> int:
    """Search trials differ in their seeds by what they train; finalists, controls, reference share the job's list.

    So the same candidate is trained alike in two jobs of one seed, whichever worker came to it first.
    """
    if claim.phase == Phase.SEARCH:
        return derive(claim.spec.seed, "train", digest(candidate))
    return derive(claim.spec.seed, "retrain", claim.seed_index)


def resumed(context: Context, claim: Claim) -> tuple[Claim, str | None]:
    """The sha256 of the checkpoint that an earlier attempt or stage left; None if a trial begins, or has to anew.

    Epochs without a checkpoint to go on from are forgotten: they were taken over, or the file is damaged or gone.

    Raises:
        ArtifactsAway, LeaseLost: see nas.errors.
    """
    if not claim.epoch:
        return claim, None
    with context.store.read() as session:
        sha256 = files.artifact(session, claim.trial_id, "checkpoint")
    why = "nothing is left of them"
    if sha256 is not None:
        try:
            checkpoint = Checkpoint.from_bytes(context.artifacts.get(sha256))
        except UNUSABLE as error:
            why = str(error)
        else:
            if checkpoint.epoch == claim.epoch:
                log.info("job %s trial %d goes on after epoch %d", claim.job_id, claim.number, claim.epoch)
                return claim, sha256
            why = f"its checkpoint is of epoch {checkpoint.epoch}"
    log.warning("job %s trial %d trains its %d epochs again: %s", claim.job_id, claim.number, claim.epoch, why)
    with context.store.write() as session:
        return setbacks.restart(session, claim), None


def checkpoint_of(order: Order, machine: Machine) -> Checkpoint | None:
    """What the training goes on from, if it does."""
    return None if order.resume is None else Checkpoint.from_bytes(machine.artifacts.get(order.resume))


def _source(claim: Claim, machine: Machine) -> Mapping[str, Tensor] | None:
    """The network that a transfer starts from; the reference is a network of its own and starts from nothing."""
    transfer = claim.spec.transfer
    if transfer is None or transfer.weights is None or claim.phase == Phase.REFERENCE:
        return None
    return machine.source(transfer.weights)


def write_epochs(context: Context, claim: Claim, done: Sequence[Done]) -> None:
    """Records epochs, their TensorBoard logs, and the checkpoint that follows the last of them. Raises LeaseLost."""
    checkpoint = done[-1].checkpoint  # files first, rows second
    stored = context.artifacts.put(checkpoint.to_bytes(tag=tag_of(claim))) if checkpoint is not None else None
    logs = [context.artifacts.put(one.events) if one.events is not None else None for one in done]
    with context.store.write() as session:
        replaced = [
            _report(context, session, claim, one, stored if one is done[-1] else None, log)
            for one, log in zip(done, logs, strict=True)
        ]
    for sha256 in replaced:
        _delete(context, sha256)


def _report(
    context: Context, session: Session, claim: Claim, done: Done, checkpoint: Stored | None, log: Stored | None
) -> str | None:
    """The sha256 of the checkpoint that is replaced. Raises LeaseLost."""
    replaced = trials.report(session, claim, done.result, checkpoint, context.settings.lease_s)
    if log is not None:
        trials.attach(session, claim, f"tensorboard-{done.result.epoch:04d}", log)
    return replaced
