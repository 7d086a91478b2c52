"""What a search will cost, before it begins: how many networks there are, how large, how many epochs, how long.

Times follow from epochs that were measured on this service, scaled by what a network computes; where there are none,
from a rule of thumb.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from statistics import fmean
from typing import Final

import numpy as np

from nas.data.facts import Facts
from nas.oneshot.plan import supernet_shape
from nas.pacing import factor, rule_s
from nas.search.catalog import strategies
from nas.search.options import DartsOptions, FirstSecondOptions, PartialOptions, SinglePathOptions, SupernetOptions
from nas.search.screening import BATCH
from nas.space import CellSpace, FixedSpace, JointSpace
from nas.space.extent import SAMPLE, Range, extent
from nas.space.size import Size, size
from nas.spec import FinalSpec, JobSpec
from nas.store.budget import REFERENCE, REPORT_S
from nas.store.jobs import SCREENED_A_TRIAL
from nas.store.paces import Pace
from nas.store.progress import BRACKETS, expected_epochs

SCREENING_S: Final = 1.6
"""Of a batch of training-free scores, whatever the images, which are made small for it."""

TRIAL_S: Final = 0.3
"""Of a trial beside its epochs: proposing, building, measuring, storing."""

MIXED: Final = 0.65
"""Of the time that all operations of all edges would take one by one, what a mixture of them takes."""

PERTURBATION_EPOCHS: Final = 3
"""What choosing by perturbation takes at the end of a supernet, about."""

SCORED_IMAGES: Final = 256
"""That a supernet scores a candidate on."""

SPREAD: Final = {"data set": 1.5, "service": 2.2, "rule": 3.0}
"""By how much the expected time may be wrong either way, by what it rests on."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a job will cost, about.

    Attributes:
        space: how many candidates there are.
        params, macs: of its networks.
        exact: whether those are all parameters; a user's own operations have no formula, and do not count.
        trials: of the search.
        search_epochs, final_epochs: of all networks together; a supernet's are among the first.
        low_s, expected_s, high_s: from the first trial to the model.
        workers: alive that may serve it.
        lanes: trials at once.
        basis: what the times rest on, as a sentence.
    """

    space: Size
    params: Range
    macs: Range
    exact: bool
    trials: int
    search_epochs: int
    final_epochs: int
    low_s: float
    expected_s: float
    high_s: float
    workers: int
    lanes: int
    basis: str


def estimate(
    spec: JobSpec,
    facts: Facts,
    *,
    same: Sequence[Pace] = (),
    others: Sequence[Pace] = (),
    workers: int = 1,
    gpu: bool = False,
) -> Estimate:
    """What a job will cost.

    Args:
        spec: of the job, complete.
        facts: of its data set.
        same: what epochs of that data set took here.
        others: what those of other data sets took; only looked at if `same` is empty.
        workers: alive that may serve it.
        gpu: whether they train on GPUs.
    """
    space = spec.search_space()
    found = extent(space, spec.limits, facts.shape, facts.outputs)
    slower = factor(same or others, gpu=gpu)
    lanes = max(1, min(workers, spec.budget.parallel or workers))
    epoch_s = slower * fmean(rule_s(candidate, spec, facts) for candidate in found.candidates)
    work = _Work.of(spec, facts, size(space), epoch_s, slower, lanes)
    ground = "data set" if same else "service" if others else "rule"
    low_s, expected_s, high_s = work.range_s(spec, SPREAD[ground])
    return Estimate(
        space=size(space),
        params=found.params,
        macs=found.macs,
        exact=found.exact,
        trials=work.trials,
        search_epochs=round(work.search_epochs),
        final_epochs=round(work.final_epochs),
        low_s=low_s,
        expected_s=expected_s,
        high_s=high_s,
        workers=workers,
        lanes=lanes,
        basis=_basis(facts.name, same, others, workers, gpu=gpu),
    )


@dataclass(frozen=True, slots=True)
class _Work:
    """A job's parts: how many trials and epochs, and what each part takes."""

    trials: int
    search_epochs: float
    final_epochs: float
    before_s: float
    search_s: float
    final_s: float
    least_s: float  # of a search that reaches its target with its first trial

    @classmethod
    def of(cls, spec: JobSpec, facts: Facts, there_are: Size, epoch_s: float, slower: float, lanes: int) -> "_Work":
        budget = spec.budget
        trials = budget.trials if there_are.real else min(budget.trials, there_are.candidates)
        each = expected_epochs(spec.pruning, budget.epochs, min(budget.trials, BRACKETS))
        if budget.total_epochs is not None:
            trials = min(trials, max(1, ceil(budget.total_epochs / each)))
        trial_s = each * epoch_s + TRIAL_S + spec.screening * SCREENING_S / BATCH * (spec.screening > 1)
        before_s, before_epochs = _before(spec, facts, slower, lanes)
        final_s = _rounds(spec.final, lanes) * spec.final.epochs * epoch_s + REPORT_S
        share = 1.0
        if budget.seconds is not None:  # what does not fit is left out, as nas.store.budget does it
            before_s, kept_s = min(before_s, budget.seconds / 3), min(final_s, budget.seconds / 2)
            share, final_s = kept_s / final_s, kept_s
            left_s = max(0.0, budget.seconds - before_s - final_s)
            trials = min(trials, max(1, int(left_s * lanes / trial_s)))
        whole_s = budget.epochs * epoch_s + TRIAL_S
        return cls(
            trials=trials,
            search_epochs=before_epochs + min(trials * each, budget.total_epochs or trials * each),
            final_epochs=share * _networks(spec.final) * spec.final.epochs,
            before_s=before_s,
            search_s=max(trials * trial_s / min(lanes, trials), whole_s),
            final_s=final_s,
            least_s=whole_s,
        )

    def range_s(self, spec: JobSpec, spread: float) -> tuple[float, float, float]:
        """(low, expected, high): a target may be reached at once, and nothing takes longer than the job may."""
        expected_s = self.before_s + self.search_s + self.final_s
        at_least = self.search_s if spec.budget.target is None else self.least_s
        low_s = (self.before_s + at_least + self.final_s) / spread
        limit = spec.budget.seconds or float("inf")
        return min(low_s, limit), min(expected_s, limit), min(expected_s * spread, limit)


def _networks(final: FinalSpec) -> int:
    """Retrainings: of finalists, controls and the hand-designed network."""
    return (final.finalists + final.controls + 1) * final.seeds


def _rounds(final: FinalSpec, lanes: int) -> float:
    """Retrainings one after the other: several finalists first, because the winner's opponents need it."""
    first = final.finalists * final.seeds if final.finalists > 1 else 0
    second = (final.controls + (final.finalists == 1)) * final.seeds
    return ceil(first / lanes) + ceil(second / lanes) + REFERENCE * final.seeds / lanes


def _before(spec: JobSpec, facts: Facts, slower: float, lanes: int) -> tuple[float, int]:
    """(seconds, epochs) of what is done once before the search."""
    options, space = spec.strategy_options(), spec.search_space()
    match strategies()[spec.strategy].prepares:
        case "screening":
            if isinstance(space, JointSpace) and isinstance(space.base, FixedSpace):
                return 0.0, 0
            samples = min(options.model_dump()["warm_start"], SCREENED_A_TRIAL * spec.budget.trials)
            return ceil(ceil(samples / BATCH) / lanes) * SCREENING_S, 0
        case "supernet" if isinstance(options, SupernetOptions) and isinstance(space, CellSpace):
            return _supernet(spec, facts, space, options, slower)
    return 0.0, 0


def _supernet(
    spec: JobSpec, facts: Facts, space: CellSpace, options: SupernetOptions, slower: float
) -> tuple[float, int]:
    """What a supernet takes: one network, on one worker, in which an edge has all operations, or one of them."""
    framed = replace(space, shape=supernet_shape(space.shape, options))
    rng = np.random.default_rng(0)
    one_s = slower * fmean(rule_s(framed.sample(rng), spec, facts) for _ in range(SAMPLE))
    edges = space.nodes * (space.nodes + 3) / 2
    times, further = edges / (2 * space.nodes), 0.0
    if isinstance(options, SinglePathOptions):
        times, further = 1.0, options.samples * one_s * SCORED_IMAGES / (3 * facts.train)
    elif spec.strategy != "gdas":
        times *= MIXED * len(space.ops)
    if isinstance(options, PartialOptions):
        times = max(1.0, times / options.share)
    if isinstance(options, FirstSecondOptions) and options.order == "second":
        times *= 3
    epochs = options.epochs or spec.budget.epochs
    perturbed = isinstance(options, DartsOptions) and options.discretise == "perturbation"
    return (epochs + PERTURBATION_EPOCHS * perturbed) * times * one_s + further, epochs


def _basis(dataset: str, same: Sequence[Pace], others: Sequence[Pace], workers: int, *, gpu: bool) -> str:
    epochs = sum(pace.epochs for pace in same or others)
    if same:
        text = f"measured: {epochs:,} epochs of {dataset} on this service"
    elif others:
        text = f"measured: {epochs:,} epochs of other data sets on this service, scaled by what is to be computed"
    else:
        machine, where = ("a GPU", "on one here") if gpu else ("one core of a laptop", "here")
        text = f"a rule of thumb for {machine}: nothing was trained {where} yet"
    return text if workers else f"{text}; no worker is alive that may serve it: one is assumed"
