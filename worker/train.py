"""A trial that trains a network: propose if it has no candidate yet, train, report every epoch, end."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from torch import Tensor

from nas.data.images import ImageSet
from nas.errors import Stopped
from nas.model import Network
from nas.result.package import make_classifier, weights_to_bytes
from nas.search.pruning import Step, make_pruner
from nas.seeds import derive
from nas.space import Candidate
from nas.store import files, trials
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


def train(context: Context, claim: Claim, package: Callable[[bytes], bytes] | None = None) -> None:
    """Runs a search trial, or the retraining of a finalist, a control or the reference.

    Args:
        context, claim: see worker.step.
        package: makes a package of the weights of a retraining, to be kept with it.

    Raises:
        Infeasible, SpaceExhausted, Diverged, LeaseLost, Stopped: see nas.errors.
    """
    data = context.data(claim.dataset_id)
    candidate = claim.candidate or propose(context, claim, data)
    recipe = recipe_of(claim, candidate, data)
    course = Course(context, claim)
    network = _fit(context, claim, candidate, data, recipe, course) if course.goes_on(claim.epoch) else None
    if course.paused:
        with context.store.write() as session:
            trials.pause(session, claim)
        return
    weights = packed = None
    if claim.phase != Phase.SEARCH and network is not None:
        content = weights_to_bytes(make_classifier(network.cpu(), data))
        weights = context.artifacts.put(content)
        packed = context.artifacts.put(package(content)) if package is not None else None
    with context.store.write() as session:
        if packed is not None:
            trials.attach(session, claim, "package", packed)
        state = TrialState.PRUNED if course.ended else TrialState.COMPLETE
        # With early stopping the network is left with the weights of its best epoch, which is what it is judged by.
        best = state == TrialState.COMPLETE and recipe.early_stop is not None
        checkpoint = trials.finish(session, claim, state, reason=course.ended, weights=weights, best_epoch=best)
    if checkpoint:
        context.artifacts.delete(checkpoint)


def _fit(
    context: Context, claim: Claim, candidate: Candidate, data: ImageSet, recipe: Recipe, course: "Course"
) -> Network | None:
    """The trained network; None if the time was over in the middle of an epoch, which is not counted then."""
    board = Board() if claim.spec.tensorboard else None

    def on_epoch(result: EpochResult, take: Callable[[], Checkpoint]) -> bool:
        report_epoch(context, claim, result, take(), board)
        return course.goes_on(result.epoch)

    try:
        return evaluate(
            candidate,
            data,
            recipe,
            seed=seed_of(claim),
            device=context.device,
            on_epoch=on_epoch,
            should_stop=lambda: context.should_stop() or course.out_of_time(),
            resume=checkpoint_of(context, claim),
            source=_source(context, claim),
            board=board,
        )
    except Stopped:
        if context.should_stop() or not course.out_of_time():
            raise
        course.ended = Reason.BUDGET
        return None


@dataclass(eq=False, slots=True)
class Course:
    """What becomes of a trial after each of its epochs.

    Attributes:
        paused: whether it waits at a rung from now on.
        ended: why it was stopped early, if it was.
    """

    context: Context
    claim: Claim
    paused: bool = False
    ended: Reason | None = None
    _stage: int = 0
    _epoch: int = 0

    def goes_on(self, epoch: int) -> bool:
        """Whether the trial, which has done that many epochs, trains on now."""
        context, claim = self.context, self.claim
        if claim.phase != Phase.SEARCH or epoch >= claim.epochs:
            return True
        self._epoch = epoch
        if self.out_of_time() or context.search_is_over(claim.job_id):
            self.ended = Reason.BUDGET
            return False
        self._stage = self._stage or claim.stage
        if epoch < self._stage:
            return True
        history = context.history(claim.job_id, claim.spec)
        match context.search(claim.job_id, claim.spec).pruner.after(claim.index, history, claim.epochs):
            case Step.PAUSE:
                self.paused = True
            case Step.STOP:
                self.ended = Reason.RUNG
            case Step.GO_ON:
                self._stage = trials.next_stage(claim.spec, claim.index, epoch)
                with context.store.write() as session:
                    trials.advance_stage(session, claim, self._stage)
                return True
        return False

    def out_of_time(self) -> bool:
        """Whether the time that the job has for its search is over; the first trial has time for an epoch anyway."""
        deadline = self.claim.deadline
        late = deadline is not None and datetime.now(UTC) >= deadline
        return late and self.claim.phase == Phase.SEARCH and (self.claim.index > 0 or self._epoch > 0)


def recipe_of(claim: Claim, candidate: Candidate, data: ImageSet) -> Recipe:
    """The job's recipe for the planned epochs, with what the candidate chose of it: retrainings keep the choice."""
    recipe = claim.spec.recipe_for(candidate, data.shape, epochs=claim.epochs, images=len(data.train))
    pruner = make_pruner(claim.spec.pruning)
    if claim.phase != Phase.SEARCH or not pruner.annealed:
        return recipe
    return recipe.model_copy(update={"rungs": pruner.stages(claim.index, claim.epochs)[:-1]})


def seed_of(claim: Claim) -> int:
    """Search trials differ in their seeds; finalists, controls and reference share the job's list of them."""
    if claim.phase == Phase.SEARCH:
        return derive(claim.spec.seed, "train", claim.index)
    return derive(claim.spec.seed, "retrain", claim.seed_index)


def checkpoint_of(context: Context, claim: Claim) -> Checkpoint | None:
    """What an earlier attempt or an earlier stage left; None of a trial that begins."""
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


def report_epoch(
    context: Context, claim: Claim, result: EpochResult, checkpoint: Checkpoint, board: Board | None = None
) -> None:
    """Records an epoch with the checkpoint that follows it. Raises LeaseLost."""
    # File first, row second; two jobs may train the same network, and deleting one's file must not hit the other's.
    stored = context.artifacts.put(checkpoint.to_bytes(tag=f"{claim.trial_id}.{claim.attempt}"))
    events = context.artifacts.put(board.take()) if board is not None else None
    with context.store.write() as session:
        replaced = trials.report(session, claim, result, stored, context.settings.lease_s)
        if events is not None:
            trials.attach(session, claim, f"tensorboard-{result.epoch:04d}", events)
    if replaced:
        context.artifacts.delete(replaced)
