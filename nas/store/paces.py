"""How fast this service has trained: the newest epochs of its trials, of one data set or of all."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from nas.data.facts import Facts
from nas.space import Candidate
from nas.spec import JobSpec
from nas.store.specs import known_spec_of
from nas.store.states import Phase
from nas.store.tables import Dataset, Epoch, Job, Trial

NEWEST_JOBS: Final = 8
NEWEST_TRIALS: Final = 24
"""So many of the newest tell what a service is like now, and are read in a few milliseconds."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What the epochs of one trial took.

    Attributes:
        epoch_s: on average.
        epochs: it is the average of.
        candidate, spec: what was trained, and of which job.
        facts: of the data set.
    """

    epoch_s: float
    epochs: int
    candidate: Candidate
    spec: JobSpec
    facts: Facts


def newest(session: Session, kinds: Collection[str], dataset_id: int | None = None) -> list[Pace]:
    """The paces of the newest trials that were trained here, newest first.

    Args:
        session: to read with.
        kinds: of devices, see nas.store.queue.kind_of.
        dataset_id: of this data set only; None: of any.
    """
    chosen = select(Job.id).where(Job.search_epochs > 0).order_by(Job.created_at.desc()).limit(NEWEST_JOBS)
    if dataset_id is not None:
        chosen = chosen.where(Job.dataset_id == dataset_id)
    # Two steps, as a list: of a query in a query databases think that it holds any number of jobs.
    jobs = list(session.scalars(chosen))
    trials = session.scalars(
        select(Trial)
        .where(Trial.job_id.in_(jobs), Trial.phase.in_(_ALIKE), Trial.epoch > 0, Trial.cached_from.is_(None))
        .where(Trial.candidate.is_not(None), or_(*(CONDITIONS[kind] for kind in kinds)))
        .order_by(Trial.id.desc())
        .limit(NEWEST_TRIALS)
    ).all()
    rows = session.execute(
        select(Epoch.trial_id, func.count(), func.avg(Epoch.seconds))
        .where(Epoch.trial_id.in_([trial.id for trial in trials]))
        .group_by(Epoch.trial_id)
    )
    taken = {trial_id: (epochs, float(seconds)) for trial_id, epochs, seconds in rows if seconds}
    joined = select(Job, Dataset).join(Dataset, Dataset.id == Job.dataset_id).where(Job.id.in_(jobs))
    of = {job.id: (known_spec_of(job), facts_of(data)) for job, data in session.execute(joined)}
    found = []
    for trial in trials:
        spec, facts = of[trial.job_id]
        if trial.id in taken and spec is not None:
            epochs, epoch_s = taken[trial.id]
            candidate = Candidate.from_json(trial.candidate, spec.space.shape())
            found.append(Pace(epoch_s, epochs, candidate, spec, facts))
    return found


def facts_of(row: Dataset) -> Facts:
    """Of a stored data set."""
    shape = (row.channels, row.height, row.width)
    return Facts(row.name, shape, row.train, row.validation, len(row.classes), row.task)


CONDITIONS: Final = {"cpu": Trial.device.startswith("cpu"), "gpu": ~Trial.device.startswith("cpu")}
"""Kind of a device → whether a trial was trained on one."""

_ALIKE: Final = (Phase.SEARCH, Phase.FINALIST, Phase.CONTROL)
"""Phases that train networks of the space, and nothing else."""
