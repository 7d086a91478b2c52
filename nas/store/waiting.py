"""What a job waits for when none of its trials is running, at a cost of the active jobs and the running trials."""

from dataclasses import dataclass
from math import ceil
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from nas.search.pruning import make_pruner
from nas.store import workers
from nas.store.queue import Standing, fits, standings
from nas.store.session import now
from nas.store.specs import known_spec_of
from nas.store.states import JobState, TrialState
from nas.store.tables import Dataset, Epoch, Job, Trial

START_ONE: Final = {
    "any": ("no_worker", "no worker is alive; start one with `nas worker`, or more with `nas serve --workers N`"),
    "gpu": (
        "no_gpu_worker",
        "it asks for a GPU, and no worker on one is alive; start one with `nas worker --device cuda`",
    ),
    "cpu": (
        "no_cpu_worker",
        "it asks for a CPU, and no worker on one is alive; start one with `nas worker --device cpu`",
    ),
    "ray": (
        "no_ray_worker",
        "it runs on Ray, and no worker that is alive has Ray; `pip install 'nas-service[ray]'` where one is started",
    ),
}
"""Device that a job asks for, or Ray → reason and text where no worker has it."""

DRIVING: Final = (
    "worker {driver} drives it on Ray: what comes next is being planned, the cluster is starting, or none of its nodes "
    "has the job's `resources` free; if that lasts, add nodes, or ask for less"
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why nothing of a job is running.

    Attributes:
        reason: no_worker, no_gpu_worker, no_cpu_worker, no_ray_worker, driving, all_busy, paused,
            dataset_not_ready or starting.
        text: the same for a person, with what to do about it; it names no other job.
        position: in the queue, from 1; None where there is no queue.
        eta_s: when a worker is expected to take it; None if nobody knows.
    """

    reason: str
    text: str
    position: int | None = None
    eta_s: float | None = None


def waiting(session: Session, job: Job, lease_s: float) -> Waiting:
    """Why nothing is running of a job that has work.

    Args:
        session: to read in.
        job: that waits.
        lease_s: a worker that was not seen for so long is not alive.
    """
    if job.state == JobState.PAUSED:
        return Waiting(
            "paused", f"it is paused; `nas jobs resume {job.id}` or POST /v1/jobs/{job.id}/resume lets it go on"
        )
    data = session.get_one(Dataset, job.dataset_id)
    if data.unready_until is not None and (left_s := (data.unready_until - now(session)).total_seconds()) > 0:
        why = (data.unready or "it could not be read").rstrip(".")
        return Waiting("dataset_not_ready", f"its data set is not ready: {why}; the next try is soon", eta_s=left_s)
    alive = workers.alive(session, lease_s)
    ray = job.engine == "ray"
    if ray and job.driver is not None and job.driver_until is not None and job.driver_until > now(session):
        return Waiting("driving", DRIVING.format(driver=job.driver))
    suited = {worker.id for worker in alive if (worker.ray if ray else fits(job.device, worker.device))}
    if not suited:
        return Waiting(*(START_ONE["ray"] if ray and alive else START_ONE[job.device if alive and not ray else "any"]))
    busy = _left_s(session, suited)
    free = len(suited) - len(busy)
    before = _before(standings(session), job.id)
    position = len(before) + 1
    if position <= free:
        return Waiting("starting", "a worker takes it within seconds", position, 0.0)
    which = "the only worker" if len(suited) == 1 else f"all {len(suited)} workers"
    text = f"{which} that may train it will be busy before; start more with `nas worker` or `nas serve --workers N`"
    return Waiting("all_busy", text, position, _eta_s(list(busy.values()), position - free, job, before))


def _before(found: list[Standing], job_id: str) -> list[Standing]:
    """The jobs that have work for a worker and are served before a job; one that has to be moved on waits for none."""
    mine = next((index for index, seen in enumerate(found) if seen.job_id == job_id), 0)
    if not found or not found[mine].offers:
        return []
    return [seen for seen in found[:mine] if seen.offers]


def _eta_s(left_s: list[float | None], turn: int, job: Job, before: list[Standing]) -> float | None:
    """Until the worker is free whose turn it is: whoever stands before takes one each, and is then served last.

    A job of a higher priority is served first again and again, for nobody knows how long.
    """
    known = sorted(seconds for seconds in left_s if seconds is not None)
    if turn > len(known) or any(seen.priority > job.priority for seen in before):
        return None
    return float(ceil(known[turn - 1]))


def _left_s(session: Session, suited: set[str]) -> dict[str, float | None]:
    """Worker → seconds that it needs for what it runs, of those that run something; None where nobody knows.

    An epoch takes as long as the trial's last one, or as those of its job so far.
    """
    rows = session.execute(
        select(Trial.owner, Trial.epoch, Trial.epochs, Trial.stage, Epoch.seconds, Job)
        .join(Job, Job.id == Trial.job_id)
        .outerjoin(Epoch, (Epoch.trial_id == Trial.id) & (Epoch.epoch == Trial.epoch))
        .where(Trial.state == TrialState.RUNNING)
    )
    left: dict[str, float | None] = {}
    for worker, epoch, epochs, stage, epoch_s, job in rows:
        if worker not in suited:
            continue
        done = job.search_epochs + job.final_epochs
        takes_s = epoch_s if epoch_s is not None else (job.train_seconds / done if done else None)
        spec = known_spec_of(job)
        if takes_s is None or spec is None:
            left[worker] = None
            continue
        pauses = stage and make_pruner(spec.pruning).annealed
        left[worker] = takes_s * ((stage if pauses else epochs) - epoch)
    return left
