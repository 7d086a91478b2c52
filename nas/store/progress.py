"""How far a job is, and how long it will take: by epochs, or by the clock where that is its budget."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from statistics import fmean
from typing import Final, TypeAlias

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from nas.search.options import PruningSpec
from nas.search.pruning import make_pruner
from nas.spec import JobSpec
from nas.store.clock import elapsed_s as clock_s
from nas.store.numbering import round_of, searches_planned
from nas.store.states import (
    ACTIVE_JOB,
    BUSY_TRIAL,
    FINISHED_TRIAL,
    PREPARATION,
    JobState,
    Phase,
    TrialState,
    standing,
)
from nas.store.tables import Job, Trial

UNKNOWN_SHARE: Final = 0.6
"""Of a full trial's epochs: what one is expected to use under the median rule, before any has ended."""

BRACKETS: Final = 100
"""Trials whose stages tell what one takes on average."""

RETRAINED: Final = (Phase.FINALIST, Phase.CONTROL, Phase.REFERENCE)

Tallies: TypeAlias = Mapping[tuple[Phase, TrialState], int]
"""How many trials of a phase are in a state; what is not in it is 0."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is. `fraction` follows epochs, or the clock; `trials_…` count search trials."""

    fraction: float
    trials_finished: int
    trials_planned: int
    elapsed_s: float
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a job is to do, as far as it is known.

    Attributes:
        trials: of each phase, those of earlier rounds included.
        final_epochs: of all retrainings that the verdict needs, and of those that were done for an earlier one.
    """

    trials: dict[Phase, int]
    final_epochs: int


def finished(tallies: Tallies, phase: Phase) -> int:
    """How many trials of the phase have ended."""
    return sum(tallies.get((phase, state), 0) for state in FINISHED_TRIAL)


@dataclass(frozen=True, slots=True)
class Retrained:
    """Of the trials of one of a job's phases after the search, in one of its rounds.

    Attributes:
        trials, networks: how many.
        epochs_done: of all of them.
        epochs: of the longest.
    """

    phase: Phase
    round: int
    trials: int
    networks: int
    epochs_done: int
    epochs: int


def read_plan(session: Session, job: Job, spec: JobSpec, tallies: Tallies) -> Plan:
    """The plan of a job, with what there is of its retrainings."""
    begun = round_of(job) or any(tallies.get((Phase.FINALIST, state), 0) for state in TrialState)
    return make_plan(job, spec, tallies, retrained(session, [job.id]).get(job.id, ()) if begun else ())


def retrained(session: Session, job_ids: Collection[str]) -> dict[str, list[Retrained]]:
    """What there is of the phases after the search of each of these jobs."""
    of = (Trial.job_id, Trial.phase, Trial.round)
    networks = func.count(Trial.digest.distinct())
    rows = session.execute(
        select(*of, func.count(), networks, func.sum(Trial.epoch), func.max(Trial.epochs))
        .where(Trial.job_id.in_(job_ids), Trial.phase.in_((*RETRAINED, Phase.REPORT)))
        .group_by(*of)
    )
    found: dict[str, list[Retrained]] = {}
    for job_id, of_phase, of_round, trials, digests, done, longest in rows:
        found.setdefault(job_id, []).append(Retrained(of_phase, of_round, trials, digests, done, longest))
    return found


def make_plan(job: Job, spec: JobSpec, tallies: Tallies, retrainings: Sequence[Retrained]) -> Plan:
    """The plan: retrainings as the spec has them, and once there are some, as these are: there may be fewer."""
    counts = {phase: sum(tallies.get((phase, state), 0) for state in TrialState) for phase in Phase}
    finalists, seeds, epochs = spec.final.finalists, spec.final.seeds, spec.final.epochs
    here, done, before = counts, job.final_epochs, dict.fromkeys(Phase, 0)
    found = {of.phase: of for of in retrainings if of.round == round_of(job)}
    if round_of(job):  # the search was taken up again: the retrainings before that are no part of what comes
        here = counts | {phase: found[phase].trials if phase in found else 0 for phase in (*RETRAINED, Phase.REPORT)}
        done = sum(of.epochs_done for of in found.values())
        before = {phase: counts[phase] - here[phase] for phase in Phase}
    if here[Phase.FINALIST]:
        seeds = here[Phase.FINALIST] // max(1, found[Phase.FINALIST].networks)
        epochs = found[Phase.FINALIST].epochs
    finals = {Phase.FINALIST: finalists * seeds, Phase.CONTROL: spec.final.controls * seeds, Phase.REFERENCE: seeds}
    finals = {phase: here[phase] or planned for phase, planned in finals.items()}
    final_epochs = job.final_epochs - done + sum(finals.values()) * epochs
    planned = counts | {Phase.SEARCH: searches_planned(job), Phase.REPORT: 1} | finals
    return Plan({phase: planned[phase] + before[phase] for phase in Phase}, final_epochs)


def progress(
    job: Job,
    spec: JobSpec,
    plan: Plan,
    tallies: Tallies,
    *,
    supernet: Trial | None,
    running: Sequence[Trial],
    alive: int,
    moment: datetime,
) -> Progress:
    """How far a job is.

    Args:
        job, spec, plan, tallies: of it.
        supernet: the trial that trains its supernet, if it has one.
        running: its running trials.
        alive: workers.
        moment: now.
    """
    done = job.search_epochs + job.final_epochs
    left = _search_left(job, spec, plan, tallies, supernet, running) + max(0, plan.final_epochs - job.final_epochs)
    elapsed_s = clock_s(job, moment)
    eta_s = None
    if alive and done and job.state in ACTIVE_JOB:
        eta_s = left * job.train_seconds / done / min(alive, spec.budget.parallel or alive)
    fraction = done / (done + left) if done else 0.0
    if spec.budget.seconds is not None:
        left_s = max(0.0, spec.budget.seconds - elapsed_s)
        if (
            standing(job) == JobState.RUNNING and alive
        ):  # later the retrainings are known, which had to fit into the time
            eta_s = left_s if eta_s is None else min(eta_s, left_s)
        left_s = left_s if eta_s is None else eta_s
        fraction = elapsed_s / (elapsed_s + left_s) if elapsed_s else 0.0
    return Progress(
        fraction=1.0 if job.state == JobState.SUCCEEDED else min(0.999, fraction),
        trials_finished=finished(tallies, Phase.SEARCH),
        trials_planned=plan.trials[Phase.SEARCH],
        elapsed_s=elapsed_s,
        eta_s=None if job.state == JobState.PAUSED else eta_s,  # nobody knows when it goes on
    )


def _search_left(
    job: Job, spec: JobSpec, plan: Plan, tallies: Tallies, supernet: Trial | None, running: Sequence[Trial]
) -> float:
    """Epochs that are still to be trained before the retrainings, about."""
    if standing(job) not in (JobState.QUEUED, JobState.RUNNING) or job.search_over:
        return 0.0
    done, before = job.search_epochs, 0
    if supernet is not None:
        done -= supernet.epoch
        before = supernet.epochs - supernet.epoch if supernet.state in BUSY_TRIAL else 0
    # A network that broke a limit cost nothing, and another one was planned for it.
    void = sum(tallies.get((Phase.SEARCH, state), 0) for state in (TrialState.INFEASIBLE, TrialState.CANCELLED))
    ended = finished(tallies, Phase.SEARCH) - void
    pruner = make_pruner(spec.pruning)
    each = expected_epochs(spec.pruning, spec.budget.epochs, min(spec.budget.trials, BRACKETS))
    if ended and not pruner.annealed:
        each = min(done / ended, spec.budget.epochs)
    promised = sum((trial.stage or trial.epochs) - trial.epoch for trial in running if trial.phase == Phase.SEARCH)
    first, *_ = pruner.stages(0, spec.budget.epochs)
    least = promised + max(0, job.trials_planned - job.next_number) * min(first, each)
    left = before + max((plan.trials[Phase.SEARCH] - void) * each - done, least)
    if spec.budget.total_epochs is not None:
        left = min(left, max(0, spec.budget.total_epochs - job.search_epochs))
    return left


@lru_cache(1_000)
def expected_epochs(pruning: PruningSpec, epochs: int, trials: int) -> float:
    """What a trial takes on average: of those at a rung one in eta goes on, and trains the new epochs only.

    Every poll of every dashboard asks, and the answer takes longer than the rest of it.
    """
    if pruning.method in ("none", "median"):
        return epochs * (UNKNOWN_SHARE if pruning.method == "median" else 1.0)
    pruner = make_pruner(pruning)
    return fmean(
        sum((end - begin) / pruning.eta**rung for rung, (begin, end) in enumerate(pairwise((0, *stages))))
        for stages in (pruner.stages(number, epochs) for number in range(trials))
    )


def phase(job: Job, tallies: Tallies) -> str:
    """The first phase that has work left; `done` when the job has ended. Retraining on request is no phase of a job."""
    if job.state not in ACTIVE_JOB:
        return "done"
    at_work = [phase for phase in Phase if any(tallies.get((phase, state), 0) for state in BUSY_TRIAL)]
    if standing(job) != JobState.FINALIZING:
        return next((phase for phase in at_work if phase in PREPARATION), Phase.SEARCH)
    finals = (*RETRAINED, Phase.REPORT)
    begun = [phase for phase in finals if any(tallies.get((phase, state), 0) for state in TrialState)]
    return next((phase for phase in at_work if phase in finals), begun[-1] if begun else Phase.FINALIST)
