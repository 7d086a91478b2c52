"""What a list shows of each of its jobs, read of all of them at once: as many questions for a hundred as for one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session, load_only

from nas.store import workers
from nas.store.dashboard import RUNNING_SHOWN
from nas.store.progress import make_plan, phase, progress, retrained
from nas.store.queue import fits
from nas.store.session import now
from nas.store.specs import known_spec_of
from nas.store.states import JobState, Phase, TrialState
from nas.store.tables import Dataset, Incumbent, Job, Tally, Trial
from nas.store.thinning import ends_and_between
from nas.train.tasks import SCORE

SPARK: Final = 30
"""Values of a sparkline."""


@dataclass(frozen=True, eq=False, slots=True)
class Overview:
    """A job in a list.

    Attributes:
        job: its row.
        metric, phase, fraction: as the dashboard has them.
        spark: accuracies of its incumbents, the last one the best.
    """

    job: Job
    metric: str
    phase: str
    fraction: float
    spark: list[float]


def overviews(session: Session, jobs: Sequence[Job], lease_s: float) -> list[Overview]:
    """An overview of each of the jobs, in their order.

    Args:
        session: of the jobs.
        jobs: to be shown.
        lease_s: a worker that was not seen for so long is gone.
    """
    if not jobs:
        return []
    ids = [job.id for job in jobs]
    moment = now(session)
    alive = Counter(worker.device for worker in workers.alive(session, lease_s))
    tallies: dict[str, dict[tuple[Phase, TrialState], int]] = {job_id: {} for job_id in ids}
    counted = select(Tally.job_id, Tally.phase, Tally.state, Tally.count).where(Tally.job_id.in_(ids), Tally.count > 0)
    for job_id, of, state, count in session.execute(counted):
        tallies[job_id][of, state] = count
    of_jobs = select(Dataset.id, Dataset.task).where(Dataset.id.in_({job.dataset_id for job in jobs}))
    tasks = {row.id: row.task for row in session.execute(of_jobs)}
    finals = retrained(session, ids)
    supernets, running, sparks = _supernets(session, ids), _running(session, ids), _sparks(session, ids)
    found = []
    for job in jobs:
        counts, metric, spark = tallies[job.id], SCORE[tasks[job.dataset_id]], sparks.get(job.id, [])
        spec = known_spec_of(job)
        if spec is None:  # what it was to do is not known here, and how it stands is
            found.append(Overview(job, metric, phase(job, counts), float(job.state == JobState.SUCCEEDED), spark))
            continue
        shown = progress(
            job,
            spec,
            make_plan(job, spec, counts, finals.get(job.id, ())),
            counts,
            supernet=supernets.get(job.id),
            running=running.get(job.id, [])[:RUNNING_SHOWN],
            alive=sum(count for device, count in alive.items() if fits(job.device, device)),
            moment=moment,
        )
        found.append(Overview(job, metric, phase(job, counts), shown.fraction, spark))
    return found


_PART: Final = (Trial.job_id, Trial.phase, Trial.state, Trial.epoch, Trial.epochs, Trial.stage)
"""What is asked of a trial for its job's progress."""


def _supernets(session: Session, ids: list[str]) -> dict[str, Trial]:
    """Job → its first trial that trains a supernet."""
    trained = select(Trial).where(Trial.job_id.in_(ids), Trial.phase == Phase.SUPERNET).order_by(Trial.number.desc())
    return {trial.job_id: trial for trial in session.scalars(trained.options(load_only(*_PART)))}


def _running(session: Session, ids: list[str]) -> dict[str, list[Trial]]:
    """Job → its running trials: of all jobs together no more than there are workers."""
    at_work = select(Trial).where(Trial.job_id.in_(ids), Trial.state == TrialState.RUNNING).order_by(Trial.id + 0)
    found: dict[str, list[Trial]] = {}
    for trial in session.scalars(at_work.options(load_only(*_PART))):
        found.setdefault(trial.job_id, []).append(trial)
    return found


def _sparks(session: Session, ids: list[str]) -> dict[str, list[float]]:
    """Job → the accuracies of its incumbents, the first, the last, and some between."""
    best = select(Incumbent.job_id, Incumbent.accuracy).where(Incumbent.job_id.in_(ids))
    found: dict[str, list[float]] = {}
    for job_id, accuracy in session.execute(best.order_by(Incumbent.job_id, Incumbent.at_s, Incumbent.number)):
        found.setdefault(job_id, []).append(accuracy)
    return {job_id: ends_and_between(values, SPARK) for job_id, values in found.items()}
