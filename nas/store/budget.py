"""What a search may still spend: epochs, and the time that is left when the retraining's is kept back."""

from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Final, Self

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from nas.search.pruning import make_pruner
from nas.spec import FinalSpec, JobSpec
from nas.store import workers
from nas.store.clock import elapsed_s, time_at
from nas.store.session import now
from nas.store.states import BUSY_TRIAL, SEARCHING, Phase, TrialState
from nas.store.tables import Dataset, Epoch, Job, Trial

REPORT_S: Final = 12.0
"""What exporting and verifying the winner takes, about, whatever the networks."""

VERIFICATIONS: Final = 3
"""Times that the winner's test images are scored again: in a fresh process, by two runtimes."""

LARGEST_SHARE: Final = 0.5
"""Of `budget.seconds` that the retraining may take; a larger one is made smaller."""

PREPARATION_SHARES: Final = {Phase.SCREENING: 0.1, Phase.SUPERNET: 0.3}
"""Of `budget.seconds` that the preparation may take."""

REFERENCE: Final = 0.35
"""Of a cell network's training, what that of a plain residual network of as many parameters takes, at the most."""

FEWEST_SHARE: Final = 2 / 3
"""Of a search trial's epochs that a retraining should have at least; before it has fewer, there are fewer seeds."""

MARGIN: Final = 1.05
"""By which the retraining is thought to take longer than the epochs of the search let one expect."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Why a stage cannot be trained any more.

    Attributes:
        text: for whoever reads the job.
        over: whether the search ends with that; otherwise trials that are paused may still go on.
    """

    text: str
    over: bool


def spent(session: Session, job: Job, spec: JobSpec, begin: int, stage: int, lease_s: float) -> Spent | None:
    """Why a further stage does not fit into the budget of a job whose row is locked; None if it does.

    As long as no trial was trained to the end, room is kept for what the furthest one still needs.

    Args:
        session, job, spec, lease_s: of the job.
        begin, stage: epochs that the trial has done, and at which it is compared next.
    """
    deadline = search_deadline(session, job, spec, lease_s)
    begun = job.next_number > job.prepared  # a job without a single trial would fail, however little time it has
    if deadline is not None and begun and now(session) >= deadline:
        return Spent(f"the search ended in time for a job of {spec.budget.seconds:g} s, as its budget says", over=True)
    total = spec.budget.total_epochs
    if total is None:
        return None
    whole = spec.budget.epochs
    # A trial that is never paused has its whole training promised as it begins: nobody would take up the rest.
    pauses = make_pruner(spec.pruning).annealed
    until = func.coalesce(func.nullif(Trial.stage, 0), Trial.epochs) if pauses else Trial.epochs
    promised = session.scalar(
        select(func.sum(until - Trial.epoch)).where(
            Trial.job_id == job.id, Trial.phase.in_(SEARCHING), Trial.state.in_(BUSY_TRIAL)
        )
    )
    held = min(_held_back(session, job, whole), whole - stage)
    if job.search_epochs + (promised or 0) + (stage if pauses else whole) - begin + held <= total:
        return None
    text = f"the search ended after {job.search_epochs:,} of {total:,} epochs: no stage fits any more"
    return Spent(text, over=False)


def _held_back(session: Session, job: Job, whole: int) -> int:
    """As nas.search.pruning.held_back has it of a history: what the furthest trial needs, until one is complete."""
    rows = session.execute(
        select(Trial.state, func.max(Trial.epoch))
        .where(Trial.job_id == job.id, Trial.phase == Phase.SEARCH, Trial.state.in_((*BUSY_TRIAL, *_STANDING)))
        .group_by(Trial.state)
    )
    states = dict(row for row in rows)
    if TrialState.COMPLETE in states:
        return 0
    return whole - max(states.values(), default=0)


_STANDING: Final = (TrialState.PAUSED, TrialState.COMPLETE)


def search_deadline(
    session: Session, job: Job, spec: JobSpec, lease_s: float, phase: Phase = Phase.SEARCH
) -> datetime | None:
    """When a phase has to end for the job to end in time; None without a limit, and before the job has begun."""
    seconds = spec.budget.seconds
    if seconds is None or job.started_at is None:
        return None
    if phase in PREPARATION_SHARES:
        return time_at(job, PREPARATION_SHARES[phase] * seconds)
    kept = LARGEST_SHARE * seconds
    epoch_s = _epoch_s(session, job)
    if epoch_s is not None:
        pace = _Pace.of(session, job, spec, epoch_s, lease_s)
        kept = min(kept, pace.takes_s(pace.fitting(spec.final, kept)))
    return time_at(job, seconds - kept)


@dataclass(frozen=True, slots=True)
class Plan:
    """How the retraining is done, so that the job ends in time.

    Attributes:
        final: as the job says, or less of it.
        note: what is less; empty if nothing is.
    """

    final: FinalSpec
    note: str = ""


def plan_finals(session: Session, job: Job, spec: JobSpec, trial_id: int | None, lease_s: float) -> Plan:
    """The retraining that fits into what is left of `budget.seconds`: with fewer epochs, then seeds, then controls.

    Args:
        session, job, spec, lease_s: of the job.
        trial_id: of a search trial whose epochs took as long as the retraining's will.
    """
    seconds = spec.budget.seconds
    if seconds is None or job.started_at is None or trial_id is None:
        return Plan(spec.final)
    epoch_s = session.scalar(select(func.avg(Epoch.seconds)).where(Epoch.trial_id == trial_id)) or 1.0
    left_s = seconds - elapsed_s(job, now(session))
    planned = _Pace.of(session, job, spec, epoch_s, lease_s).fitting(spec.final, left_s)
    return Plan(planned, _less(spec.final, planned, seconds))


def fit_controls(session: Session, job: Job, spec: JobSpec, planned: FinalSpec, trial_id: int, lease_s: float) -> Plan:
    """The controls that there is time for after the finalists, which say how long one takes.

    Args:
        session, job, spec, lease_s: of the job.
        planned: how the finalists were retrained.
        trial_id: of one of their retrainings.
    """
    if spec.budget.seconds is None or job.started_at is None:
        return Plan(planned)
    epoch_s = session.scalar(select(func.avg(Epoch.seconds)).where(Epoch.trial_id == trial_id)) or 1.0
    left_s = spec.budget.seconds - elapsed_s(job, now(session))
    pace = _Pace.of(session, job, spec, epoch_s, lease_s)
    left_s -= pace.report_s(planned)
    rounds = left_s / (planned.epochs * epoch_s * MARGIN) - REFERENCE * planned.seeds / pace.lanes
    controls = max(1, min(planned.controls, int(rounds) * pace.lanes // planned.seeds))
    fitting = planned.model_copy(update={"controls": controls})
    return Plan(fitting, _less(planned, fitting, spec.budget.seconds))


@dataclass(frozen=True, slots=True)
class _Pace:
    """How long the retraining of a job takes.

    Attributes:
        epoch_s: an epoch of one network.
        once_s: the test images once through one network.
        lanes: networks that are trained side by side.
        fewest: epochs below which there are rather fewer seeds.
    """

    epoch_s: float
    once_s: float
    lanes: int
    fewest: int

    @classmethod
    def of(cls, session: Session, job: Job, spec: JobSpec, epoch_s: float, lease_s: float) -> Self:
        """An epoch goes forward and back through the training images, which is thrice as much as forward."""
        data = session.get_one(Dataset, job.dataset_id)
        alive = max(1, len(workers.alive(session, lease_s)))
        lanes = min(alive, spec.budget.parallel or alive)
        once_s = epoch_s * data.test / (3 * data.train + data.validation)
        return cls(epoch_s, once_s, lanes, max(1, min(spec.final.epochs, ceil(FEWEST_SHARE * spec.budget.epochs))))

    def takes_s(self, final: FinalSpec) -> float:
        """The retraining with its report."""
        return self._rounds(final) * final.epochs * self.epoch_s * MARGIN + self.report_s(final)

    def report_s(self, final: FinalSpec) -> float:
        """The report, which scores the test images by every retraining of the winner and its opponents."""
        return REPORT_S + self.once_s * ((final.controls + 2) * final.seeds + VERIFICATIONS)

    def fitting(self, final: FinalSpec, left_s: float) -> FinalSpec:
        """What there is time for: as many seeds as can have the fewest epochs; a single control before no model."""
        choices = [{"seeds": seeds} for seeds in range(final.seeds, 0, -1)] + [{"seeds": 1, "controls": 1}]
        for choice in choices:
            planned = final.model_copy(update=choice)
            epochs = int((left_s - self.report_s(planned)) / (self._rounds(planned) * self.epoch_s * MARGIN))
            if epochs >= self.fewest:
                break
        return planned.model_copy(update={"epochs": max(1, min(final.epochs, epochs))})

    def _rounds(self, final: FinalSpec) -> float:
        """Trainings one after the other: with several finalists these first, because the winner's opponents need it.

        The reference comes last, on workers that have nothing else to do in the last round, and then on all of them.
        """
        first = final.finalists * final.seeds if final.finalists > 1 else 0
        second = (final.controls + (final.finalists == 1)) * final.seeds
        idle = -second % self.lanes
        left = max(0.0, REFERENCE * final.seeds - idle) / self.lanes
        return ceil(first / self.lanes) + ceil(second / self.lanes) + left


def _epoch_s(session: Session, job: Job) -> float | None:
    """What an epoch of the incumbent takes, or of all trials so far; None before the first one."""
    best = None
    if job.best_trial is not None:
        best = session.scalar(
            select(func.avg(Epoch.seconds))
            .join(Trial, Trial.id == Epoch.trial_id)
            .where(Trial.job_id == job.id, Trial.number == job.best_trial)
        )
    epochs = job.search_epochs + job.final_epochs
    return best or (job.train_seconds / epochs if epochs else None)


def _less(asked: FinalSpec, planned: FinalSpec, seconds: float) -> str:
    changes = [
        f"final.{name} became {getattr(planned, name)} instead of {getattr(asked, name)}"
        for name in ("epochs", "seeds", "controls")
        if getattr(planned, name) != getattr(asked, name)
    ]
    return f"to end within {seconds:g} s, " + " and ".join(changes) if changes else ""
