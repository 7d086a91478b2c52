"""One-shot search: trains a supernet epoch by epoch and says which candidates it holds to be the best."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch

from nas.data.images import ImageSet
from nas.data.tensors import Batchable
from nas.errors import Diverged
from nas.oneshot.choosing import Scored, choose, genotype_of
from nas.oneshot.discretise import entropy, skip_mass, skip_share, strongest
from nas.oneshot.judging import Judge, Judgement
from nas.oneshot.mixing import path
from nas.oneshot.plan import MethodName, Plan, supernet_shape
from nas.oneshot.training import Training, halves, steps_an_epoch
from nas.oneshot.watch import collapsed, settled, shown_shares
from nas.search.options import SupernetOptions
from nas.seeds import derive
from nas.space import Candidate, CellSpace, Genotype
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from nas.train.loop import OnEpoch
from nas.train.recipe import Recipe

SUBSET: Final = 256
"""Validation images at most that candidates are scored on."""

REFIT: Final = 2
"""Training batches that the norms' statistics are measured on before a score."""

PATHS: Final = 4
"""Random candidates whose mean is the score of an epoch of random_ws."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search hands over.

    Attributes:
        candidates: distinct ones of the space, each with its score in the supernet, best first; after a collapse the
            genotype of the epoch before it comes first.
        reason: why the search ended before its last epoch, as a sentence; None if it did not.
    """

    candidates: Scored
    reason: str | None = None


def search(
    space: CellSpace,
    data: ImageSet,
    recipe: Recipe,
    options: SupernetOptions,
    *,
    method: MethodName,
    seed: int,
    device: torch.device,
    on_epoch: OnEpoch,
    should_stop: Callable[[], bool],
    allows: Callable[[Candidate], bool] = lambda candidate: True,
    resume: Checkpoint | None = None,
) -> Found:
    """Trains a supernet of all candidates and returns those that it holds to be the best.

    darts: Liu et al. 2019; pc_darts: Xu et al. 2020; gdas: Dong and Yang 2019; random_ws: Li and Talwalkar 2019. The
    same arguments give the same on one machine with one thread, also when the search was interrupted and resumed.

    Args:
        space: the candidates; its shape is the frame that they will be trained in.
        data: one half of train is for the weights and the other for the architecture's parameters, validation judges,
            test is not looked at.
        recipe: of the weights; `epochs` are the supernet's. Its averages, early stopping and accumulation are left out.
        options: of the method; what is open follows from the other arguments (nas.oneshot.plan).
        method: see nas.oneshot.methods.
        seed: of everything random.
        device: where to train.
        on_epoch: called after every epoch with what it showed, its genotype included; when it answers False, the search
            ends with what there is, without the perturbation that would take time.
        should_stop: asked before every batch and every judgement.
        allows: whether a candidate may be handed over; a job may have limits that a supernet knows nothing of.
        resume: a checkpoint of the same search to go on from.

    Raises:
        Diverged: the loss is not finite.
        GenotypeError: an operation that cannot be built.
        InvalidInput: the recipe's loss is none for the task, or its precision none for the device.
        Stopped: `should_stop` said so; what the current epoch had done is lost.
    """
    train = Batchable.of(data, "train", device)
    steps = steps_an_epoch(len(halves(train, method, seed)[0]), recipe)
    plan = Plan.of(method, options, epochs=recipe.epochs, steps_an_epoch=steps)
    training = Training.begin(space, supernet_shape(space.shape, options), data, recipe, plan, seed=seed, device=device)
    if resume is not None:
        training.resume(resume)
    judge = _judge(training, Batchable.of(data, "validation", device))
    hurried = False
    while training.epoch < recipe.epochs and not hurried and _why_ended(training) is None:
        result = _epoch(training, judge, should_stop)
        hurried = not on_epoch(result, training.checkpoint)
    reason = _why_ended(training)
    if hurried and reason is None and training.epoch < recipe.epochs:
        reason = f"it was ended after epoch {training.epoch} of {recipe.epochs}"
    small = replace(judge, validation=_part(judge.validation, seed))
    return Found(choose(training, small, should_stop, hurried=hurried, allows=allows), reason)


def _epoch(training: Training, judge: Judge, should_stop: Callable[[], bool]) -> EpochResult:
    """Trains for an epoch, and adds the genotype that it would choose."""
    began = time.perf_counter()
    at = training.epoch + 1
    metrics = {"temperature": training.temperature} if training.method.cools else {}
    train_loss, lr = training.run_epoch(should_stop)
    genotype, shown = _shown(training, judge)
    for loss in (train_loss, shown.loss):
        if not math.isfinite(loss):
            raise Diverged(at, loss)
    training.genotypes.append(genotype)
    shares = training.shares()
    metrics |= {
        "alpha_entropy": entropy(shares),
        "skip_share": skip_share(genotype),
        "skip_mass": skip_mass(training.space.ops, shares),
    }
    learnt = shares if training.method.learns else None
    seconds = time.perf_counter() - began
    return EpochResult(
        epoch=at,
        train_loss=train_loss,
        validation_loss=shown.loss,
        validation_accuracy=shown.score,
        lr=lr,
        seconds=seconds,
        metrics={**shown.metrics, **metrics},
        genotype=genotype.to_json(),
        shares=shown_shares(training.space, learnt, training.edge_shares()),
    )


def _shown(training: Training, judge: Judge) -> tuple[Genotype, Judgement]:
    """What the supernet would choose now, and how good it is; of single paths the mean over some, and the best."""
    generator = torch.Generator().manual_seed(derive(training.seed, "shown", training.epoch))
    draw = training.draw(generator)
    if training.method.learns:
        chosen = strongest(training.space, training.strengths())
        return genotype_of(chosen), judge.refitted(training.method.shown(draw))
    rng = np.random.default_rng(derive(training.seed, "shown", training.epoch))
    paths = [genotype_of(training.space.sample(rng)) for _ in range(PATHS)]
    found = [judge.refitted(path(one, training.space.ops, training.device)) for one in paths]
    best = max(range(PATHS), key=lambda index: found[index].order)
    return paths[best], Judgement(
        float(np.mean([one.score for one in found])),
        float(np.mean([one.loss for one in found])),
        {name: float(np.mean([one.metrics[name] for one in found])) for name in found[0].metrics},
    )


def _why_ended(training: Training) -> str | None:
    if not training.method.learns:
        return None
    return collapsed(training.genotypes, training.plan, training.space) or settled(training.genotypes, training.plan)


def _judge(training: Training, validation: Batchable) -> Judge:
    """On images that the weights learn from, which stand in a random order."""
    images, size = training.weights_half.images, training.recipe.batch_size
    seen = tuple(torch.split(images[: REFIT * size], size))
    return Judge(training.supernet, training.objective, training.normalise, seen, validation)


def _part(validation: Batchable, seed: int) -> Batchable:
    """SUBSET images at random, as images may be sorted by their classes."""
    order = torch.randperm(len(validation), generator=torch.Generator().manual_seed(derive(seed, "judged")))
    chosen = order[:SUBSET].to(validation.labels.device)
    return Batchable(validation.images[chosen], validation.labels[chosen])
