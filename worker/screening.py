"""Training-free scores in a job: a batch of random candidates before the search, and the best of several proposals."""

import json
import logging
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nas.data.images import ImageSet
from nas.data.tensors import Normalise
from nas.errors import Stopped
from nas.model import cost_of
from nas.model.scores import score_candidate, shrink
from nas.search.screening import BATCH, Scored
from nas.seeds import derive
from nas.space import Candidate, CellSpace, JointSpace, LayerSpace
from nas.space.cost import cost as formula
from nas.space.limits import broken
from nas.spec import JobSpec
from nas.store import trials
from nas.store.claims import Claim
from nas.store.moves import locked
from nas.store.states import TrialState
from worker.context import Context
from worker.course import Course
from worker.orders import Machine, Order, Outcome

log = logging.getLogger(__name__)

IMAGES: Final = 32
"""That scores are computed with: twice as many tell nothing more."""

DRAWS: Final = 20 * BATCH
"""At most so many candidates are drawn for a batch; where limits leave few of them, it is a smaller one."""

CELLS_SIDE, LAYERS_SIDE, STEM_SIDE = 8, 16, 64
"""Pixels that a side keeps: two reductions leave 2×2 of them; chains halve more often, an imagenet stem by eight."""


def prepare(context: Context, claim: Claim) -> Order | None:
    """A screening needs nothing but the data set, which is read here, so that one that cannot be is told of at once.

    Raises:
        DatasetUnready, DiskFull: see nas.errors.
    """
    context.data(claim.dataset_id)
    return Order(claim)


def carry_out(order: Order, machine: Machine) -> Outcome:
    """Scores a batch of random candidates within the job's limits.

    The artifact `candidates` is {"candidates": [Scored, …]} as JSON, in the order in which they were drawn. Left out
    is what cannot be built or has no finite score. After the claim's deadline there are fewer of them.

    Raises:
        Stopped: see nas.errors.
    """
    claim = order.claim
    score = scorer(claim.spec, machine.data)
    found: list[Scored] = []
    for candidate, params, macs in _drawn(claim, machine.data):
        if machine.should_stop():
            raise Stopped
        if claim.deadline is not None and datetime.now(UTC) >= claim.deadline:
            break
        value = score(candidate)
        if math.isfinite(value):
            found.append(Scored(candidate, value, params, macs))
    log.info("job %s trial %d: %d candidates scored", claim.job_id, claim.number, len(found))
    content = json.dumps({"candidates": [scored.to_json() for scored in found]})
    return Outcome(candidates=machine.artifacts.put(content.encode()))


def conclude(context: Context, claim: Claim, outcome: Outcome, course: Course) -> None:
    """Ends a preparation with the candidates that it found, and what there is to say of them. Raises LeaseLost."""
    if outcome.candidates is None:
        raise ValueError(f"trial {claim.number} ended without a list of candidates")
    with context.store.write() as session:
        locked(session, claim.job_id)  # before the trial: the order of locks
        trials.attach(session, claim, "candidates", outcome.candidates)
        checkpoint = trials.finish(
            session, claim, TrialState.COMPLETE, error=outcome.note, spent=context.spent.so_far()
        )
    if checkpoint:
        context.artifacts.delete(checkpoint)


def scorer(spec: JobSpec, data: ImageSet) -> Callable[[Candidate], float]:
    """Candidate → training-free score, for the candidates of a job: all see the same images, and weights of one seed.

    A candidate whose network cannot be built or does not run has nan: its own trial will say why.
    """
    seen = images(spec, data)
    seed = derive(spec.seed, "screening", "weights")

    def score(candidate: Candidate) -> float:
        try:
            return score_candidate(candidate, seen, outputs=data.outputs, seed=seed)
        except Exception as error:  # a user's own operation may raise anything
            log.info("a candidate cannot be scored: %s: %s", type(error).__name__, error)
            return math.nan

    return score


def images(spec: JobSpec, data: ImageSet) -> Float[Tensor, "n c h w"]:
    """Some training images of a job, all different, normalised by their own statistics, as small as its networks bear.

    On the CPU, like all that follows from them, so that every worker computes the same scores.
    """
    order = np.random.default_rng(derive(spec.seed, "screening", "images")).permutation(len(data.train))
    different: dict[bytes, int] = {}
    for index in data.train[order]:
        different.setdefault(data.images[index].tobytes(), int(index))
        if len(different) == IMAGES:
            break
    chosen = torch.from_numpy(data.images[list(different.values())])
    return shrink(Normalise.of(chosen)(chosen), _side(spec.search_space()))


def _drawn(claim: Claim, data: ImageSet) -> Iterator[tuple[Candidate, int, int]]:
    """Up to BATCH different candidates within the limits, each with its parameters and multiply-accumulates."""
    space = claim.spec.search_space()
    rng = np.random.default_rng(derive(claim.spec.seed, "screen", claim.seed_index))
    how: dict[str, Any] = {"image": data.shape, "outputs": data.outputs}
    digests: set[str] = set()
    for _ in range(DRAWS):
        candidate = space.sample(rng)
        cost = formula(candidate, **how)
        if not cost.exact:  # a user's own operation has no formula
            cost = cost_of(candidate, **how)
        digest = space.digest(candidate)
        if digest in digests or broken(claim.spec.limits, cost):
            continue
        digests.add(digest)
        yield candidate, cost.params, cost.macs
        if len(digests) == BATCH:
            return


def _side(space: CellSpace | LayerSpace | JointSpace) -> int:
    """Pixels that no candidate of the space can do without, so that one size suits all of them."""
    base = space.base if isinstance(space, JointSpace) else space
    if isinstance(base, LayerSpace):
        return LAYERS_SIDE
    shape = base.shape if isinstance(base, CellSpace) else base.candidate.shape
    return CELLS_SIDE if shape.stem == "cifar" and "space.stem" not in space.distributions() else STEM_SIDE
