"""What the dashboard shows of a job, at a cost that does not grow with its trials.

Only counters, the incumbents, the running trials, and a bounded part of the Pareto set and of the supernet's epochs are
read, each by an index; a test counts the rows.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from nas.objectives import ObjectiveForm, in_order
from nas.spec import JobSpec
from nas.store import pareto, workers
from nas.store.jobs import get
from nas.store.pareto import Member
from nas.store.progress import Progress, Tallies, finished, phase, progress, read_plan
from nas.store.session import now
from nas.store.states import ACTIVE_JOB, BUSY_TRIAL, Phase, TrialState
from nas.store.tables import Dataset, Epoch, Incumbent, Job, Tally, Trial
from nas.store.waiting import Waiting, waiting

RUNNING_SHOWN: Final = 100
INCUMBENTS_SHOWN: Final = 200
EPOCHS_SHOWN: Final = 200


@dataclass(frozen=True, eq=False, slots=True)
class Supernet:
    """The training of the network in which all candidates share their weights.

    Attributes:
        trial: of it.
        epochs: the newest ones, ascending.
    """

    trial: Trial
    epochs: list[Epoch]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Everything that GET /v1/jobs/{id}/dashboard answers, but for the links."""

    job: Job
    dataset: str
    objectives: list[ObjectiveForm]
    phase: str
    progress: Progress
    counts: dict[str, int]
    phases: dict[str, dict[str, int]]
    best: Trial | None
    incumbents: list[Incumbent]
    pareto: list[Member] | None
    supernet: Supernet | None
    running: list[Trial]
    waiting: Waiting | None


def dashboard(session: Session, job_id: str, lease_s: float) -> Dashboard:
    """Reads the dashboard of a job. Raises NotFound."""
    job = get(session, job_id)
    spec = JobSpec.model_validate(job.spec)
    tallies = {
        (tally.phase, tally.state): tally.count
        for tally in session.scalars(select(Tally).where(Tally.job_id == job_id))
    }
    # A network can be retrained when its job has long ended.
    active = job.state in ACTIVE_JOB or any(tallies.get((Phase.RETRAIN, state), 0) for state in BUSY_TRIAL)
    alive = len(workers.alive(session, lease_s)) if active else 0
    running = session.scalars(
        select(Trial)
        .where(Trial.job_id == job_id, Trial.state == TrialState.RUNNING)
        .order_by(Trial.number)
        .limit(RUNNING_SHOWN)
    ).all()
    latest = select(Incumbent).where(Incumbent.job_id == job_id).order_by(Incumbent.at_s.desc())
    best = None
    if job.best_trial is not None:
        best = session.scalars(select(Trial).where(Trial.job_id == job_id, Trial.number == job.best_trial)).one()
    supernet = _supernet(session, job, tallies)
    plan = read_plan(session, job, spec, tallies)
    return Dashboard(
        job=job,
        dataset=session.get_one(Dataset, job.dataset_id).name,
        objectives=in_order(spec.objectives),
        phase=phase(job, tallies),
        progress=progress(
            job,
            spec,
            plan,
            tallies,
            supernet=supernet.trial if supernet else None,
            running=running,
            alive=alive,
            moment=now(session),
        ),
        counts={
            state: sum(count for (_, of), count in tallies.items() if of == state) for state in map(str, TrialState)
        },
        phases={of: {"finished": finished(tallies, of), "planned": plan.trials[of]} for of in Phase},
        best=best,
        incumbents=list(reversed(session.scalars(latest.limit(INCUMBENTS_SHOWN)).all())),
        pareto=pareto.newest(session, job, spec) if len(spec.objectives) > 1 else None,
        supernet=supernet,
        running=list(running),
        waiting=waiting(session, job, alive) if active and not running else None,
    )


def _supernet(session: Session, job: Job, tallies: Tallies) -> Supernet | None:
    if not any(tallies.get((Phase.SUPERNET, state), 0) for state in TrialState):
        return None
    trial = session.scalars(
        select(Trial).where(Trial.job_id == job.id, Trial.phase == Phase.SUPERNET).order_by(Trial.number).limit(1)
    ).one()
    newest = select(Epoch).where(Epoch.trial_id == trial.id).order_by(Epoch.epoch.desc()).limit(EPOCHS_SHOWN)
    return Supernet(trial, list(reversed(session.scalars(newest).all())))
