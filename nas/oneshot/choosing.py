"""Which candidates a trained supernet hands over, and in what order."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import numpy as np
import torch

from nas.data.tensors import Batchable
from nas.errors import Stopped
from nas.oneshot.discretise import drawn
from nas.oneshot.judging import Judge
from nas.oneshot.methods import mixture
from nas.oneshot.mixing import path
from nas.oneshot.perturbation import perturbed
from nas.oneshot.training import Training
from nas.oneshot.watch import collapsed
from nas.seeds import derive
from nas.space import Candidate, CellSpace, Genotype

Scored = tuple[tuple[Candidate, float], ...]
"""Candidates with their scores in the supernet."""

PERTURBED: Final = 40
"""Images that a perturbation is judged on: some two hundred judgements, each by all operations at once."""

HURRIED: Final = 20
"""Random candidates at most that are scored when the search was ended early."""

DRAWS: Final = 1_000
"""Twins that chance may draw before the space counts as exhausted."""


def choose(
    training: Training,
    judge: Judge,
    should_stop: Callable[[], bool],
    *,
    hurried: bool,
    allows: Callable[[Candidate], bool],
) -> Scored:
    """Distinct candidates with their scores in the supernet, best first; fewer than planned if the space has no more.

    Of what has architecture parameters: the genotype that they or the perturbation choose, then those of earlier
    epochs, the latest first, then draws by the operations' shares. Among equals this order stays. After a collapse the
    genotype of the epoch before it stands first, whatever it scores. Of random_ws: the best of random ones.

    Args:
        training: after its last epoch.
        judge: on a part of the validation split, in a random order.
        should_stop: asked before every judgement.
        hurried: whether time is up: then there is no perturbation, and few random ones are scored.
        allows: whether a candidate may be handed over.

    Raises:
        Stopped: `should_stop` said so.
    """
    plan, space = training.plan, training.space
    wanted = plan.candidates
    if not training.method.learns:
        wanted = max(wanted, min(plan.samples, HURRIED) if hurried else plan.samples)
    proposed = _proposed(training, judge, should_stop, hurried=hurried)
    found: list[tuple[Candidate, float]] = []
    for candidate in _distinct(space, proposed, wanted, allows):
        if should_stop():
            raise Stopped
        score = judge.refitted(path(genotype_of(candidate), space.ops, training.device)).score
        found.append((candidate, score))
    first = 1 if _collapsed(training) else 0
    ordered = found[:first] + sorted(found[first:], key=lambda one: -one[1])
    return tuple(ordered[: plan.candidates])


def genotype_of(candidate: Candidate) -> Genotype:
    """The cells of a candidate of a CellSpace, which has no others."""
    assert isinstance(candidate.architecture, Genotype)  # noqa: S101 - tells the type checker what stands above
    return candidate.architecture


def _proposed(
    training: Training, judge: Judge, should_stop: Callable[[], bool], *, hurried: bool
) -> Iterator[Candidate]:
    """Candidates in the order in which they are wanted, without end."""
    space, rng = training.space, np.random.default_rng(derive(training.seed, "candidates"))
    if not training.method.learns:
        while True:
            yield space.sample(rng)
    before = list(training.genotypes)
    if _collapsed(training):
        before.pop()
    elif training.plan.perturbation and not hurried:
        generator = torch.Generator()  # a mixture draws nothing
        mixing = mixture(training.draw(generator))
        seed = derive(training.seed, "perturbation")
        few = Batchable(judge.validation.images[:PERTURBED], judge.validation.labels[:PERTURBED])
        yield perturbed(replace(judge, validation=few), mixing, space, seed=seed, should_stop=should_stop)
    for genotype in reversed(before):
        yield Candidate(genotype, space.shape)
    strengths = training.strengths()
    while True:
        yield drawn(space, strengths, rng)


def _distinct(
    space: CellSpace, candidates: Iterator[Candidate], count: int, allows: Callable[[Candidate], bool]
) -> Iterator[Candidate]:
    """The first so many different ones that are allowed, or fewer where DRAWS in a row are none."""
    known: set[str] = set()
    given = since = 0
    for candidate in candidates:
        digest = space.digest(candidate)
        since += 1
        if digest not in known and allows(candidate):
            since, given = 0, given + 1
            yield candidate
        known.add(digest)
        if given == count or since == DRAWS:
            return


def _collapsed(training: Training) -> bool:
    return training.method.learns and collapsed(training.genotypes, training.plan, training.space) is not None
