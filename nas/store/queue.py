"""Whose turn it is: what each job has for a worker, in the order in which workers serve them. One cheap read."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select, union_all
from sqlalchemy.orm import Session, aliased

from nas.store.session import CLOCK
from nas.store.states import ACTIVE_JOB, BUSY_TRIAL, ENDED_JOB, PREPARATION, JobState, Phase, TrialState
from nas.store.tables import OPEN_TALLY, Dataset, Job, Tally


@dataclass(frozen=True, slots=True)
class Standing:
    """A job that is active, or that has trials to be run although it has ended.

    Attributes:
        device: any, cpu or gpu: the workers that may train it.
        engine: what runs its trials.
        driven: whether a worker drives it on Ray, under a lease.
        queued, running: its trials of all phases in these states.
        owner_running: trials that run for its owner, in all jobs.
        owner_served_at: when a worker last took a trial of any of its owner's jobs; None if none ever did.
        room: whether its parallelism allows one more running trial.
        adds: whether its search may add a trial.
        promotes: whether its paused trials may go on.
        leftover: whether trials are paused although the search is over.
        ripe: whether nothing is left to run in its phase, so that it has to be moved on.
        unready: whether its data set cannot be read for now.
    """

    job_id: str
    owner: str
    state: JobState
    priority: int
    device: str
    engine: str
    driven: bool
    queued: int
    running: int
    owner_running: int
    owner_served_at: datetime | None
    served_at: datetime | None
    created_at: datetime
    room: bool
    adds: bool
    promotes: bool
    leftover: bool
    ripe: bool
    unready: bool

    @property
    def offers(self) -> bool:
        """Whether it has something for a worker on a device that it allows."""
        work = self.queued > 0 or self.promotes or self.adds
        return work and self.room and not self.unready and self.state != JobState.PAUSED

    @property
    def drives(self) -> bool:
        """Whether it is a job for Ray that has something to do, and nobody who does it."""
        return self.engine == "ray" and not self.driven and (self.offers or (self.ripe and not self.unready))


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is to do for one worker.

    Attributes:
        offers: jobs that have something for it, in the order in which they are served.
        ripe: jobs that have to be moved on.
        leftover: whether a job whose search is over has paused trials still.
    """

    offers: tuple[Standing, ...]
    ripe: tuple[Standing, ...]
    leftover: bool


def survey(session: Session, device: str, *, ray: bool = False, driving: str | None = None) -> Survey:
    """What there is to do for a worker.

    Args:
        session: to read in.
        device: of the worker: `cpu`, `cuda`, `cuda:1`.
        ray: whether it can drive jobs for Ray; those that nobody drives are among its offers then.
        driving: the job for Ray that it drives; it sees no other one.
    """
    found = standings(session)
    if driving is not None:
        mine = [job for job in found if job.job_id == driving]
        offers = tuple(job for job in mine if job.offers)
    else:
        mine = [job for job in found if job.engine != "ray"]
        suited = {job.job_id for job in mine if job.offers and fits(job.device, device)}
        offers = tuple(job for job in found if job.job_id in suited or (ray and job.drives))
    ripe = tuple(job for job in mine if job.ripe and not job.unready)
    return Survey(offers, ripe, any(job.leftover for job in found))


def fits(wanted: str, device: str) -> bool:
    """Whether a worker on that device may train what a job with that `device` asks for."""
    return wanted in ("any", kind_of(device))


def kind_of(device: str) -> str:
    """`cpu` or `gpu`: of a worker's device."""
    return "cpu" if device.startswith("cpu") else "gpu"


def standings(session: Session) -> list[Standing]:
    """All jobs that workers have to do with, in the order in which they are served.

    By priority; then the owners with the fewest running trials, and of these who was served longest ago; then of an
    owner's jobs in the same way. A job or an owner that nobody has served waits since its creation.
    """
    rows = session.connection().execute(STANDINGS).all()
    running: dict[str, int] = {}
    since: dict[str, datetime] = {}
    for row in rows:
        running[row.owner] = running.get(row.owner, 0) + row.running
        since[row.owner] = row.owner_served_at or min(row.created_at, since.get(row.owner, row.created_at))
    return sorted((_standing(row, running[row.owner]) for row in rows), key=lambda job: _turn(job, since))


def _turn(job: Standing, since: dict[str, datetime]) -> tuple[Any, ...]:
    owner = (job.owner_running, since[job.owner], job.owner)
    return -job.priority, *owner, job.running, job.served_at or job.created_at, job.created_at, job.job_id


def _standing(row: Any, owner_running: int) -> Standing:
    exhausted = row.search_over or row.next_number >= row.trials_planned
    searching = row.state in (JobState.QUEUED, JobState.RUNNING)
    return Standing(
        job_id=row.id,
        owner=row.owner,
        state=row.state,
        priority=row.priority,
        device=row.device,
        engine=row.engine,
        driven=row.driver_until is not None and row.driver_until > row.moment,
        queued=row.queued,
        running=row.running,
        owner_running=owner_running,
        owner_served_at=row.owner_served_at,
        served_at=row.served_at,
        created_at=row.created_at,
        room=row.parallel is None or row.running < row.parallel,
        adds=searching and not exhausted and not row.preparing,
        promotes=row.state == JobState.RUNNING and not row.search_over and row.paused > 0,
        leftover=row.state in (JobState.FINALIZING, *ENDED_JOB) and row.paused > 0,
        ripe=not row.busy and (row.state == JobState.FINALIZING or (row.state == JobState.RUNNING and exhausted)),
        unready=row.unready_until is not None and row.unready_until > row.moment,
    )


def _sum(condition: ColumnElement[bool]) -> Any:
    return func.sum(case((condition, Tally.count), else_=0))


_BUSY = Tally.state.in_(BUSY_TRIAL)
_OPEN = (
    select(
        Tally.job_id,
        _sum(Tally.state == TrialState.QUEUED).label("queued"),
        _sum(Tally.state == TrialState.RUNNING).label("running"),
        _sum(Tally.state == TrialState.PAUSED).label("paused"),
        _sum(Tally.phase.in_(PREPARATION) & _BUSY).label("preparing"),
        _sum((Tally.phase != Phase.RETRAIN) & _BUSY).label("busy"),
    )
    .where(OPEN_TALLY)
    .group_by(Tally.job_id)
    .subquery()
)
_OTHER = aliased(Job)


def _jobs() -> Select[*tuple[Any, ...]]:
    return select(
        Job.id,
        Job.owner,
        Job.state,
        Job.priority,
        Job.device,
        Job.engine,
        Job.driver_until,
        Job.parallel,
        Job.next_number,
        Job.trials_planned,
        Job.search_over,
        Job.served_at,
        Job.created_at,
        Dataset.unready_until,
        CLOCK.label("moment"),
        select(func.max(_OTHER.served_at)).where(_OTHER.owner == Job.owner).scalar_subquery().label("owner_served_at"),
        *(func.coalesce(_OPEN.c[name], 0).label(name) for name in ("queued", "running", "paused", "preparing", "busy")),
    )


STANDINGS = union_all(
    _jobs().select_from(Job).outerjoin(_OPEN, _OPEN.c.job_id == Job.id).join(Dataset).where(Job.state.in_(ACTIVE_JOB)),
    # of all the jobs that have ended, only those with open trials are read
    _jobs().select_from(_OPEN).join(Job, Job.id == _OPEN.c.job_id).join(Dataset).where(Job.state.in_(ENDED_JOB)),
)
