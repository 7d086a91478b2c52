"""What the dashboard shows of a job, at a cost that does not grow with its trials.

Only counters, the incumbents, the running trials, and a bounded part of the Pareto set and of the supernet's epochs are
read, each by an index; a test counts the rows. Whoever has read it before reads them again only when the job's version
has grown since; what follows the clock, the workers or other jobs is found anew each time.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session, load_only

from nas.objectives import ObjectiveForm, in_order
from nas.spec import JobSpec
from nas.store import pareto
from nas.store.jobs import get
from nas.store.pareto import Member
from nas.store.progress import Plan, Progress, Tallies, finished, phase, progress, read_plan
from nas.store.queue import fits
from nas.store.session import now
from nas.store.specs import metric_of, spec_of
from nas.store.states import ACTIVE_JOB, BUSY_TRIAL, Phase, TrialState
from nas.store.tables import Dataset, Epoch, Incumbent, Job, Tally, Trial, Worker
from nas.store.waiting import Waiting, waiting

RUNNING_SHOWN: Final = 100
INCUMBENTS_SHOWN: Final = 200
EPOCHS_SHOWN: Final = 200

WAITING_HOLDS: Final = timedelta(seconds=1)
"""Why a job waits follows other jobs too, of which no stamp tells; to look at them all takes longer than the rest."""

Stamp: TypeAlias = tuple[Any, ...]
"""Of a job's rows: those that were read under one need not be read again under it."""


@dataclass(frozen=True, eq=False, slots=True)
class Supernet:
    """The training of the network in which all candidates share their weights.

    Attributes:
        trial: of it.
        epochs: the newest ones, ascending.
    """

    trial: Trial
    epochs: list[Epoch]


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """What the rows say of a job, as long as its stamp stays the same."""

    stamp: Stamp
    job: Job
    spec: JobSpec
    dataset: str
    metric: str
    objectives: list[ObjectiveForm]
    tallies: Tallies
    plan: Plan
    phase: str
    counts: dict[str, int]
    phases: dict[str, dict[str, int]]
    best: Trial | None
    incumbents: list[Incumbent]
    pareto: list[Member] | None
    supernet: Supernet | None
    running: list[Trial]

    @property
    def active(self) -> bool:
        """Whether workers have something to do; a network can be retrained when its job has long ended."""
        retrained = any(self.tallies.get((Phase.RETRAIN, state), 0) for state in BUSY_TRIAL)
        return self.job.state in ACTIVE_JOB or retrained


@dataclass(frozen=True, eq=False, slots=True)
class Dashboard:
    """Everything that GET /v1/jobs/{id}/dashboard answers, but for the links.

    Attributes:
        rows: what follows from the rows.
        workers: alive, of each kind of device.
        progress: follows the clock as well.
        waiting: follows workers and other jobs as well; None while something runs, or nothing is to be done.
        waiting_at: when that was found.
    """

    rows: Rows
    workers: dict[str, int]
    progress: Progress
    waiting: Waiting | None
    waiting_at: datetime


def dashboard(session: Session, job_id: str, lease_s: float, before: Dashboard | None = None) -> Dashboard:
    """Reads the dashboard of a job. Raises NotFound.

    Args:
        session, job_id, lease_s: of the job.
        before: an earlier one; what still holds of it is taken over.
    """
    moment = now(session)
    stamp, workers = _pulse(session, job_id, moment - timedelta(seconds=lease_s))
    holds = before is not None and before.rows.stamp == stamp
    rows = before.rows if before is not None and holds else _read(session, job_id, stamp)
    alive = sum(count for kind, count in workers.items() if fits(rows.job.device, kind))
    found, found_at = None, moment
    if rows.active and not rows.running:
        if before is not None and holds and before.workers == workers and moment - before.waiting_at < WAITING_HOLDS:
            found, found_at = before.waiting, before.waiting_at
        else:
            found = waiting(session, rows.job, lease_s)
    return Dashboard(
        rows=rows,
        workers=workers,
        progress=progress(
            rows.job,
            rows.spec,
            rows.plan,
            rows.tallies,
            supernet=rows.supernet.trial if rows.supernet else None,
            running=rows.running,
            alive=alive,
            moment=moment,
        ),
        waiting=found,
        waiting_at=found_at,
    )


def _pulse(session: Session, job_id: str, since: datetime) -> tuple[Stamp | None, dict[str, int]]:
    """The stamp of a job, None if there is no such job; and how many workers of each kind were seen since."""
    found = session.execute(_PULSE, {"job": job_id, "since": since}).first()
    if found is None:
        return None, {}
    *stamp, alive, on_cpu = found
    return tuple(stamp), {"cpu": on_cpu, "gpu": alive - on_cpu}


_ALIVE: Final = select(func.count()).select_from(Worker).where(Worker.seen_at >= bindparam("since"))
_PULSE: Final = select(
    # The times stand for themselves: who moves them for the clock's sake alone need not count it as a change.
    Job.version,
    Job.state,
    Job.started_at,
    Job.finished_at,
    Job.paused_at,
    Job.paused_s,
    _ALIVE.scalar_subquery(),
    _ALIVE.where(Worker.device.startswith("cpu")).scalar_subquery(),
).where(Job.id == bindparam("job"))
"""The one question of a poll to which nothing is new; made once, as that takes as long as asking it."""


def _read(session: Session, job_id: str, stamp: Stamp | None) -> Rows:
    job = get(session, job_id)
    spec = spec_of(job)
    counted = select(Tally.phase, Tally.state, Tally.count).where(Tally.job_id == job_id, Tally.count > 0)
    tallies = {(of, state): count for of, state, count in session.execute(counted)}
    best = None
    if job.best_trial is not None:
        best = session.scalars(select(Trial).where(Trial.job_id == job_id, Trial.number == job.best_trial)).one()
    plan = read_plan(session, job, spec, tallies)
    dataset = session.get_one(Dataset, job.dataset_id)
    return Rows(
        stamp=stamp or (),
        job=job,
        spec=spec,
        dataset=dataset.name,
        metric=metric_of(session, job),
        objectives=in_order(spec.objectives),
        tallies=tallies,
        plan=plan,
        phase=phase(job, tallies),
        counts={
            state: sum(count for (_, of), count in tallies.items() if of == state) for state in map(str, TrialState)
        },
        phases={of: {"finished": finished(tallies, of), "planned": plan.trials[of]} for of in Phase},
        best=best,
        incumbents=_incumbents(session, job_id),
        pareto=pareto.newest(session, job, spec) if len(spec.objectives) > 1 else None,
        supernet=_supernet(session, job, tallies),
        running=_running(session, job_id),
    )


def _running(session: Session, job_id: str) -> list[Trial]:
    """The running trials, without their candidates, in the order in which they were added."""
    shown = (Trial.number, Trial.phase, Trial.owner, Trial.epoch, Trial.epochs, Trial.stage, Trial.accuracy)
    running = select(Trial).where(Trial.job_id == job_id, Trial.state == TrialState.RUNNING)
    # A sum, because no index is in its order: one that is would be walked through until enough of them were met.
    running = running.order_by(Trial.id + 0)
    return list(session.scalars(running.limit(RUNNING_SHOWN).options(load_only(*shown))).all())


def _incumbents(session: Session, job_id: str) -> list[Incumbent]:
    """The newest incumbents, ascending."""
    latest = select(Incumbent).where(Incumbent.job_id == job_id).order_by(Incumbent.at_s.desc())
    return list(reversed(session.scalars(latest.limit(INCUMBENTS_SHOWN)).all()))


def _supernet(session: Session, job: Job, tallies: Tallies) -> Supernet | None:
    if not any(tallies.get((Phase.SUPERNET, state), 0) for state in TrialState):
        return None
    trial = session.scalars(
        select(Trial).where(Trial.job_id == job.id, Trial.phase == Phase.SUPERNET).order_by(Trial.number).limit(1)
    ).one()
    newest = select(Epoch).where(Epoch.trial_id == trial.id).order_by(Epoch.epoch.desc()).limit(EPOCHS_SHOWN)
    return Supernet(trial, list(reversed(session.scalars(newest).all())))
