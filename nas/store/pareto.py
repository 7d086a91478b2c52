"""The Pareto set of a job with several objectives: complete trials that no other one is as good as in all of them.

nas.store.moves marks its members whenever a trial completes; here they are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session, load_only

from nas.objectives import ObjectiveForm, in_order
from nas.spec import JobSpec
from nas.store import retrains
from nas.store.jobs import get
from nas.store.moves import costs_of
from nas.store.specs import spec_of
from nas.store.tables import Job, Trial

SHOWN: Final = 100
"""Members that the dashboard shows."""

_MEASURED: Final = (
    Trial.number,
    Trial.digest,
    Trial.accuracy,
    Trial.params,
    Trial.macs,
    Trial.latency_ms,
    Trial.memory_mb,
)
"""What a member's values are made of; its candidate is not."""


@dataclass(frozen=True, eq=False, slots=True)
class Member:
    """A trial of the set.

    Attributes:
        trial: its row.
        values: metric → value, of each objective of the job.
        packaged: whether a package of its network can be downloaded.
    """

    trial: Trial
    values: dict[str, float | None]
    packaged: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Front:
    """The set, the best member by the first objective first."""

    objectives: list[ObjectiveForm]
    members: list[Member]


def newest(session: Session, job: Job, spec: JobSpec) -> list[Member]:
    """The newest members of the set, SHOWN at the most, the best by the first objective first."""
    marked = select(Trial).where(Trial.job_id == job.id, Trial.front).order_by(Trial.id.desc()).limit(SHOWN)
    return _members(session.scalars(marked.options(load_only(*_MEASURED))).all(), spec)


def whole(session: Session, job_id: str) -> Front:
    """All members; of a job of one objective its best trial. Raises NotFound."""
    job = get(session, job_id)
    spec = spec_of(job)
    of_job = select(Trial).where(Trial.job_id == job_id)
    if len(spec.objectives) > 1:
        trials = session.scalars(of_job.where(Trial.front)).all()
    elif job.best_trial is not None:
        trials = session.scalars(of_job.where(Trial.number == job.best_trial)).all()
    else:
        trials = []
    return Front(in_order(spec.objectives), _members(trials, spec, retrains.packaged(session, job)))


def _members(trials: Sequence[Trial], spec: JobSpec, packaged: frozenset[str] = frozenset()) -> list[Member]:
    objectives = in_order(spec.objectives)
    members = [Member(trial, _values(trial, objectives), trial.digest in packaged) for trial in trials]

    def order(member: Member) -> list[float]:
        merits = [objective.sign * (member.values[objective.metric] or 0.0) for objective in objectives]
        return [*(-merit for merit in merits), member.trial.number]

    return sorted(members, key=order)


def _values(trial: Trial, objectives: Sequence[ObjectiveForm]) -> dict[str, float | None]:
    known = {"accuracy": trial.accuracy} | costs_of(trial)
    return {objective.metric: known[objective.metric] for objective in objectives}
