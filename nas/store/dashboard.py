"""What the dashboard shows of a job, at a cost that does not grow with its trials.

Only counters, the incumbents and the running trials are read, each by an index; a test counts the rows.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from nas.spec import JobSpec
from nas.store import workers
from nas.store.jobs import get
from nas.store.session import now
from nas.store.states import ACTIVE_JOB, ACTIVE_TRIAL, FINISHED_TRIAL, JobState, Phase, TrialState
from nas.store.tables import Dataset, Incumbent, Job, Tally, Trial

UNKNOWN_SHARE = 0.6
"""Of a full trial's epochs: what a trial is expected to use before any has ended."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is. `fraction` counts epochs; `trials_…` count search trials."""

    fraction: float
    trials_finished: int
    trials_planned: int
    elapsed_s: float
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Everything that GET /v1/jobs/{id}/dashboard answers, but for the links."""

    job: Job
    dataset: str
    phase: str
    progress: Progress
    counts: dict[str, int]
    phases: dict[str, dict[str, int]]
    best: Trial | None
    incumbents: list[Incumbent]
    running: list[Trial]
    waiting: str | None


def dashboard(session: Session, job_id: str, lease_s: float) -> Dashboard:
    """Reads the dashboard of a job. Raises NotFound."""
    job = get(session, job_id)
    tallies = {
        (tally.phase, tally.state): tally.count
        for tally in session.scalars(select(Tally).where(Tally.job_id == job_id))
    }
    active = job.state in ACTIVE_JOB
    alive = len(workers.alive(session, lease_s)) if active else 0
    running = session.scalars(
        select(Trial).where(Trial.job_id == job_id, Trial.state == TrialState.RUNNING).order_by(Trial.number).limit(100)
    ).all()
    latest = select(Incumbent).where(Incumbent.job_id == job_id)
    best = None
    if job.best_trial is not None:
        best = session.scalars(select(Trial).where(Trial.job_id == job_id, Trial.number == job.best_trial)).one()
    return Dashboard(
        job=job,
        dataset=session.get_one(Dataset, job.dataset_id).name,
        phase=_phase(job, tallies),
        progress=_progress(job, tallies, alive, now(session)),
        counts={
            state: sum(count for (_, of), count in tallies.items() if of == state) for state in map(str, TrialState)
        },
        phases=_phases(job, tallies),
        best=best,
        incumbents=list(reversed(session.scalars(latest.order_by(Incumbent.at_s.desc()).limit(200)).all())),
        running=list(running),
        waiting=_waiting(session, job, alive) if active and not running else None,
    )


def _finished(tallies: dict[tuple[Phase, TrialState], int], *phases: Phase) -> int:
    return sum(tallies.get((phase, state), 0) for phase in phases for state in FINISHED_TRIAL)


def _phases(job: Job, tallies: dict[tuple[Phase, TrialState], int]) -> dict[str, dict[str, int]]:
    final = JobSpec.model_validate(job.spec).final
    planned = {
        Phase.SEARCH: job.trials_planned,
        Phase.FINALIST: final.finalists * final.seeds,
        Phase.CONTROL: final.controls * final.seeds,
        Phase.REFERENCE: final.seeds,
        Phase.REPORT: 1,
    }
    return {phase: {"finished": _finished(tallies, phase), "planned": planned[phase]} for phase in Phase}


def _phase(job: Job, tallies: dict[tuple[Phase, TrialState], int]) -> str:
    """The first phase that has work left; `done` when the job has ended."""
    if job.state not in ACTIVE_JOB:
        return "done"
    if job.state != JobState.FINALIZING:
        return Phase.SEARCH
    begun = [phase for phase in Phase if any(count for (of, _), count in tallies.items() if of == phase)]
    at_work = [phase for phase in begun if any(tallies.get((phase, state), 0) for state in ACTIVE_TRIAL)]
    return (at_work or begun[-1:])[0]


def _progress(job: Job, tallies: dict[tuple[Phase, TrialState], int], alive: int, moment: datetime) -> Progress:
    spec = JobSpec.model_validate(job.spec)
    finished = _finished(tallies, Phase.SEARCH)
    final = spec.final
    final_total = (final.finalists + final.controls + 1) * final.seeds * final.epochs
    if job.state in (JobState.QUEUED, JobState.RUNNING):
        each = job.search_epochs / finished if finished else UNKNOWN_SHARE * spec.budget.epochs
        search_left = max(0.0, job.trials_planned * min(each, spec.budget.epochs) - job.search_epochs)
        if spec.budget.seconds is not None and job.started_at is not None and job.train_seconds:
            rate = job.search_epochs * max(1, alive) / job.train_seconds
            left_s = max(0.0, spec.budget.seconds - (moment - job.started_at).total_seconds())
            search_left = min(search_left, left_s * rate)
    else:
        search_left = 0.0
    done = job.search_epochs + job.final_epochs
    left = search_left + max(0, final_total - job.final_epochs)
    elapsed = ((job.finished_at or moment) - job.started_at).total_seconds() if job.started_at else 0.0
    eta = None
    if alive and done and job.state in ACTIVE_JOB:
        lanes = min(alive, spec.budget.parallel or alive)
        eta = left * job.train_seconds / done / lanes
    return Progress(
        fraction=1.0 if job.state == JobState.SUCCEEDED else min(0.999, done / (done + left) if done else 0.0),
        trials_finished=finished,
        trials_planned=job.trials_planned,
        elapsed_s=elapsed,
        eta_s=eta,
    )


def _waiting(session: Session, job: Job, alive: int) -> str:
    if not alive:
        return "no worker is alive; start one with `nas worker`, or more with `nas serve --workers N`"
    earlier = session.scalar(
        select(func.count()).select_from(Job).where(Job.state.in_(ACTIVE_JOB), Job.created_at < job.created_at)
    )
    if earlier:
        return f"{earlier} earlier job{'s' if earlier > 1 else ''} first: workers take the oldest job that has work"
    return "a worker takes it within seconds"
