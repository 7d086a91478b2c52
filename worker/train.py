"""A trial that trains a network: propose if it has no candidate yet, train, report every epoch, end."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from torch import Tensor

from nas.data.images import ImageSet
from nas.errors import Stopped
from nas.result.package import make_classifier, weights_to_bytes
from nas.search.pruning import make_pruner
from nas.seeds import derive
from nas.space import Candidate
from nas.space.canonical import digest
from nas.store import files, setbacks, trials
from nas.store.claims import Claim
from nas.store.moves import locked
from nas.store.states import Phase, Reason, TrialState
from nas.train.board import Board
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from nas.train.recipe import Recipe
from worker.cache import UNUSABLE, Source, key_of, look_up, replay
from worker.context import Context
from worker.course import Course
from worker.evaluate import evaluate
from worker.propose import propose

log = logging.getLogger(__name__)

SMALLEST_HALVED: Final = 4
"""A batch that is halved has so many images at least: batch norms cannot do with one."""


def train(context: Context, claim: Claim, package: Callable[[bytes], bytes] | None = None) -> None:
    """Runs a search trial, or the retraining of a finalist, a control or the reference.

    Args:
        context, claim: see worker.step.
        package: makes a package of the weights of a retraining, to be kept with it.

    Raises:
        DatasetUnready, DiskFull, Diverged, Infeasible, LeaseLost, SpaceExhausted, Stopped: see nas.errors.
    """
    data = context.data(claim.dataset_id)
    with context.stages.timed("propose"):
        candidate = claim.candidate or propose(context, claim, data)
    recipe = recipe_of(claim, candidate, data)
    course = Course(context, claim)
    trained = Trained(course)
    if course.goes_on(claim.epoch):
        begun = replace(claim, stage=course.stage)
        source = look_up(context, begun, key_of(context, claim, candidate, recipe, seed_of(claim, candidate)))
        left = replay(context, begun, source, course) if source is not None else begun
        trained = _fit(context, left, candidate, data, recipe) if left is not None else _taken(course, source)
    if trained.course.paused:
        with context.store.write() as session:
            trials.pause(session, claim)
        return
    # With early stopping the network is left with the weights of its best epoch, which is what it is judged by.
    _end(context, claim, trained, package, best_epoch=recipe.early_stop is not None)


@dataclass(frozen=True, eq=False, slots=True)
class Trained:
    """How far a training has come.

    Attributes:
        course: what became of the trial.
        content: the weights of a retraining.
        diverged: why it ended, if the training that it was taken over from diverged.
    """

    course: Course
    content: bytes | None = None
    diverged: str | None = None


def _taken(course: Course, source: Source | None) -> Trained:
    """What a trial has that was taken over; what was compared or ran out of time on the way is not at its end."""
    if source is None or course.paused or course.ended:
        return Trained(course)
    return Trained(course, source.weights, source.found.diverged)


def _end(
    context: Context, claim: Claim, trained: Trained, package: Callable[[bytes], bytes] | None, *, best_epoch: bool
) -> None:
    """Files first, then the trial's end with their rows; weights that were taken over are stored once more.

    So they stay if the first trial is deleted at this moment.
    """
    content, ended = trained.content, trained.course.ended
    weights = context.artifacts.put(content) if content is not None else None
    packed = context.artifacts.put(package(content)) if content is not None and package is not None else None
    with context.store.write() as session:
        if packed is not None:
            locked(session, claim.job_id)  # before the trial: the order of locks
            trials.attach(session, claim, "package", packed)
        if trained.diverged is not None:
            checkpoint = setbacks.record(session, claim, Reason.DIVERGED, trained.diverged)
        else:
            state = TrialState.PRUNED if ended else TrialState.COMPLETE
            best = best_epoch and not ended
            checkpoint = trials.finish(session, claim, state, reason=ended, weights=weights, best_epoch=best)
    if checkpoint:
        context.artifacts.delete(checkpoint)


def _fit(context: Context, claim: Claim, candidate: Candidate, data: ImageSet, recipe: Recipe) -> Trained:
    """The training itself. If the time is over in the middle of an epoch, that one does not count."""
    claim, resume = resumed(context, claim)
    course = Course(context, claim)
    board = Board() if claim.spec.tensorboard else None

    def on_epoch(result: EpochResult, take: Callable[[], Checkpoint]) -> bool:
        report_epoch(context, claim, result, take(), board)
        return course.goes_on(result.epoch)

    try:
        network = evaluate(
            candidate,
            data,
            recipe,
            seed=seed_of(claim, candidate),
            device=context.device,
            on_epoch=on_epoch,
            should_stop=lambda: context.should_stop() or course.out_of_time(),
            resume=resume,
            source=_source(context, claim),
            board=board,
        )
    except Stopped:
        if context.should_stop() or not course.out_of_time():
            raise
        course.ended = Reason.BUDGET
        return Trained(course)
    if claim.phase == Phase.SEARCH:
        return Trained(course)
    return Trained(course, weights_to_bytes(make_classifier(network.cpu(), data)))


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


def resumed(context: Context, claim: Claim) -> tuple[Claim, Checkpoint | None]:
    """What an earlier attempt or an earlier stage left; None of a trial that begins, or has to begin anew.

    Epochs without a checkpoint to go on from are forgotten: it was taken over in part, or the file is damaged or gone.

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
                return claim, checkpoint
            why = f"its checkpoint is of epoch {checkpoint.epoch}"
    log.warning("job %s trial %d trains its %d epochs again: %s", claim.job_id, claim.number, claim.epoch, why)
    with context.store.write() as session:
        return setbacks.restart(session, claim), None


def _source(context: Context, claim: Claim) -> dict[str, Tensor] | None:
    """The network that a transfer starts from; the reference is a network of its own and starts from nothing."""
    transfer = claim.spec.transfer
    if transfer is None or transfer.weights is None or claim.phase == Phase.REFERENCE:
        return None
    return context.source(transfer.weights)


def report_epoch(
    context: Context, claim: Claim, result: EpochResult, checkpoint: Checkpoint, board: Board | None = None
) -> None:
    """Records an epoch with the checkpoint that follows it. Raises LeaseLost."""
    # File first, row second; two jobs may train the same network, and deleting one's file must not hit the other's.
    with context.stages.timed("checkpoint"):
        stored = context.artifacts.put(checkpoint.to_bytes(tag=f"{claim.trial_id}.{claim.attempt}"))
        events = context.artifacts.put(board.take()) if board is not None else None
    with context.stages.timed("report"), context.store.write() as session:
        replaced = trials.report(session, claim, result, stored, context.settings.lease_s)
        if events is not None:
            trials.attach(session, claim, f"tensorboard-{result.epoch:04d}", events)
    context.stages.add("epochs", claim.phase)
    context.stages.flush(context.store)
    if replaced:
        context.artifacts.delete(replaced)
